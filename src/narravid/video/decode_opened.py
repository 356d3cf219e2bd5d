"""A video that was opened, and the clock on which its times are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
import av.video

from narravid.errors import DecodeError
from narravid.video.decode_open import main_video_stream, open_container
from narravid.video.segments import Segment

if TYPE_CHECKING:
    Packet = av.Packet[av.video.VideoStream]

__all__ = ["OpenedVideo"]

MAX_PIXELS = 2**27  # 16k x 8k: a header that claims more is an attack, not a video
MAX_TICKS = 2**62  # FFmpeg's times are integers of 64 bits; a caption may name any second


class OpenedVideo:
    """The main video stream of a file (cover pictures do not count). Use as a context manager.

    Args:
        path: The file.
        segment: What to read in place of the file: a stretch of it, on whose clock all times then are; errors
            name `path`.
        num_threads: Decoding threads; 0 lets FFmpeg choose.

    Raises:
        DecodeError: If the file cannot be opened or has no video stream that can be decoded.
    """

    def __init__(self, path: str | Path, segment: Segment | None, num_threads: int) -> None:
        self.path = str(path)
        self._segment = segment
        self._timeline = None if segment is None else segment.timeline
        self._num_threads = num_threads
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _open(self) -> None:
        self._container = open_container(self.path, None if self._segment is None else self._segment.data)
        try:
            self.stream = main_video_stream(self.path, self._container)
        except DecodeError:
            self._container.close()
            raise
        context = self.stream.codec_context
        context.thread_count = self._num_threads
        context.thread_type = "SLICE" if self._num_threads == 1 else "AUTO"
        context.options = {"max_pixels": str(MAX_PIXELS)}

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick."""
        return self._stream_base if self._timeline is None else self._timeline.time_base

    @property
    def _stream_base(self) -> Fraction:
        return Fraction(self.stream.time_base or Fraction(1, av.time_base))

    @property
    def origin_microseconds(self) -> int:
        """Timestamp at which the file (its earliest stream) starts."""
        if self._timeline is not None:
            return self._timeline.origin_microseconds
        return self._container.start_time or 0

    @property
    def _first_ticks(self) -> int:
        """Where what can be read begins."""
        return self.origin_ticks if self._timeline is None else self._timeline.shift_ticks

    def _stream_ticks(self, ticks: int) -> int:
        """A time on the clock that the packets carry."""
        if self._timeline is not None:
            ticks = self._timeline.to_segment(ticks, self._stream_base)
        return min(ticks, MAX_TICKS)

    @property
    def origin_ticks(self) -> int:
        """The same on the stream's clock."""
        return round(Fraction(self.origin_microseconds, av.time_base) / self.time_base)

    @property
    def container_seconds(self) -> float | None:
        """Length that the container states, if it does."""
        return None if not self._container.duration else self._container.duration / av.time_base

    @property
    def fps(self) -> Fraction | None:
        """Average frame rate that the file states, if it does."""
        rate = self.stream.average_rate or self.stream.guessed_rate or self.stream.base_rate
        return Fraction(rate) if rate else None

    def ticks(self, seconds: float | Fraction) -> int:
        """Length of time on the stream's clock, at least one tick."""
        return max(1, round(Fraction(seconds) / self.time_base))

    @property
    def frame_ticks(self) -> int:
        """Ticks per frame at the average rate, at least one."""
        if self._timeline is not None:
            return self._timeline.frame_ticks
        return self.ticks(1 / self.fps) if self.fps else 1

    def _duration_of(self, frame: av.VideoFrame) -> int:
        if not frame.duration or self._timeline is None:
            return frame.duration or self.frame_ticks
        return self._timeline.length(frame.duration, self._stream_base)

    def _time_of(self, item: av.VideoFrame | Packet) -> int | None:
        """Presentation time; AVI stores none, and what FFmpeg derives for it is wrong with B-frames."""
        return self._on_clock(item.dts if self._container.format.name == "avi" else item.pts)

    def _times_of(self, packet: Packet) -> tuple[int | None, int | None]:
        """When the frame of a packet is shown, and when it is decoded."""
        return self._time_of(packet), self._on_clock(packet.dts)

    def _on_clock(self, ticks: int | None) -> int | None:
        if ticks is None or self._timeline is None:
            return ticks
        return self._timeline.from_segment(ticks, self._stream_base)
