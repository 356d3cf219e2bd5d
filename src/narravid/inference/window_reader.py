"""The windows of one video as clips, stepping over those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from narravid.errors import DecodeError
from narravid.types import Clip, ClipSpec, Span, VideoInfo

__all__ = ["ClipDecoder", "WindowReader"]

MAX_FAILURES_IN_A_ROW = 3
"""Windows that may fail one after the other before the rest of a video is given up: a file that claims hours
it does not have would otherwise cost a wait for each."""


class ClipDecoder(Protocol):
    """What indexing needs of a decoder; `video.watched.WatchedDecoder` is the one for files of strangers."""

    def probe(self, path: str) -> VideoInfo:
        """What the file says of itself."""

    def clips(self, path: str, starts: Sequence[float], spec: ClipSpec) -> Iterator[Clip]:
        """The clips that begin at `starts`, in seconds, in this order."""


class WindowReader:
    """Iterates over the clips of a video, stepping over windows that cannot be read.

    Args:
        path: The video.
        spans: The windows, ascending.
        decoder: Reads them, from one request for as long as nothing fails.
        spec: What their clips look like.
        on_progress: Called with the share of windows that were read so far, in [0, 1].

    Attributes:
        read_numbers: Places in `spans` of the clips that were given so far.
        first_error: What went wrong first, if anything did.
    """

    def __init__(
        self,
        path: str,
        spans: Sequence[Span],
        decoder: ClipDecoder,
        *,
        spec: ClipSpec,
        on_progress: Callable[[float], None],
    ) -> None:
        self._path = path
        self._starts = [span.start_seconds for span in spans]
        self._decoder = decoder
        self._spec = spec
        self._on_progress = on_progress
        self.read_numbers: list[int] = []
        self.first_error: DecodeError | None = None

    @property
    def problem(self) -> str | None:
        """How many windows could not be read, and why; None when all were."""
        if self.first_error is None:
            return None
        num_missing = len(self._starts) - len(self.read_numbers)
        return f"{num_missing} of {len(self._starts)} windows could not be read: {self.first_error.reason}"

    def check_any_read(self) -> None:
        """Make sure, at the end, that there was a window at all.

        Raises:
            DecodeError: If none could be read.
        """
        if not self.read_numbers:
            raise self.first_error or DecodeError(self._path, "no frame could be read")

    def __iter__(self) -> Iterator[Clip]:
        number = num_failures = 0
        while number < len(self._starts) and num_failures < MAX_FAILURES_IN_A_ROW:
            try:
                for clip in self._decoder.clips(self._path, self._starts[number:], self._spec):
                    self.read_numbers.append(number)
                    number += 1
                    num_failures = 0
                    self._on_progress(number / len(self._starts))
                    yield clip
                if number < len(self._starts):
                    raise DecodeError(self._path, "the decoder ended early")
            except DecodeError as error:
                self.first_error = self.first_error or error
                number += 1
                num_failures += 1
