"""What a corpus is, in one number: two with the same videos and captions have the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from narravid.text.captions import Caption

__all__ = ["CorpusFingerprint"]


class CorpusFingerprint:
    """Takes in the videos of a corpus, in order; files and a pack made of them give the same.

    Attributes:
        num_videos: Videos taken in.
        num_captions: Their captions.
    """

    def __init__(self) -> None:
        self.num_videos = 0
        self.num_captions = 0
        self._digest = hashlib.sha256()

    def add(self, video_id: str, captions: Iterable[Caption]) -> None:
        """Take in the next video."""
        captions = tuple(captions)
        self._digest.update(repr((video_id, captions)).encode())
        self.num_videos += 1
        self.num_captions += len(captions)

    @property
    def sha256(self) -> str:
        """Of all ids, texts and times so far, in hexadecimal."""
        return self._digest.hexdigest()
