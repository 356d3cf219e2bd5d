"""HTM-Align: JSON of sentences with the times at which they are shown, set by hand.

Han et al. 2022, arXiv 2204.02968; 80 videos of HowTo100M: `{VIDEO: [[alignable, start, end, text], ...]}`,
with alignable 1 or 0 and times in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from narravid.annotation_fields import Fields
from narravid.annotation_files import read_document
from narravid.types import Span

__all__ = ["AlignedSentence", "HtmAlignVideo", "read_htm_align"]


@dataclass(frozen=True, slots=True)
class AlignedSentence:
    """A sentence of the narration.

    Attributes:
        is_alignable: Whether the video shows what it says.
        span: When it is shown; when it is said where it is not shown.
        text: The sentence.
    """

    is_alignable: bool
    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class HtmAlignVideo:
    """A video with all its sentences.

    Attributes:
        video_id: YouTube's name of the video.
        sentences: The sentences in the order of the file.
    """

    video_id: str
    sentences: tuple[AlignedSentence, ...]

    @property
    def places(self) -> tuple[str, ...]:
        """Where the video may lie, without suffix."""
        return (self.video_id,)


def read_htm_align(path: Path) -> tuple[HtmAlignVideo, ...]:
    """Read HTM-Align.

    Args:
        path: The JSON file.

    Returns:
        The videos in the order of the file.

    Raises:
        AnnotationError: If the document has a fault.
    """
    videos = []
    for video_id, entries in read_document(path).children(kind="array"):
        sentences = tuple(_read_sentence(entry) for _, entry in entries.children(kind="array"))
        videos.append(HtmAlignVideo(str(video_id), sentences))
    return tuple(videos)


def _read_sentence(entry: Fields) -> AlignedSentence:
    if len(entry) != 4:
        raise entry.fault(f"must be [alignable, start, end, text], got {len(entry)} values")
    return AlignedSentence(bool(entry.integer(0, at_most=1)), entry.span(1, 2), entry.text(3))
