"""Which frame of a file stands for each sample of a clip: exact arithmetic on the file's own clock.

Times of frames are *ticks*, integers counted in the stream's time base. A frame "takes over" at the first
sample for which it is the right one; the frame before it holds all samples up to there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from narravid.types import FrameRule

__all__ = ["FrameSelector", "SampleClock", "round_half_away"]

PictureT = TypeVar("PictureT")

MICROSECONDS = 1_000_000
MAX_RATE_DENOMINATOR = 1_001_000
SLACK = Fraction(1, 2000)  # seconds: clocks of a millisecond round frame times by up to half of one


def round_half_away(value: Fraction) -> int:
    """The nearest integer; halves go away from zero, as FFmpeg rescales timestamps."""
    floor_of_double = (2 * abs(value) + 1) // 2
    return int(floor_of_double if value >= 0 else -floor_of_double)


@dataclass(frozen=True)
class SampleClock:
    """Turns frame times into sample numbers for one clip.

    Attributes:
        start_seconds: Start of the clip, counted from the start of the file.
        fps: Samples per second.
        frame_rule: `ffmpeg_fps`: a frame belongs to the nearest sample (halves upwards), and the last one to
            arrive holds a sample; `shown_at`: the frame on screen at the sample's time.
        time_base: Seconds per tick.
        origin_microseconds: Timestamp at which the file starts.
    """

    start_seconds: float
    fps: float
    frame_rule: FrameRule
    time_base: Fraction
    origin_microseconds: int = 0

    @cached_property
    def start_ticks(self) -> int:
        """First tick that belongs to the clip: the nearest, as FFmpeg's `-ss`, or the one on screen."""
        if self.frame_rule == "ffmpeg_fps":
            return round_half_away(self._start_fraction / self.time_base)
        return int((self._start_fraction + self._tolerance) // self.time_base)

    def starts_after(self, ticks: int) -> bool:
        """Whether the clip starts at or after the time of `ticks`."""
        return self._start_fraction >= ticks * self.time_base

    @property
    def _tolerance(self) -> Fraction:
        return min(self.time_base / 2, SLACK)

    @property
    def _start_fraction(self) -> Fraction:
        start_microseconds = round_half_away(Fraction(self.start_seconds) * MICROSECONDS)
        return Fraction(start_microseconds + self.origin_microseconds, MICROSECONDS)

    @property
    def rate(self) -> Fraction:
        """Samples per second as a fraction, so that 29.97002997 is 30000/1001."""
        return Fraction(self.fps).limit_denominator(MAX_RATE_DENOMINATOR)

    @cached_property
    def _line(self) -> tuple[int, int, int]:
        """(a, b, c) with which a frame's first sample is (a * ticks + b) // c: asked for every frame."""
        samples_per_tick = self.time_base * self.rate
        if self.frame_rule == "ffmpeg_fps":
            shift = Fraction(1, 2) - self.start_ticks * samples_per_tick
            round_up = 0
        else:
            shift = -(self._tolerance + self._start_fraction) * self.rate
            round_up = 1
        divisor = math.lcm(samples_per_tick.denominator, shift.denominator)
        slope, offset = samples_per_tick * divisor, shift * divisor
        return slope.numerator, offset.numerator + round_up * (divisor - 1), divisor

    def first_sample(self, ticks: int) -> int:
        """Number of the first sample that a frame at `ticks` may stand for; negative before the clip."""
        slope, offset, divisor = self._line
        return (slope * ticks + offset) // divisor


@dataclass
class FrameSelector(Generic[PictureT]):
    """Gathers the frames of one clip while a file streams by.

    Feed it frames in order of time, starting at or before the clip's start where the file has such a frame.
    A span in which no frame starts takes the frame still on screen. Under `ffmpeg_fps` the frame of the
    first sample that has one also stands for the samples before, as the ffmpeg program fills such a gap to
    keep its rate (in files with sound; of a file with one stream it leaves those samples out); under
    `shown_at` samples before the first frame of the file take that one.

    Attributes:
        clock: Times of the samples.
        num_samples: How many samples to fill, or None for all up to the end of the file.
    """

    clock: SampleClock
    num_samples: int | None
    num_filled: int = field(default=0, init=False)
    _earlier: PictureT | None = field(default=None, init=False)
    _current: PictureT | None = field(default=None, init=False)
    _gap: int = field(default=0, init=False)

    @property
    def is_full(self) -> bool:
        """Whether every sample has its frame."""
        return self.num_samples is not None and self.num_filled >= self.num_samples

    def takes(self, ticks: int, next_ticks: int) -> bool:
        """Whether a frame may be needed that another one replaces at `next_ticks`, after the clip's start."""
        if ticks < self.clock.start_ticks:
            return True
        sample = self.clock.first_sample(ticks)
        if self.num_samples is not None and sample >= self.num_samples:
            return self.num_filled == 0  # the clip may have to wait for it
        may_be_first = self._current is None and self.clock.frame_rule == "shown_at"
        return may_be_first or self.clock.first_sample(next_ticks) > sample

    def feed(self, ticks: int, picture: PictureT) -> Iterator[tuple[range, PictureT]]:
        """Take the next frame; yield the samples that are decided now, with their picture."""
        if ticks < self.clock.start_ticks:
            self._earlier = picture
            if self.clock.frame_rule == "shown_at":
                self._current = picture
            return
        sample = self.clock.first_sample(ticks)
        if self._current is None:
            beyond = self.num_samples is not None and sample >= self.num_samples
            self._current = self._earlier if beyond and self._earlier is not None else picture
            if self.clock.frame_rule == "ffmpeg_fps" and self._current is picture:
                self._gap = sample
        yield from self._replace(sample)
        self._current = picture

    def replaced(self, next_ticks: int) -> Iterator[tuple[range, PictureT]]:
        """The frame fed last is replaced at `next_ticks`; yield the samples that are decided by that."""
        if self._current is not None and next_ticks >= self.clock.start_ticks:
            yield from self._replace(self.clock.first_sample(next_ticks))

    def finish(self, end_ticks: int) -> Iterator[tuple[range, PictureT]]:
        """The file is over at `end_ticks`; yield what the last frame still stands for.

        Nothing is yielded, and `num_filled` stays 0, when the clip starts at or after the end.
        """
        if self.clock.starts_after(end_ticks):
            return
        if self._current is None:
            self._current = self._earlier
        at_least = 1 if self.num_filled == 0 else 0
        yield from self._fill_to(max(at_least, self.clock.first_sample(end_ticks)))

    def _replace(self, sample: int) -> Iterator[tuple[range, PictureT]]:
        """The current frame makes room at a sample; one that shares its first sample gets no sample."""
        if sample > self._gap:
            yield from self._fill_to(sample)

    def _fill_to(self, sample: int) -> Iterator[tuple[range, PictureT]]:
        stop = sample if self.num_samples is None else min(sample, self.num_samples)
        if self._current is not None and stop > self.num_filled:
            samples = range(self.num_filled, stop)
            self.num_filled = stop
            yield samples, self._current
