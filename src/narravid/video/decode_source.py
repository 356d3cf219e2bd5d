"""One opened video stream: seeking to a time, and frames in order of presentation.

Faults inside a file are FFmpeg's business as far as it can go on: a packet that does not decode is skipped as
the ffmpeg program skips it, reading stops where the file breaks off. What is left is judged by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.video

from narravid.errors import DecodeError
from narravid.video.decode_ahead import Expected, look_ahead
from narravid.video.decode_open import explain
from narravid.video.decode_opened import OpenedVideo
from narravid.video.segments import Segment

if TYPE_CHECKING:
    Packet = av.Packet[av.video.VideoStream]

__all__ = ["LeftOutError", "TimedFrame", "VideoSource", "no_frame_error"]

UNINDEXED_SEEK_SECONDS = 3.0  # without an index, a gap longer than this is worth a seek
# Codecs in which nothing ever refers to a non-reference frame, so that leaving some out changes no other.
SKIPPABLE_CODECS = frozenset({"h264", "mpeg4", "mpeg1video", "mpeg2video"})


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A decoded frame with its time on the stream's clock.

    Attributes:
        frame: The picture.
        ticks: When it is shown.
        end_ticks: When it leaves the screen, by its own length.
        next_ticks: When the next frame of the file takes its place, if that is known.
    """

    frame: av.VideoFrame
    ticks: int
    end_ticks: int
    next_ticks: int | None = None


class LeftOutError(Exception):
    """It was wrong to leave frames out: one that was wanted did not come, or a damaged one leans on them."""


def no_frame_error(source: VideoSource) -> DecodeError:
    """The error for a file of which no frame at all could be decoded."""
    cause = source.last_fault or "its video stream holds no data"
    return DecodeError(source.path, f"no frame could be decoded: {cause}")


class VideoSource(OpenedVideo):
    """Seeks in a video and gives its frames. Use as a context manager.

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
        super().__init__(path, segment, num_threads)
        self.at_beginning = True
        self.may_leave_out = True
        self.can_seek = True
        self.last_fault: str | None = None  # not the error: it would keep this object, and this object it
        self._on_progress = on_progress
        self._position: int | None = None
        self._is_timed = True
        self._is_strict = False

    def restart(self) -> None:
        """Open the file anew and stand at its beginning."""
        self.close()
        self._open()
        self._is_strict = False
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
        self._position = None

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

    def decode_all(self) -> None:
        """Open the file anew, to leave out no frame from now on."""
        self.may_leave_out = False
        self.restart()

    def frames(self, wants: Callable[[int, int], bool] | None = None) -> Iterator[TimedFrame]:
        """Frames from the present position to the end of the file, never going back in time.

        After a seek the first one is a key frame: what a decoder gives before it may be damaged.

        Args:
            wants: Whether the frame that is on screen from one time to another is wanted. Those that are not,
                and that no other frame refers to, may be left out; None decodes all.

        Raises:
            LeftOutError: If some should not have been left out: see `decode_all`.
        """
        wait_for_key = not self.at_beginning
        is_first = True
        expected = Expected()
        self.stream.codec_context.skip_frame = "DEFAULT"
        for packet in self._planned(wants, expected):
            for frame in self._decode(packet):
                self._show_progress()
                if wait_for_key and not frame.key_frame:
                    continue
                timed = self._timed(frame, expected)
                if is_first:
                    expected.forget(timed.ticks)
                    is_first = wait_for_key = False
                if self._is_strict and (expected.are_missing(timed.ticks) or frame.interlaced_frame):
                    raise LeftOutError  # two fields in two packets are one frame
                yield timed
        if expected.are_missing(None):
            raise LeftOutError

    def _planned(self, wants: Callable[[int, int], bool] | None, expected: Expected) -> Iterator[Packet]:
        """Packets to decode, the decoder set to leave out their frames where they are not wanted."""
        context = self.stream.codec_context
        if wants is None or not self._become_strict():
            yield from self._read()
            return
        is_wanted = True
        for planned in look_ahead(self._read(), self._times_of):
            ticks, next_ticks = planned.ticks, planned.next_ticks
            was_wanted = is_wanted
            is_wanted = ticks is None or next_ticks is None or wants(ticks, next_ticks)
            if is_wanted != was_wanted:
                context.skip_frame = "DEFAULT" if is_wanted else "NONREF"
            if ticks is not None:
                expected.send(ticks, next_ticks, is_wanted=is_wanted)
            yield planned.packet

    def _become_strict(self) -> bool:
        """Whether frames may be left out; the decoder then reports damage in place of making up for it."""
        context = self.stream.codec_context
        may = self.may_leave_out and context.name in SKIPPABLE_CODECS
        if may and not context.is_open:
            context.options = {**context.options, "err_detect": "explode"}
            self._is_strict = True
        return may and self._is_strict

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
                self.last_fault = explain(error)
                return
            if packet is None:
                return
            yield packet

    def _show_progress(self) -> None:
        if self._on_progress is not None:
            self._on_progress()

    def _decode(self, packet: Packet) -> list[av.VideoFrame]:
        try:
            return list(self.stream.codec_context.decode(packet))
        except MemoryError as error:  # what memory there is must not decide which frames a clip has
            raise DecodeError(self.path, f"cannot be decoded: {explain(error)}") from error
        except (av.FFmpegError, OSError, ValueError) as error:
            self.last_fault = explain(error)
            if self._is_strict:
                raise LeftOutError from error
            return []

    def _timed(self, frame: av.VideoFrame, expected: Expected) -> TimedFrame:
        ticks = self._time_of(frame)
        if ticks is None:
            self._is_timed = self._is_timed and frame.pts is not None
            ticks = self.origin_ticks if self._position is None else self._position + self.frame_ticks
        next_ticks = expected.take(ticks)
        if self._position is not None:
            ticks = max(ticks, self._position)
        self._position = ticks
        return TimedFrame(frame, ticks, ticks + self._duration_of(frame), next_ticks)
