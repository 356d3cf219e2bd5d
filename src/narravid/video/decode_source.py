"""One opened video stream: seeking to a time, and frames in order of presentation.

Faults inside a file are FFmpeg's business as far as it can go on: a packet that does not decode is skipped as
the ffmpeg program skips it, reading stops where the file breaks off. What is left is judged by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import av
import av.video

from narravid.errors import DecodeError
from narravid.video.decode_open import explain, first_video_stream, open_container
from narravid.video.segments import Segment

if TYPE_CHECKING:
    Packet = av.Packet[av.video.VideoStream]

__all__ = ["TimedFrame", "VideoSource", "no_frame_error"]

MAX_PIXELS = 2**27  # 16k x 8k: a header that claims more is an attack, not a video
UNINDEXED_SEEK_SECONDS = 3.0  # without an index, a gap longer than this is worth a seek
SKIP_MARGIN_SECONDS = 0.1
# Codecs in which nothing ever refers to a non-reference frame, so that leaving some out changes no other.
SKIPPABLE_CODECS = frozenset({"h264", "mpeg4", "mpeg1video", "mpeg2video"})


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A decoded frame with its time on the stream's clock; `end_ticks` is when it leaves the screen."""

    frame: av.VideoFrame
    ticks: int
    end_ticks: int


def no_frame_error(source: VideoSource) -> DecodeError:
    """The error for a file of which no frame at all could be decoded."""
    cause = "its video stream holds no data" if source.last_error is None else explain(source.last_error)
    return DecodeError(source.path, f"no frame could be decoded: {cause}")


class VideoSource:
    """The first real video stream of a file (cover pictures do not count). Use as a context manager.

    Args:
        path: The file.
        segment: What to read in place of the file: a stretch of it, on whose clock all times then are; errors
            name `path`.
        num_threads: Decoding threads; 0 lets FFmpeg choose.
        on_progress: Called for every frame decoded and every packet of `packets`; may raise to stop.

    Raises:
        DecodeError: If the file cannot be opened or has no video stream that can be decoded.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        segment: Segment | None = None,
        num_threads: int = 1,
        on_progress: Callable[[], None] | None = None,
    ) -> None:
        self.path = str(path)
        self._segment = segment
        self._timeline = None if segment is None else segment.timeline
        self.at_beginning = True
        self.skipped_until: int | None = None
        self.skip_before: int | None = None
        self.may_skip = True
        self.can_seek = True
        self.last_error: Exception | None = None
        self._num_threads = num_threads
        self._on_progress = on_progress
        self._position: int | None = None
        self._is_timed = True
        self._open()

    def __enter__(self) -> VideoSource:
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
            self.stream = first_video_stream(self.path, self._container)
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
        return ticks if self._timeline is None else self._timeline.to_segment(ticks, self._stream_base)

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

    def restart(self) -> None:
        """Open the file anew and stand at its beginning."""
        self.close()
        self._open()
        self._forget_position(at_beginning=True)

    def seek(self, ticks: int) -> None:
        """Stand at a key frame at or before `ticks`; at the beginning where the file does not seek."""
        if ticks <= self._first_ticks or not self._is_timed:
            self.restart()
            return
        self._prime()
        try:
            self._container.seek(self._stream_ticks(ticks), stream=self.stream)
        except (av.FFmpegError, OSError, ValueError):
            self.restart()
            return
        self._forget_position(at_beginning=False)

    def _prime(self) -> None:
        """Let the decoder see the first packet of 4:4:4 H.264 before it leaves the beginning.

        x264 before build 151 wrote such streams with a fault that the decoder makes up for, if it knows the
        build; that stands in the first packet only. Without it every frame after a seek is garbage.
        """
        context = self.stream.codec_context
        is_fresh = self.at_beginning and self._position is None
        if not (is_fresh and context.name == "h264" and "444" in (context.pix_fmt or "")):
            return
        packet = next(self._read(), None)
        if packet is not None:
            self._decode(packet)

    def _forget_position(self, *, at_beginning: bool) -> None:
        self.at_beginning = at_beginning
        self._position = self.skipped_until = self.skip_before = None

    def is_worth_seeking(self, ticks: int) -> bool:
        """Whether a seek to `ticks` would save decoding, coming from the present position."""
        if not self.can_seek:
            return False
        if self._position is None:
            return ticks > self._first_ticks
        entries = self.stream.index_entries
        if len(entries):
            wanted, position = self._stream_ticks(ticks), self._stream_ticks(self._position)
            nearest = entries.search_timestamp(wanted, backward=True)
            if nearest >= 0 and entries[nearest].timestamp > position:
                return True
            if entries[len(entries) - 1].timestamp >= wanted:
                return False
        return ticks - self._position > self.ticks(UNINDEXED_SEEK_SECONDS)

    def skip_to(self, ticks: int) -> None:
        """Frames before `ticks` are not wanted: those that no other frame needs are left undecoded.

        A margin of two frames is kept, for the frame on screen at `ticks`. Where frames come less often,
        `skipped_until` lets the caller see that it may have missed one.
        """
        margin = max(self.ticks(SKIP_MARGIN_SECONDS), 2 * self.frame_ticks)
        can_skip = self.may_skip and self.stream.codec_context.name in SKIPPABLE_CODECS
        self.skip_before = ticks - margin if can_skip else None

    def frames(self) -> Iterator[TimedFrame]:
        """Frames from the present position to the end of the file, never going back in time.

        After a seek the first one is a key frame: what a decoder gives before it may be damaged.
        """
        wait_for_key = not self.at_beginning
        for packet in self._read():
            for frame in self._decode(packet):
                self._show_progress()
                if wait_for_key and not frame.key_frame:
                    continue
                wait_for_key = False
                yield self._timed(frame)

    def packets(self) -> Iterator[Packet]:
        """Packets from the present position to the end, undecoded."""
        for packet in self._read():
            self._show_progress()
            yield packet

    def _read(self) -> Iterator[Packet]:
        """Packets of the stream, and an empty one at the end that flushes the decoder."""
        packets = self._container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                self.last_error = error
                return
            if packet is None:
                return
            yield packet

    def _show_progress(self) -> None:
        if self._on_progress is not None:
            self._on_progress()

    def _decode(self, packet: Packet) -> list[av.VideoFrame]:
        time = self._time_of(packet)
        skips = self.skip_before is not None and time is not None and time < self.skip_before
        self.stream.codec_context.skip_frame = "NONREF" if skips else "DEFAULT"
        if skips and time is not None:
            self.skipped_until = time if self.skipped_until is None else max(time, self.skipped_until)
        try:
            return list(self.stream.codec_context.decode(packet))
        except (av.FFmpegError, OSError, ValueError) as error:
            self.last_error = error
            return []

    def _timed(self, frame: av.VideoFrame) -> TimedFrame:
        ticks = self._time_of(frame)
        if ticks is None:
            self._is_timed = self._is_timed and frame.pts is not None
            ticks = self.origin_ticks if self._position is None else self._position + self.frame_ticks
        if self._position is not None:
            ticks = max(ticks, self._position)
        self._position = ticks
        return TimedFrame(frame, ticks, ticks + self._duration_of(frame))

    def _duration_of(self, frame: av.VideoFrame) -> int:
        if not frame.duration or self._timeline is None:
            return frame.duration or self.frame_ticks
        return self._timeline.length(frame.duration, self._stream_base)

    def _time_of(self, item: av.VideoFrame | Packet) -> int | None:
        """Presentation time; AVI stores none, and what FFmpeg derives for it is wrong with B-frames."""
        ticks = item.dts if self._container.format.name == "avi" else item.pts
        if ticks is None or self._timeline is None:
            return ticks
        return self._timeline.from_segment(ticks, self._stream_base)
