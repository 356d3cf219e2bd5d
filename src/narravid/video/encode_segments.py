"""Cutting stretches out of a video and encoding each anew as a small file that is quick to read clips from.

A segment keeps the times of its video exactly (see `narravid.video.segments`). It begins with the frame on
screen at its start and ends with the first frame after its end, so that every clip in it has the frames that
it has in the whole video.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import av

from narravid.errors import DecodeError
from narravid.video.decode_pass import FramePass, Picture
from narravid.video.decode_source import VideoSource
from narravid.video.encode_formats import FormatChooser, SegmentFile
from narravid.video.encode_shape import FrameShaper
from narravid.video.segments import Segment, Timeline

__all__ = ["Preset", "SegmentEncoding", "check_spans", "cut_segments"]

MAX_CRF = 51
Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
]
"""Speed of x264; the slower, the smaller the file."""


@dataclass(frozen=True, slots=True)
class SegmentEncoding:
    """How segments are encoded.

    Attributes:
        short_side_pixels: Length of the shorter side, aspect kept, never enlarged; None keeps the size.
            Without effect when lossless.
        crf: Constant rate factor of x264, 0 (best) to 51; without effect when lossless.
        preset: Speed preset of x264.
        keyframe_seconds: Largest distance between key frames.
        lossless: Keep size, pixel format and every pixel.

    Raises:
        ValueError: If one is out of range.
    """

    short_side_pixels: int | None = 256
    crf: int = 20
    preset: str = "veryfast"
    keyframe_seconds: float = 1.0
    lossless: bool = False

    def __post_init__(self) -> None:
        if self.short_side_pixels is not None and self.short_side_pixels < 2:
            raise ValueError(f"short_side_pixels must be at least 2 or None, got {self.short_side_pixels}")
        if not 0 <= self.crf <= MAX_CRF:
            raise ValueError(f"crf must be 0 to {MAX_CRF}, got {self.crf}")
        if self.preset not in get_args(Preset):
            raise ValueError(f"preset must be one of {', '.join(get_args(Preset))}, got {self.preset!r}")
        if not (math.isfinite(self.keyframe_seconds) and self.keyframe_seconds > 0):
            raise ValueError(f"keyframe_seconds must be positive, got {self.keyframe_seconds}")


def cut_segments(
    source: VideoSource, spans_seconds: Sequence[tuple[float, float]], encoding: SegmentEncoding
) -> Iterator[Segment]:
    """Segments of an opened file, in the order of their spans.

    The file is read once, gaps between spans are leapt over, a frame in several spans is decoded and scaled
    once. Segments that are ready before their turn are held: give the spans by start.

    Args:
        source: The file, at its beginning.
        spans_seconds: (start, end) of each segment, counted from the start of the file.
        encoding: How they are encoded.

    Yields:
        One segment for each span. A span that begins after the last frame gives a segment of that frame.

    Raises:
        ValueError: If a span is no span.
        DecodeError: If nothing can be decoded, or the pictures cannot be encoded as they should.
    """
    check_spans(spans_seconds)
    shaper = FrameShaper(source.path, encoding.short_side_pixels, keep_format=encoding.lossless)
    formats = FormatChooser(source.path, lossless=encoding.lossless, crf=encoding.crf, preset=encoding.preset)
    keyframe_ticks = source.ticks(encoding.keyframe_seconds)
    cutters = [
        _Cutter(source, span, turn, keyframe_ticks=keyframe_ticks, shaper=shaper, formats=formats)
        for turn, span in enumerate(spans_seconds)
    ]
    cutters.sort(key=lambda cutter: cutter.start_ticks)
    ready: dict[int, Segment] = {}
    turn = 0
    for cutter in FramePass(source, cutters).run():
        ready[cutter.turn] = cutter.close()
        while turn in ready:
            yield ready.pop(turn)
            turn += 1


def check_spans(spans_seconds: Sequence[tuple[float, float]]) -> None:
    """Refuse spans that are none.

    Raises:
        ValueError: If one begins before 0, ends before it begins, or is not finite.
    """
    for start_seconds, end_seconds in spans_seconds:
        if not (math.isfinite(end_seconds) and 0 <= start_seconds <= end_seconds):
            raise ValueError(f"a segment must be (start, end) in seconds, got {start_seconds, end_seconds}")


class _Cutter:
    """Encodes one segment while the video streams by.

    The last frame is kept back until the next one tells how long it stays, or that another one of the same
    time replaces it.
    """

    def __init__(
        self,
        source: VideoSource,
        span_seconds: tuple[float, float],
        turn: int,
        *,
        keyframe_ticks: int,
        shaper: FrameShaper,
        formats: FormatChooser,
    ) -> None:
        start_seconds, end_seconds = span_seconds
        origin = Fraction(source.origin_microseconds, av.time_base)
        self.start_ticks = math.floor((Fraction(start_seconds) + origin) / source.time_base)
        self.turn = turn
        self._end_ticks = math.ceil((Fraction(end_seconds) + origin) / source.time_base) + 1
        self._source = source
        self._keyframe_ticks = keyframe_ticks
        self._shaper = shaper
        self._formats = formats
        self._next_keyframe_ticks = 0
        self._shift_ticks = 0
        self._held: Picture | None = None
        self._file: SegmentFile | None = None

    @property
    def is_full(self) -> bool:
        return self._held is not None and self._held.timed.ticks >= self._end_ticks

    def feed(self, picture: Picture) -> None:
        held, self._held = self._held, picture
        if held is not None and picture.timed.ticks > held.timed.ticks:
            self._encode(held, picture.timed.ticks - held.timed.ticks)

    def finish(self, end_ticks: int) -> None:
        """The video is over: the end of its last frame matters, which is kept of what comes last in the file.

        A key frame does, as the frames before it are stored before it too.
        """
        if self._held is not None:
            self._next_keyframe_ticks = min(self._next_keyframe_ticks, self._held.timed.ticks)

    def close(self) -> Segment:
        held, self._held = self._held, None
        assert held is not None  # a cutter is done only when it was fed
        self._encode(held, held.timed.end_ticks - held.timed.ticks)
        assert self._file is not None
        timeline = Timeline(
            self._source.time_base,
            self._source.origin_microseconds,
            self._shift_ticks,
            self._source.frame_ticks,
        )
        data, self._file = self._file.close(), None
        return Segment(data, timeline)

    def _encode(self, picture: Picture, duration_ticks: int) -> None:
        ticks = picture.timed.ticks
        frame = picture.made_by(self._shaper)
        try:
            file = self._file or self._begin(frame, ticks)
            is_key = ticks >= self._next_keyframe_ticks
            if is_key:
                self._next_keyframe_ticks = ticks + self._keyframe_ticks
            file.add(frame, ticks - self._shift_ticks, duration_ticks=duration_ticks, is_key=is_key)
        except (av.FFmpegError, ValueError) as error:
            seconds = float((ticks - self._source.origin_ticks) * self._source.time_base)
            reason = f"its picture at {seconds:.2f} s cannot be encoded: {error}"
            raise DecodeError(self._source.path, reason) from error

    def _begin(self, frame: av.VideoFrame, ticks: int) -> SegmentFile:
        """Start the file with what is its first frame."""
        self._shift_ticks = self._next_keyframe_ticks = ticks
        self._format = self._formats.choose(frame)
        self._file = SegmentFile(self._format, frame, time_base=self._source.time_base, fps=self._source.fps)
        return self._file
