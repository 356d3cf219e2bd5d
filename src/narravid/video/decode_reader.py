"""Many clips of one file in one pass over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from narravid.errors import DecodeError
from narravid.video.decode_pass import Choice, FramePass, Picture
from narravid.video.decode_rules import FrameSelector, SampleClock
from narravid.video.decode_scale import PictureScaler, Square
from narravid.video.decode_source import VideoSource

if TYPE_CHECKING:
    from narravid.types import FrameRule

__all__ = ["ClipShape", "RawClip", "read_clips"]

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ClipShape:
    """What decoding needs of a `ClipSpec`; without torch, so that decoding processes start at once.

    Attributes:
        num_frames: Frames per clip.
        fps: Frames per second.
        size_pixels: Height and width.
        frame_rule: Which frame stands for a time.
    """

    num_frames: int
    fps: float
    size_pixels: int
    frame_rule: FrameRule


@dataclass(frozen=True, slots=True)
class RawClip:
    """Frames of one clip.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB, zeros after the end of the video.
        num_valid: How many frames are real; the others are padding.
    """

    frames: Pixels
    num_valid: int


class _ClipBuilder:
    """Fills the frames of one clip while the file streams by."""

    def __init__(
        self,
        source: VideoSource,
        clock: SampleClock,
        shape: ClipShape,
        *,
        scaler: PictureScaler,
        turn: int,
    ) -> None:
        self.source = source
        self.clock = clock
        self.shape = shape
        self.scaler = scaler
        self.turn = turn
        self.start_ticks = clock.start_ticks
        self.selector: FrameSelector[Picture] = FrameSelector(clock, shape.num_frames)
        self.frames: Pixels | None = None

    @property
    def is_full(self) -> bool:
        return self.selector.is_full

    def anew(self) -> _ClipBuilder:
        """One for the same clip that has had no frames."""
        return _ClipBuilder(self.source, self.clock, self.shape, scaler=self.scaler, turn=self.turn)

    def wants(self, ticks: int, next_ticks: int) -> bool:
        """Whether the clip may hold the frame on screen from `ticks` to `next_ticks`."""
        return self.selector.takes(ticks, next_ticks)

    def feed(self, picture: Picture) -> None:
        timed = picture.timed
        self._write(self.selector.feed(timed.ticks, picture))
        if timed.next_ticks is not None:
            self._write(self.selector.replaced(timed.next_ticks))

    def finish(self, end_ticks: int) -> None:
        """Complete the clip with padding.

        Raises:
            DecodeError: If it starts at or after the end.
        """
        self._write(self.selector.finish(end_ticks))
        if not self.selector.num_filled:
            start_seconds = self.clock.start_seconds
            end_seconds = float((end_ticks - self.source.origin_ticks) * self.source.time_base)
            raise DecodeError(
                self.source.path,
                f"no frame there, the video ends at {end_seconds:.2f} s",
                span=(start_seconds, start_seconds + self.shape.num_frames / self.shape.fps),
            )

    def clip(self) -> RawClip:
        """What was gathered; the builder gives it away and keeps nothing."""
        frames, self.frames = self.frames, None
        assert frames is not None  # a builder is completed only when at least one sample is filled
        return RawClip(frames, self.selector.num_filled)

    def _write(self, decided: Iterator[tuple[range, Picture]]) -> None:
        for samples, picture in decided:
            if self.frames is None:
                size = self.shape.size_pixels
                self.frames = np.zeros((self.shape.num_frames, size, size, 3), dtype=np.uint8)
            self.frames[samples.start : samples.stop] = picture.made_by(self.scaler)


def read_clips(
    source: VideoSource,
    starts_seconds: Sequence[float],
    shape: ClipShape,
    *,
    squares: Sequence[tuple[float, float]] | None = None,
) -> Iterator[RawClip]:
    """Clips of an opened file, in the order of `starts_seconds`.

    Clips are decoded in order of time; those that are ready before their turn are held.

    Args:
        source: The file, at its beginning.
        starts_seconds: Where the clips start.
        shape: Frames, rate and size of a clip.
        squares: (across, down) of each clip's square, each in [0, 1]; None for the centre.

    Yields:
        One `RawClip` for each start.

    Raises:
        DecodeError: If nothing can be decoded, or a clip starts at or after the end of the video.
    """
    shared_scaler = PictureScaler(source.path, Square(shape.size_pixels))
    builders = []
    for index, start_seconds in enumerate(starts_seconds):
        clock = SampleClock(
            start_seconds, shape.fps, shape.frame_rule, source.time_base, source.origin_microseconds
        )
        scaler = shared_scaler
        if squares is not None:
            scaler = PictureScaler(source.path, Square(shape.size_pixels, *squares[index]))
        builders.append(_ClipBuilder(source, clock, shape, scaler=scaler, turn=index))
    ready: dict[int, RawClip] = {}
    turn = 0
    builders.sort(key=lambda builder: builder.start_ticks)
    choice = Choice(wants=_ClipBuilder.wants, anew=_ClipBuilder.anew)
    for builder in FramePass(source, builders, choice=choice).run():
        ready[builder.turn] = builder.clip()
        while turn in ready:
            yield ready.pop(turn)
            turn += 1
