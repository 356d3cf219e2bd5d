"""One video into rows: cut into overlapping windows, decoded, embedded.

The numbers of a video must not depend on what else is indexed, or an interrupted run could not be repeated to
the bit: its clips are embedded in batches of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from narravid.errors import DecodeError
from narravid.inference.clip_table import VideoClips
from narravid.inference.embedder import Embedder
from narravid.inference.video_files import FileState
from narravid.types import Clip, ClipSpec, Span, VideoInfo
from narravid.video.sampling import sliding_windows

__all__ = ["ClipDecoder", "WindowReader", "embed_video"]

MAX_FAILURES_IN_A_ROW = 3
"""Windows that may fail one after the other before the rest of a video is given up: a file that claims hours
it does not have would otherwise cost a wait for each."""


class ClipDecoder(Protocol):
    """What indexing needs of a decoder; `video.watched.WatchedDecoder` is the one for files of strangers."""

    def probe(self, path: str) -> VideoInfo:
        """What the file says of itself."""

    def clips(self, path: str, starts: Sequence[float], spec: ClipSpec) -> Iterator[Clip]:
        """The clips that begin at `starts`, in seconds, in this order."""


def embed_video(
    path: str,
    state: FileState,
    *,
    embedder: Embedder,
    decoder: ClipDecoder,
    stride_seconds: float,
    on_progress: Callable[[float], None],
) -> tuple[VideoClips, str | None]:
    """The embedded clips of one video.

    Args:
        path: Real path of the file.
        state: The state of the file for which the rows shall stand.
        embedder: Makes the vectors.
        decoder: Reads the video.
        stride_seconds: From the start of one window to the next.
        on_progress: Called with the share of windows that were tried, in [0, 1]; an exception from it stops
            the work.

    Returns:
        The clips, and what was wrong with the file if not every window could be read.

    Raises:
        DecodeError: If no window can be read or the file changes meanwhile.
    """
    duration = decoder.probe(path).duration_seconds
    if not (math.isfinite(duration) and duration > 0):
        raise DecodeError(path, f"its length is said to be {duration} seconds")
    spans = sliding_windows(duration, embedder.clip_spec.duration_seconds, stride_seconds=stride_seconds)
    reader = WindowReader(path, spans, decoder, spec=embedder.clip_spec, on_progress=on_progress)
    vectors = embedder.embed_clips(reader)
    reader.check_any_read()
    if _state_or_none(path) != state:
        raise DecodeError(
            path, "the file changed while it was being read; index it again when it is complete"
        )
    video = VideoClips(
        path=path,
        state=state,
        num_windows=len(spans),
        window_numbers=tuple(reader.read_numbers),
        spans=tuple(spans[number] for number in reader.read_numbers),
        vectors=vectors,
    )
    return video, reader.problem


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


def _state_or_none(path: str) -> FileState | None:
    try:
        return FileState.of(path)
    except OSError:
        return None
