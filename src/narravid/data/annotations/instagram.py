"""Instagram-300k: the captions that CPD is pre-trained on.

Li and Wang 2020, arXiv 2001.05691: `{ID: {"subset": "training", "caption": TEXT}}`; the videos are
`trimmed_resize_ID.mp4`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from narravid.annotation_fields import Fields
from narravid.data.annotations.json_members import read_members
from narravid.data.annotations.subsets import Subset, read_subset

__all__ = ["InstagramVideo", "read_instagram"]


@dataclass(frozen=True, slots=True)
class InstagramVideo:
    """A video with the caption of whoever shared it.

    Attributes:
        video_id: Its name in the file.
        subset: The part it belongs to.
        caption: What was written for it.
    """

    video_id: str
    subset: Subset
    caption: str

    @property
    def places(self) -> tuple[str, ...]:
        """Where the video may lie, without suffix."""
        return (f"trimmed_resize_{self.video_id}",)


def read_instagram(path: Path) -> Iterator[InstagramVideo]:
    """The videos of Instagram-300k, one at a time.

    Raises:
        AnnotationError: If the file is no JSON object, or an entry lacks its part or its caption.
    """
    for video_id, value, line in read_members(path):
        entry = Fields(path, {video_id: value}, line).child(video_id)
        yield InstagramVideo(video_id, read_subset(entry, "subset"), entry.text("caption"))
