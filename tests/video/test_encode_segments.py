"""Segments cut out of a video: without loss they give its very frames, at any start and by both rules."""

from __future__ import annotations

import dataclasses
import io
from fractions import Fraction

import av
import numpy as np
import pytest

from narravid.errors import DecodeError
from narravid.types import ClipSpec
from narravid.video.decode import decode_clips, probe
from narravid.video.decode_source import VideoSource
from narravid.video.encode import write_video
from narravid.video.encode_segments import SegmentEncoding, cut_segments
from numbered_video import numbers_of, write_timed
from segment_comparison import LOSSLESS, RULES, cut, spans_of, worst_difference


def opened(segment):
    return av.open(io.BytesIO(segment.data))


def outcome(path, start, spec, segment=None):
    """A clip with its padding, or the words of the error."""
    try:
        [clip] = decode_clips(path, [start], spec, segment=segment)
    except DecodeError as error:
        return error.reason, None
    return clip.num_padded, clip.frames.numpy()


def moving_noise(num_frames, height=96, width=170):
    """A smooth random picture that slides by."""
    rng = np.random.default_rng(5)
    block = max(8, height // 20)
    small = rng.integers(60, 200, (height // block + 1, (width + 300) // block + 1, 1)).astype(np.uint8)
    picture = av.VideoFrame.from_ndarray(small.repeat(3, axis=2), format="rgb24")
    size = {"width": width + 300, "height": height}
    large = picture.reformat(**size, format="rgb24", interpolation="BICUBIC").to_ndarray()
    for number in range(num_frames):
        yield np.ascontiguousarray(large[:, number % 300 : number % 300 + width])


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """12 s at 23.976 fps with B-frames and few key frames."""
    path = tmp_path_factory.mktemp("noise") / "noise.mp4"
    write_video(path, moving_noise(288), fps=24000 / 1001, preset="medium", keyframe_seconds=4)
    return path


def test_lossless_segments_give_the_frames_of_the_file(noise):
    spans = [(0.0, 2.5), (2.0, 5.0), (7.3, 9.0), (9.0, 12.0)]
    assert worst_difference(noise, spans, cut(noise, spans)) == 0


def test_a_segment_holds_the_frame_on_screen_at_its_start_and_one_after_its_end(numbered):
    [segment] = cut(numbered, [(2.02, 3.01)])
    with opened(segment) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert segment.timeline.shift_ticks * segment.timeline.time_base == 2  # frame 50, shown till 2.04
    assert times[0] == 0
    assert 2 + times[-1] == pytest.approx(3.04)
    spec = ClipSpec(5, 25.0, 48, frame_rule="shown_at")
    [clip] = decode_clips(numbered, [2.81], spec, segment=segment)
    assert numbers_of(clip) == [70, 71, 72, 73, 74]


def test_every_frame_is_decoded_once_and_gaps_are_leapt_over(numbered):
    count = 0

    def on_progress():
        nonlocal count
        count += 1

    with VideoSource(numbered, on_progress=on_progress) as source:
        parts = list(cut_segments(source, [(0.0, 2.0), (1.0, 2.0), (10.0, 11.9)], SegmentEncoding()))
    assert len(parts) == 3
    assert 100 <= count < 150


def test_segments_come_in_the_order_of_their_spans(numbered):
    spans = [(8.0, 9.0), (1.0, 6.0), (2.0, 3.0)]
    segments = cut(numbered, spans, SegmentEncoding())
    shifts = [float(part.timeline.shift_ticks * part.timeline.time_base) for part in segments]
    assert shifts == pytest.approx([start - 0.04 for start, _ in spans])  # with the frame before


def test_the_same_bytes_every_time(noise):
    spans = [(1.0, 3.0), (2.5, 4.0)]
    encoding = SegmentEncoding()
    assert cut(noise, spans, encoding) == cut(noise, spans, encoding)
    assert cut(noise, spans[1:], encoding) == cut(noise, spans, encoding)[1:]


@pytest.mark.parametrize("time_base", [Fraction(1, 1000), Fraction(1, 90000), Fraction(1001, 30000)])
def test_uneven_times_are_kept_to_the_tick(tmp_path, time_base):
    path = tmp_path / "uneven.mkv" if time_base.denominator == 1000 else tmp_path / "uneven.mp4"
    rng = np.random.default_rng(2)
    gaps = rng.choice([0.02, 0.04, 0.05, 0.3, 1.7], size=120)
    ticks = np.unique(np.round(np.cumsum(gaps) / float(time_base)).astype(int)).tolist()
    write_timed(path, ticks, time_base=time_base, options={"preset": "ultrafast"})
    spans = spans_of(path, seconds=9.0)
    segments = cut(path, spans)
    assert worst_difference(path, spans, segments, num_starts=8) == 0
    with VideoSource(path) as source:
        times = [timed.ticks for timed in source.frames()]
    for segment in segments:
        with VideoSource(path, segment=segment) as source:
            own = [timed.ticks for timed in source.frames()]
        first = times.index(own[0])
        assert own == times[first : first + len(own)]


@pytest.mark.parametrize("encoding", [LOSSLESS, SegmentEncoding()], ids=["lossless", "lossy"])
@pytest.mark.parametrize("last_ticks", [50, 2000])
def test_the_end_of_the_video_is_that_of_its_last_segment(tmp_path, encoding, last_ticks):
    path = tmp_path / "still.mkv"
    times = [*range(0, 1880, 40), 1950, 1990]
    write_timed(path, times, codec="ffv1", durations=[*np.diff(times).tolist(), last_ticks])
    duration = probe(path).duration_seconds
    assert duration == pytest.approx(1.99 + last_ticks / 1000)
    [segment] = cut(path, [(1.2, duration)], encoding)
    for start in (1.2, 1.9, 1.99, 2.02, duration - 0.001, duration, duration + 0.1):
        for rule in RULES:
            spec = ClipSpec(4, 10, 48, frame_rule=rule)
            assert outcome(path, start, spec, segment)[0] == outcome(path, start, spec)[0]


def test_a_span_behind_the_last_frame_gives_that_frame(numbered):
    [segment] = cut(numbered, [(20.0, 25.0)])
    spec = ClipSpec(4, 10, 48)
    assert outcome(numbered, 20.0, spec, segment)[0] == outcome(numbered, 20.0, spec)[0]
    assert "the video ends at 12.00 s" in outcome(numbered, 20.0, spec, segment)[0]


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("encoding", [LOSSLESS, SegmentEncoding()], ids=["lossless", "lossy"])
def test_rotated_videos_come_upright(tmp_path, rotation, encoding):
    path = tmp_path / "rotated.mov"
    write_timed(path, range(50), time_base=Fraction(1, 25), size=(64, 48), rotation=rotation)
    [segment] = cut(path, [(0.0, 2.0)], encoding)
    with opened(segment) as container:
        frame = next(container.decode(video=0))
        assert "DISPLAYMATRIX" not in frame.side_data
        assert (frame.height, frame.width) == ((64, 48) if rotation == 180 else (48, 64))
    limit = 0 if encoding.lossless else 2
    assert worst_difference(path, [(0.0, 2.0)], [segment]) <= limit


@pytest.mark.parametrize(
    ("pixel_format", "size", "codec"),
    [
        ("yuv420p", (48, 64), "h264"),
        ("yuvj420p", (48, 64), "h264"),
        ("yuv444p", (49, 65), "h264"),
        ("yuv422p10le", (48, 64), "h264"),
        ("bgra", (49, 65), "h264"),
        ("yuv420p", (49, 65), "vp9"),
        ("yuv422p", (48, 65), "vp9"),
    ],
)
def test_lossless_keeps_what_the_reader_makes_of_any_picture(tmp_path, pixel_format, size, codec):
    path = tmp_path / "picture.mkv"
    stored, options = ("ffv1", {}) if "j" not in pixel_format else ("mjpeg", {"q": "2"})
    write_timed(
        path, [40 * n for n in range(75)], codec=stored, size=size, pix_fmt=pixel_format, options=options
    )
    spans = [(0.5, 2.9)]
    [segment] = cut(path, spans)
    with opened(segment) as container:
        assert container.streams.video[0].codec_context.name == codec
    assert worst_difference(path, spans, [segment]) == 0


def test_what_cannot_be_kept_is_an_error_that_says_how_to_go_on(tmp_path):
    path = tmp_path / "deep.mkv"
    write_timed(path, [0, 40, 80], codec="ffv1", pix_fmt="gbrp10le")
    with pytest.raises(DecodeError, match=r"64x48 gbrp10le\) cannot be kept .* pack without --lossless"):
        cut(path, [(0.0, 0.1)])
    assert len(cut(path, [(0.0, 0.1)], SegmentEncoding())) == 1


def test_a_change_of_size_is_an_error(tmp_path):
    for name, size in (("a", (48, 64)), ("b", (64, 64))):
        write_timed(tmp_path / f"{name}.h264", range(30), time_base=Fraction(1, 25), size=size)
    path = tmp_path / "both.h264"
    path.write_bytes((tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes())
    with pytest.raises(DecodeError, match="64x64 yuv420p after 64x48 yuv420p, and a segment holds one kind"):
        cut(path, [(0.0, 2.0)], SegmentEncoding())


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [
        ((360, 640), 256, (256, 456)),
        ((640, 360), 256, (456, 256)),
        ((480, 854), 256, (256, 456)),
        ((256, 340), 256, (256, 340)),
        ((49, 65), 256, (48, 64)),
        ((480, 480), 100, (100, 100)),
    ],
)
def test_sizes_are_even_and_none_is_enlarged(tmp_path, size, limit, expected):
    path = tmp_path / "size.mkv"
    write_timed(path, [0, 40], codec="ffv1", size=size)
    [segment] = cut(path, [(0.0, 0.08)], SegmentEncoding(short_side_pixels=limit))
    with opened(segment) as container:
        context = container.streams.video[0].codec_context
        assert (context.height, context.width) == expected
        assert context.pix_fmt == "yuv420p"
        margin = (max(expected) - min(expected)) // 2
        assert margin % 2 == 0 or size == (49, 65)


@pytest.mark.parametrize(("size", "limit"), [((360, 640), 256), ((480, 854), 256), ((96, 170), 256)])
def test_lossy_segments_look_like_the_file(tmp_path, size, limit):
    path = tmp_path / "picture.mp4"
    write_video(path, moving_noise(60, *size), fps=25)
    spans = [(0.5, 2.2)]
    segments = cut(path, spans, SegmentEncoding(short_side_pixels=limit))
    assert worst_difference(path, spans, segments, size=224, specs=[(8, 10)]) < 2


def test_key_frames_are_near(noise):
    for seconds in (0.5, 1.0):
        [segment] = cut(noise, [(0.0, 8.0)], SegmentEncoding(keyframe_seconds=seconds))
        with opened(segment) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        keys = [float(packet.pts * packet.time_base) for packet in packets if packet.is_keyframe]
        assert max(np.diff([*keys, float(packets[-1].pts * packets[-1].time_base)])) <= seconds + 0.05
        assert packets[0].is_keyframe
        assert min(packet.pts for packet in packets) == packets[0].pts == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("short_side_pixels", 1),
        ("crf", -1),
        ("crf", 52),
        ("preset", "fastest"),
        ("keyframe_seconds", 0.0),
        ("keyframe_seconds", np.inf),
    ],
)
def test_encodings_that_cannot_be(name, value):
    with pytest.raises(ValueError, match=name):
        dataclasses.replace(SegmentEncoding(), **{name: value})


@pytest.mark.parametrize("span", [(-1.0, 2.0), (3.0, 2.0), (0.0, np.inf), (np.nan, 1.0)])
def test_spans_that_are_none(numbered, span):
    with pytest.raises(ValueError, match=r"a segment must be \(start, end\)"):
        cut(numbered, [span])
