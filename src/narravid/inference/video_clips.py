"""One video into rows: cut into overlapping windows, decoded, embedded.

The numbers of a video must not depend on what else is indexed, or an interrupted run could not be repeated to
the bit: its clips are embedded in batches of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from narravid.errors import DecodeError
from narravid.inference.clip_table import VideoClips
from narravid.inference.embedder import Embedder
from narravid.inference.video_files import FileState
from narravid.inference.window_reader import ClipDecoder, WindowReader
from narravid.video.sampling import sliding_windows

__all__ = ["ClipDecoder", "embed_video"]


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


def _state_or_none(path: str) -> FileState | None:
    try:
        return FileState.of(path)
    except OSError:
        return None
