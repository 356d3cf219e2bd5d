"""Many clips of one file in one pass: seek only where it saves work, decode every frame at most once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from narravid.errors import DecodeError
from narravid.video.decode_rules import FrameSelector, SampleClock
from narravid.video.decode_scale import PictureScaler, Square
from narravid.video.decode_source import TimedFrame, VideoSource, no_frame_error

if TYPE_CHECKING:
    from narravid.types import FrameRule

__all__ = ["ClipShape", "RawClip", "read_clips"]

Pixels = npt.NDArray[np.uint8]
RETREAT_SECONDS = (1.0, 8.0, 64.0)


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


@dataclass
class _Picture:
    """A decoded frame that is converted when first asked for, once per scaler."""

    timed: TimedFrame
    _converted: dict[int, Pixels] = field(default_factory=dict)

    def pixels(self, scaler: PictureScaler) -> Pixels:
        if id(scaler) not in self._converted:
            self._converted[id(scaler)] = scaler(self.timed.frame)
        return self._converted[id(scaler)]


class _ClipBuilder:
    """Fills the frames of one clip while the file streams by."""

    def __init__(self, clock: SampleClock, shape: ClipShape, scaler: PictureScaler) -> None:
        self.clock = clock
        self.shape = shape
        self.scaler = scaler
        self.start_ticks = clock.start_ticks
        self.selector: FrameSelector[_Picture] = FrameSelector(clock, shape.num_frames)
        self.frames: Pixels | None = None

    def feed(self, picture: _Picture) -> None:
        self._write(self.selector.feed(picture.timed.ticks, picture))

    def finish(self, end_ticks: int) -> None:
        self._write(self.selector.finish(end_ticks))

    def clip(self) -> RawClip:
        """What was gathered; the builder gives it away and keeps nothing."""
        frames, self.frames = self.frames, None
        assert frames is not None  # a builder is completed only when at least one sample is filled
        return RawClip(frames, self.selector.num_filled)

    def _write(self, decided: Iterator[tuple[range, _Picture]]) -> None:
        for samples, picture in decided:
            if self.frames is None:
                size = self.shape.size_pixels
                self.frames = np.zeros((self.shape.num_frames, size, size, 3), dtype=np.uint8)
            self.frames[samples.start : samples.stop] = picture.pixels(self.scaler)


class _MissedFrameError(Exception):
    """The frame on screen at a clip's start was not decoded: a seek came out late, or it was left out."""


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
        builders.append(_ClipBuilder(clock, shape, scaler))
    order = {id(builder): index for index, builder in enumerate(builders)}
    ready: dict[int, RawClip] = {}
    turn = 0
    builders.sort(key=lambda builder: builder.start_ticks)
    for builder in _Pass(source, builders).run():
        ready[order[id(builder)]] = builder.clip()
        while turn in ready:
            yield ready.pop(turn)
            turn += 1


class _Pass:
    """Streams one file through the builders of its clips, sorted by start."""

    def __init__(self, source: VideoSource, builders: Sequence[_ClipBuilder]) -> None:
        self._source = source
        self._waiting = deque(builders)
        self._active: list[_ClipBuilder] = []
        self._previous: _Picture | None = None
        self._num_retreats = 0

    def run(self) -> Iterator[_ClipBuilder]:
        """Yield the builders as they are completed."""
        while self._waiting:
            self._go_to(self._waiting[0].start_ticks)
            try:
                yield from self._stream()
            except _MissedFrameError:
                self._num_retreats += 1

    def _go_to(self, ticks: int) -> None:
        """Stand before `ticks`, further back each time that the frame on screen there was missed."""
        source = self._source
        if self._num_retreats > len(RETREAT_SECONDS):
            source.restart()
            source.can_seek = False
            self._num_retreats = 0
        elif self._num_retreats:
            source.seek(ticks - source.ticks(RETREAT_SECONDS[self._num_retreats - 1]))
        elif source.is_worth_seeking(ticks):
            source.seek(ticks)
        self._previous = None
        source.skip_to(ticks)

    def _stream(self) -> Iterator[_ClipBuilder]:
        """Decode on until all clips are done or a gap makes a seek worthwhile."""
        for timed in self._source.frames():
            picture = _Picture(timed)
            while self._waiting and self._waiting[0].start_ticks <= timed.ticks:
                self._activate(timed.ticks)
            for builder in self._active:
                builder.feed(picture)
            self._previous = picture
            done = [builder for builder in self._active if builder.selector.is_full]
            if not done:
                continue
            self._active = [builder for builder in self._active if not builder.selector.is_full]
            yield from done
            if not self._active:
                if not self._waiting or self._source.is_worth_seeking(self._waiting[0].start_ticks):
                    return
                self._source.skip_to(self._waiting[0].start_ticks)
        yield from self._finish()

    def _activate(self, ticks: int) -> None:
        """Start the next clip: the frame at `ticks` is the first at or after its start."""
        builder = self._waiting[0]
        if ticks > builder.start_ticks:
            self._check_previous()
        if self._previous is not None:
            builder.feed(self._previous)
        self._active.append(self._waiting.popleft())
        self._num_retreats = 0

    def _check_previous(self) -> None:
        """Make sure that the frame before the present one in the file was decoded."""
        source = self._source
        if self._previous is None:
            if not source.at_beginning:
                raise _MissedFrameError
        elif source.skipped_until is not None and self._previous.timed.ticks < source.skipped_until:
            source.may_skip = False
            raise _MissedFrameError

    def _finish(self) -> Iterator[_ClipBuilder]:
        """The file is over: complete what can be, with padding."""
        if self._waiting:
            self._check_previous()
        if self._previous is None:
            raise no_frame_error(self._source)
        end_ticks = self._previous.timed.end_ticks
        for builder in self._waiting:
            builder.feed(self._previous)
        builders = [*self._active, *self._waiting]
        self._active.clear()
        self._waiting.clear()
        for builder in builders:
            builder.finish(end_ticks)
            if not builder.selector.num_filled:
                raise self._past_end_error(builder, end_ticks)
            yield builder

    def _past_end_error(self, builder: _ClipBuilder, end_ticks: int) -> DecodeError:
        start_seconds = builder.clock.start_seconds
        end_seconds = float((end_ticks - self._source.origin_ticks) * self._source.time_base)
        return DecodeError(
            self._source.path,
            f"no frame there, the video ends at {end_seconds:.2f} s",
            span=(start_seconds, start_seconds + builder.shape.num_frames / builder.shape.fps),
        )
