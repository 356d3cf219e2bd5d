"""One video of a caption corpus, whose captions are put together when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from narravid.text.captions import Transcript

__all__ = ["VideoCaptions"]


@dataclass(frozen=True, slots=True)
class VideoCaptions:
    """What a file says about one of its videos.

    Attributes:
        video_id: The video's name in the file.
        read: Gives its captions; raises `AnnotationError` if they have a fault. Videos that nobody asks for
            cost next to nothing.
    """

    video_id: str
    read: Callable[[], Transcript]
