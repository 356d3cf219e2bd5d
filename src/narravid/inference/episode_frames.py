"""The frames of a running episode: as many as a reward can need, however long the episode gets."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from narravid.video.frame_sampling import video_frames

__all__ = ["EpisodeFrames", "FrameArray", "check_frame"]

FrameArray = npt.NDArray[np.uint8]

KEPT_PER_FRAME = 4
"""Frames of a whole episode that are kept for each one that the model sees."""


class EpisodeFrames:
    """The frames of one episode from which a model will see a few.

    With a window, its last frames are kept. Without one, the whole episode counts and its length is not known
    before its end: up to 4 · num_frames frames are all kept; whenever a longer episode has filled that room,
    every second frame is dropped and from then on only every second one of those before is taken. The frames
    that the model sees are then the kept ones nearest to the evenly spaced ones: off by at most a quarter of
    the distance between two of them, and first and last exact.

    A model of pictures, which sees one frame, sees the last one: an episode is judged by what it led to.

    Args:
        num_frames: Frames that the model sees.
        window_frames: How many of the last frames count; None for the whole episode.

    Raises:
        ValueError: If a number is below 1.
    """

    def __init__(self, num_frames: int, *, window_frames: int | None = None) -> None:
        for name, value in (("num_frames", num_frames), ("window_frames", window_frames)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.num_frames = num_frames
        self.window_frames = window_frames
        self._room = KEPT_PER_FRAME * num_frames
        self._kept: deque[tuple[int, FrameArray]] = deque(maxlen=window_frames)
        self._count = 0
        self._stride = 1
        self._last: tuple[int, FrameArray] | None = None
        self._size: tuple[int, ...] | None = None

    def __len__(self) -> int:
        """Frames of the episode so far, kept or not."""
        return self._count

    @property
    def wants_next(self) -> bool:
        """Whether the next frame is needed even if the episode goes on after it."""
        return self._count % self._stride == 0

    def clear(self) -> None:
        """Forget the episode."""
        self._kept.clear()
        self._count, self._stride, self._last, self._size = 0, 1, None, None

    def add(self, frame: object) -> None:
        """Take the next frame.

        Args:
            frame: (H, W, 3) uint8 RGB array, of one size throughout the episode; copied, so that an
                environment may draw the next one into the same memory.

        Raises:
            ValueError: If it is anything else.
        """
        array = check_frame(frame)
        if self._size not in (None, array.shape):
            raise ValueError(
                f"the frames of an episode must have one size, got {self._size} and {array.shape}"
            )
        self._size = array.shape
        self._last = (self._count, array.copy())
        if self.wants_next:
            self._keep(self._last)
        self._count += 1

    def skip(self) -> None:
        """Count a frame that was not drawn, as it would not be kept.

        Raises:
            ValueError: If it is wanted.
        """
        if self.wants_next:
            raise ValueError(f"frame {self._count} of the episode is wanted and cannot be skipped")
        self._count += 1

    def numbers(self) -> list[int]:
        """Which frames of the episode the model sees now, ascending, `num_frames` of them."""
        return [self._at(place)[0] for place in self._places()]

    def frames(self) -> FrameArray:
        """What the model sees now, evenly spaced; frames come several times when there are few.

        Returns:
            (num_frames, H, W, 3) uint8.

        Raises:
            ValueError: If there is no frame yet.
        """
        return np.stack([self._at(place)[1] for place in self._places()])

    def _keep(self, numbered: tuple[int, FrameArray]) -> None:
        if self.window_frames is None and len(self._kept) == self._room:
            self._kept = deque(list(self._kept)[::2])
            self._stride *= 2
        if self._count % self._stride == 0:
            self._kept.append(numbered)

    def _at(self, place: int) -> tuple[int, FrameArray]:
        if place < len(self._kept):
            return self._kept[place]
        assert self._last is not None
        return self._last

    def _places(self) -> list[int]:
        """Of the frames to be seen among the kept ones, the last frame standing after them if it is not."""
        if self._last is None:
            raise ValueError("the episode has no frame yet")
        numbers = [number for number, _ in self._kept]
        if numbers[-1] != self._last[0]:
            numbers.append(self._last[0])
        have = np.array(numbers)
        if self.num_frames == 1:
            return [len(numbers) - 1]
        wanted = np.array(video_frames(self._last[0] - numbers[0] + 1, self.num_frames)) + numbers[0]
        return [int(place) for place in np.abs(have[None] - wanted[:, None]).argmin(axis=1)]


def check_frame(frame: object) -> FrameArray:
    """A rendered frame as what it has to be.

    Args:
        frame: What an environment's `render` gave.

    Returns:
        (H, W, 3) uint8, the same memory.

    Raises:
        ValueError: If it is not an (H, W, 3) uint8 array with pixels.
    """
    if not isinstance(frame, np.ndarray):
        raise ValueError(f"a rendered frame must be an (H, W, 3) uint8 array, got {type(frame).__name__}")
    if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
        raise ValueError(
            f"a rendered frame must be an (H, W, 3) uint8 array, got {frame.shape} {frame.dtype}"
        )
    return frame
