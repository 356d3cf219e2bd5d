"""Writing segments as MP4 files in memory: H.264, and for lossless ones what else keeps every pixel."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.codec.context import Flags
from av.video.frame import PictureType

from narravid.errors import DecodeError
from narravid.video.decode_scale import PictureScaler, ShortSide, Square, picture_kind
from narravid.video.decode_source import VideoSource
from narravid.video.segments import Segment, Timeline

__all__ = ["FormatChooser", "SegmentFile", "SegmentFormat"]

DEFAULT_RATE = Fraction(25)  # frames per second, where the file does not say; steers the rate control only
MAX_GOP_FRAMES = 2**20  # key frames are set by time
# Nothing refers to a B-frame here: five frames of six need not be decoded where a clip does not take them.
# With the plainer bit stream of "fastdecode" a clip takes half the time that it takes without B-frames.
NUM_B_FRAMES = 5
QUICK_TO_DECODE = (("tune", "fastdecode"), ("x264-params", "b-adapt=0:b-pyramid=none"))
VP9_OPTIONS = (
    ("lossless", "1"),
    ("deadline", "realtime"),
    ("cpu-used", "8"),
    ("lag-in-frames", "0"),  # no frame without a time of its own
)
TRIAL_SIZE_PIXELS = 224
TRIAL_CLOCK_HZ = 10_000
TICKS_PER_SECOND_AT_MOST = 2**31 - 1  # what MP4 can count with


@dataclass(frozen=True, slots=True)
class SegmentFormat:
    """Codec and pixel format of a segment.

    Attributes:
        codec: Name of the encoder.
        pixel_format: What it is given.
        options: Of the encoder.
        num_b_frames: Frames between two to which others refer.
    """

    codec: str
    pixel_format: str
    options: tuple[tuple[str, str], ...]
    num_b_frames: int = 0


class SegmentFile:
    """One video file in memory, filled frame by frame; frame times are kept to the tick.

    Args:
        format: Codec and container.
        first: The first frame; all have its size, pixel format and colours.
        time_base: Seconds per tick.
        fps: Average rate of the video, where it is known.

    Raises:
        ValueError: If MP4 cannot count so fast.
        av.FFmpegError: If the encoder does not take such frames.
    """

    def __init__(
        self, format: SegmentFormat, first: av.VideoFrame, *, time_base: Fraction, fps: Fraction | None
    ) -> None:
        if time_base.denominator > TICKS_PER_SECOND_AT_MOST:
            raise ValueError(f"a clock of {1 / time_base} Hz is too fast for MP4")
        # MP4 counts in parts of a second, so a tick of several parts is written as so many of them.
        self._ticks_scale = time_base.numerator
        self._clock = Fraction(1, time_base.denominator)
        self._pixel_format = format.pixel_format
        self._kind = picture_kind(first)
        self._durations: dict[int, int] = {}
        self._buffer = io.BytesIO()
        self._container = av.open(self._buffer, "w", format="mp4", options={"fflags": "+bitexact"})
        rate = DEFAULT_RATE if fps is None else fps
        stream = self._container.add_stream(format.codec, rate=rate, options=dict(format.options))
        assert isinstance(stream, av.VideoStream)  # the codecs are ours
        self._stream = stream
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = first.width, first.height, format.pixel_format
        context.time_base = stream.time_base = self._clock
        context.gop_size = MAX_GOP_FRAMES
        context.max_b_frames = format.num_b_frames
        context.thread_count = 1
        context.flags |= Flags.bitexact
        for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
            setattr(context, name, getattr(first, name))

    def add(self, frame: av.VideoFrame, ticks: int, *, duration_ticks: int, is_key: bool) -> None:
        """Encode the next frame.

        Args:
            frame: The picture; its time is overwritten.
            ticks: When it is shown, from the start of the segment.
            duration_ticks: How long it is shown.
            is_key: Whether it must not need others.

        Raises:
            ValueError: If it is of another kind than the first.
            av.FFmpegError: If it cannot be encoded.
        """
        if picture_kind(frame) != self._kind:
            width, height, name, *_ = self._kind
            raise ValueError(
                f"it is {frame.width}x{frame.height} {frame.format.name} after {width}x{height} {name},"
                " and a segment holds one kind of picture"
            )
        if frame.format.name != self._pixel_format:
            frame = frame.reformat(format=self._pixel_format)
        frame.pts = ticks * self._ticks_scale
        frame.time_base = self._clock
        frame.pict_type = PictureType.I if is_key else PictureType.NONE
        self._durations[frame.pts] = duration_ticks * self._ticks_scale
        self._mux(self._stream.encode(frame))

    def close(self) -> bytes:
        """Finish the file.

        Returns:
            Its content.

        Raises:
            av.FFmpegError: If it cannot be finished.
        """
        self._mux(self._stream.encode(None))
        self._container.close()
        return self._buffer.getvalue()

    def _mux(self, packets: list[av.Packet[av.VideoStream]]) -> None:
        for packet in packets:
            assert packet.pts is not None  # every frame had a time
            packet.duration = self._durations.pop(packet.pts)
            self._container.mux(packet)


class FormatChooser:
    """Says how pictures of a kind are stored; for lossless ones, by trying on the first.

    Args:
        path: The file, named in errors.
        lossless: Whether every pixel must be kept.
        crf: Constant rate factor of x264 otherwise.
        preset: Speed preset of x264.
    """

    def __init__(self, path: str, *, lossless: bool, crf: int, preset: str) -> None:
        self._path = path
        self._lossless = lossless
        self._crf = crf
        self._preset = preset
        self._chosen: dict[tuple[object, ...], SegmentFormat] = {}

    def choose(self, frame: av.VideoFrame) -> SegmentFormat:
        """The format for frames like this one.

        Raises:
            DecodeError: If none keeps it.
        """
        kind = picture_kind(frame)
        if kind not in self._chosen:
            self._chosen[kind] = self._lossless_format(frame) if self._lossless else self._lossy_format(frame)
        return self._chosen[kind]

    def _lossy_format(self, frame: av.VideoFrame) -> SegmentFormat:
        options = (("crf", str(self._crf)), *self._x264_options(), *QUICK_TO_DECODE)
        return SegmentFormat("libx264", frame.format.name, options, NUM_B_FRAMES)

    def _x264_options(self) -> tuple[tuple[str, str], ...]:
        return (("preset", self._preset), ("forced-idr", "1"))

    def _lossless_format(self, frame: av.VideoFrame) -> SegmentFormat:
        name = frame.format.name
        candidates = [
            SegmentFormat("libx264", name, (("qp", "0"), *self._x264_options())),
            SegmentFormat("libx264rgb", "bgr24", (("qp", "0"), *self._x264_options())),
            SegmentFormat("libvpx-vp9", name, VP9_OPTIONS),  # takes odd sizes, which H.264 does not
        ]
        for candidate in candidates:
            if _keeps(candidate, frame):
                return candidate
        raise DecodeError(
            self._path,
            f"its pictures ({frame.width}x{frame.height} {name}) cannot be kept without loss;"
            " pack without --lossless",
        )


def _keeps(format: SegmentFormat, frame: av.VideoFrame) -> bool:
    """Whether a frame comes back from a file of this format as it went in."""
    clock = Fraction(1, TRIAL_CLOCK_HZ)
    try:
        file = SegmentFile(format, frame, time_base=clock, fps=None)
        file.add(frame, 0, duration_ticks=1, is_key=True)
        trial = Segment(file.close(), Timeline(clock, 0, 0, 1))
        with VideoSource("trial", segment=trial) as source:
            back = next(source.frames(), None)
    except (av.FFmpegError, DecodeError, ValueError):
        return False
    if back is None or _formats_alike(back.frame) != _formats_alike(frame):
        return False
    regions = (ShortSide(None), Square(TRIAL_SIZE_PIXELS))
    return all(
        np.array_equal(PictureScaler("trial", region)(back.frame), PictureScaler("trial", region)(frame))
        for region in regions
    )


def _formats_alike(frame: av.VideoFrame) -> str:
    """A name for all pixel formats that FFmpeg scales alike.

    One whose J says "full range" is scaled as that without, and RGB of eight bits in any order of bytes.
    """
    if frame.format.is_rgb and {component.bits for component in frame.format.components} == {8}:
        return "rgb"
    return frame.format.name.replace("yuvj", "yuv")
