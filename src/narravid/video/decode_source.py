"""One opened video stream: seeking to a time, and frames in order of presentation.

Faults inside a file are FFmpeg's business as far as it can go on: a packet that does not decode is skipped as
the ffmpeg program skips it, reading stops where the file breaks off. What is left is judged by the caller.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import av
import av.container
import av.stream
import av.video

from narravid.errors import DecodeError

if TYPE_CHECKING:
    Packet = av.Packet[av.video.VideoStream]

__all__ = ["TimedFrame", "VideoSource", "explain", "no_frame_error"]

MAX_PIXELS = 2**27  # 16k x 8k: a header that claims more is an attack, not a video
UNINDEXED_SEEK_SECONDS = 3.0  # without an index, a gap longer than this is worth a seek
SKIP_MARGIN_SECONDS = 0.1
# Formats whose files only name other files or addresses: a stranger's must not send us there, and waiting for
# what a playlist promises can take minutes. All other formats of this FFmpeg are read.
PLAYLISTS = frozenset(
    {"applehttp", "concat", "dash", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "webm_dash_manifest"}
)
READABLE_FORMATS = ",".join(sorted(av.formats_available - PLAYLISTS))
# Codecs in which nothing ever refers to a non-reference frame, so that leaving some out changes no other.
SKIPPABLE_CODECS = frozenset({"h264", "mpeg4", "mpeg1video", "mpeg2video"})


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A decoded frame with its time on the stream's clock; `end_ticks` is when it leaves the screen."""

    frame: av.VideoFrame
    ticks: int
    end_ticks: int


def explain(error: Exception) -> str:
    """What FFmpeg says, without numbers and function names."""
    return str(getattr(error, "strerror", None) or error)


def no_frame_error(source: VideoSource) -> DecodeError:
    """The error for a file of which no frame at all could be decoded."""
    cause = "its video stream holds no data" if source.last_error is None else explain(source.last_error)
    return DecodeError(source.path, f"no frame could be decoded: {cause}")


class VideoSource:
    """The first real video stream of a file (cover pictures do not count). Use as a context manager.

    Args:
        path: The file.
        num_threads: Decoding threads; 0 lets FFmpeg choose.
        on_progress: Called for every frame decoded and every packet of `packets`; may raise to stop.

    Raises:
        DecodeError: If the file cannot be opened or has no video stream that can be decoded.
    """

    def __init__(
        self, path: str | Path, *, num_threads: int = 1, on_progress: Callable[[], None] | None = None
    ) -> None:
        self.path = str(path)
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
        try:
            if Path(self.path).is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            # "file:" keeps names with colons from being taken for protocols; the white list keeps what a file
            # names within it from being fetched from the network.
            self._container = av.open(
                f"file:{os.path.abspath(self.path)}",
                options={"protocol_whitelist": "file", "format_whitelist": READABLE_FORMATS},
                metadata_errors="replace",
            )
        except av.ArgumentError as error:
            reason = f"cannot be opened as a video: {explain(error)} (a playlist is not followed)"
            raise DecodeError(self.path, reason) from error
        except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
            raise DecodeError(self.path, f"cannot be opened as a video: {explain(error)}") from error
        try:
            self.stream = self._first_video_stream()
        except DecodeError:
            self._container.close()
            raise
        context = self.stream.codec_context
        context.thread_count = self._num_threads
        context.thread_type = "SLICE" if self._num_threads == 1 else "AUTO"
        context.options = {"max_pixels": str(MAX_PIXELS)}

    def _first_video_stream(self) -> av.video.VideoStream:
        streams = self._container.streams.video
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in self._container.streams}))
            raise DecodeError(self.path, f"has no video stream, only {kinds or 'an empty container'}")
        moving = [s for s in streams if not s.disposition & av.stream.Disposition.attached_pic]
        if not moving:
            raise DecodeError(self.path, "has no video stream, only a cover picture")
        if moving[0].codec_context is None:
            raise DecodeError(self.path, "FFmpeg has no decoder for its video stream")
        return moving[0]

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick."""
        return Fraction(self.stream.time_base or Fraction(1, av.time_base))

    @property
    def origin_microseconds(self) -> int:
        """Timestamp at which the file (its earliest stream) starts."""
        return self._container.start_time or 0

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
        return self.ticks(1 / self.fps) if self.fps else 1

    def restart(self) -> None:
        """Open the file anew and stand at its beginning."""
        self.close()
        self._open()
        self._forget_position(at_beginning=True)

    def seek(self, ticks: int) -> None:
        """Stand at a key frame at or before `ticks`; at the beginning where the file does not seek."""
        if ticks <= self.origin_ticks or not self._is_timed:
            self.restart()
            return
        self._prime()
        try:
            self._container.seek(ticks, stream=self.stream)
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
            return ticks > self.origin_ticks
        entries = self.stream.index_entries
        if len(entries):
            nearest = entries.search_timestamp(ticks, backward=True)
            if nearest >= 0 and entries[nearest].timestamp > self._position:
                return True
            if entries[len(entries) - 1].timestamp >= ticks:
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
        return TimedFrame(frame, ticks, ticks + (frame.duration or self.frame_ticks))

    def _time_of(self, item: av.VideoFrame | Packet) -> int | None:
        """Presentation time; AVI stores none, and what FFmpeg derives for it is wrong with B-frames."""
        return item.dts if self._container.format.name == "avi" else item.pts
