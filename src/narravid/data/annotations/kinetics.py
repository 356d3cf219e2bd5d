"""Kinetics-400/600/700 as their official tables `label,youtube_id,time_start,time_end,split[,is_cc]`.

Kay et al. 2017, arXiv 1705.06950, as released by the authors: seconds of the YouTube video, ten of them per
clip. The table of a test set may come without `label`. The usual downloaders name a clip
`YOUTUBEID_SSSSSS_EEEEEE.mp4`, times with six digits, in a folder of its class whose name has blanks or `_`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from narravid.annotation_files import read_table
from narravid.data.annotations.subsets import Subset, read_subset
from narravid.types import Span

__all__ = ["KineticsClip", "read_kinetics"]


@dataclass(frozen=True, slots=True)
class KineticsClip:
    """A clip that shows one action.

    Attributes:
        video_id: YouTube's name of the video.
        label: Name of the class, None where the list keeps it back.
        span: The part of the YouTube video, in whole seconds.
        subset: The part of the data set.
    """

    video_id: str
    label: str | None
    span: Span
    subset: Subset

    @property
    def places(self) -> tuple[str, ...]:
        """Where the cut clip may lie, without suffix: in a folder of its class, or beside all others."""
        stem = f"{self.video_id}_{self.span.start_seconds:06.0f}_{self.span.end_seconds:06.0f}"
        if self.label is None:
            return (stem,)
        folders = dict.fromkeys([self.label, self.label.replace(" ", "_")])
        return *(f"{folder}/{stem}" for folder in folders), stem


def read_kinetics(path: Path) -> tuple[KineticsClip, ...]:
    """Read a table of Kinetics.

    Args:
        path: The CSV file.

    Returns:
        The clips in order.

    Raises:
        AnnotationError: If the table has a fault, a time is no whole second, or a clip is empty.
    """
    clips = []
    for row in read_table(path, ("youtube_id", "time_start", "time_end", "split")):
        row.integer("time_start")
        row.integer("time_end")
        clips.append(
            KineticsClip(
                video_id=row.text("youtube_id"),
                label=row.text("label") if "label" in row else None,
                span=row.span("time_start", "time_end", may_be_empty=False),
                subset=read_subset(row, "split"),
            )
        )
    return tuple(clips)
