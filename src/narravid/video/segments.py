"""Stretches of videos that were cut out and encoded anew, and keep the times of the video.

A clip of a segment takes the frames that the same clip of the whole video takes, so both must count time
alike: a segment carries the clock of its video along.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Segment", "Timeline"]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The clock of the video that a segment was cut from.

    Attributes:
        time_base: Seconds per tick of the video's clock.
        origin_microseconds: Timestamp at which the video starts.
        shift_ticks: Time in the video of what is time 0 in the segment, in ticks.
        frame_ticks: Ticks per frame at the video's average rate.

    Raises:
        ValueError: If a tick or a frame takes no time.
    """

    time_base: Fraction
    origin_microseconds: int
    shift_ticks: int
    frame_ticks: int

    def __post_init__(self) -> None:
        if self.time_base <= 0 or self.frame_ticks < 1:
            raise ValueError(
                f"time_base and frame_ticks must be positive, got {self.time_base} and {self.frame_ticks}"
            )

    def from_segment(self, ticks: int, time_base: Fraction) -> int:
        """A time of the segment, counted in its own time base, on the clock of the video."""
        return self.shift_ticks + self.length(ticks, time_base)

    def length(self, ticks: int, time_base: Fraction) -> int:
        """A length of time of the segment in ticks of the video, rounded to the nearest."""
        scale = time_base / self.time_base
        return (2 * ticks * scale.numerator + scale.denominator) // (2 * scale.denominator)

    def to_segment(self, ticks: int, time_base: Fraction) -> int:
        """A time of the video as the last tick of the segment's own clock at or before it."""
        scale = self.time_base / time_base
        return (ticks - self.shift_ticks) * scale.numerator // scale.denominator


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a video in memory.

    Attributes:
        data: The content of a video file.
        timeline: The clock of the video that it was cut from.
    """

    data: bytes
    timeline: Timeline
