"""A whole file resampled to a steady rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from narravid.errors import DecodeError
from narravid.video.decode_measure import end_seconds
from narravid.video.decode_scale import ShortSide
from narravid.video.decode_source import VideoSource, no_frame_error
from narravid.video.decode_steady import SteadyFrames

if TYPE_CHECKING:
    from narravid.types import FrameRule

__all__ = ["read_whole"]

Pixels = npt.NDArray[np.uint8]


class _Growing:
    """Frames appended into one array of about the right size, so that memory holds them once."""

    def __init__(self, path: str, expected: int, max_bytes: int) -> None:
        self._path = path
        self._expected = expected
        self._max_bytes = max_bytes
        self._frames: Pixels | None = None
        self._count = 0

    def append(self, frame: Pixels, times: int) -> None:
        needed = self._count + times
        if needed * frame.nbytes > self._max_bytes:
            raise DecodeError(
                self._path,
                f"its frames need more than {self._max_bytes / 2**20:.0f} MiB; "
                "ask for a lower rate or a smaller size, or decode clips",
            )
        if self._frames is None:
            capacity = min(max(self._expected, times), self._max_bytes // frame.nbytes)
            self._frames = np.empty((capacity, *frame.shape), dtype=np.uint8)
        if needed > len(self._frames):
            more = np.empty((needed + needed // 2, *frame.shape), dtype=np.uint8)
            more[: self._count] = self._frames[: self._count]
            self._frames = more
        self._frames[self._count : needed] = frame
        self._count = needed

    def result(self) -> Pixels | None:
        return None if self._frames is None else self._frames[: self._count]


def read_whole(
    source: VideoSource,
    *,
    fps: float,
    short_side_pixels: int | None,
    frame_rule: FrameRule,
    max_bytes: int,
) -> tuple[Pixels, float]:
    """Resample an opened file.

    Args:
        source: The file, at its beginning.
        fps: Frames per second to sample.
        short_side_pixels: Length of the shorter side; None keeps the size.
        frame_rule: Which frame stands for a time.
        max_bytes: Largest memory that the frames may take.

    Returns:
        Frames (T, H, W, 3) uint8, and the end of the video in seconds.

    Raises:
        DecodeError: If no frame can be decoded, or the frames would take more than `max_bytes`.
    """
    expected = int(end_seconds(source) * fps) + 2
    source.restart()
    steady = SteadyFrames(source, fps=fps, region=ShortSide(short_side_pixels), frame_rule=frame_rule)
    frames = _Growing(source.path, expected, max_bytes)
    for picture, times in steady:
        frames.append(picture, times)
    result = frames.result()
    if result is None:
        raise no_frame_error(source)
    return result, steady.end_seconds
