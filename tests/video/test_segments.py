"""Segments: a stretch cut out without loss gives the very frames of the whole video, at every start."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.types import ClipSpec
from narravid.video.decode import decode_clips
from narravid.video.encode import write_video
from narravid.video.segments import Segment, Timeline
from narravid.video.watched import WatchedDecoder
from numbered_video import numbered_frame


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("segments") / "video.mp4"
    noise = np.random.default_rng(5).integers(0, 120, (64, 300, 3), dtype=np.uint8)
    frames = (numbered_frame(n, 64, 80) // 2 + noise[:, n : n + 80] for n in range(200))
    write_video(path, frames, fps=24000 / 1001, preset="medium", keyframe_seconds=2)
    return path


def cut(path, first, last, *, timescale):
    """Frames first to last as a file of its own, without loss, on another clock that starts near 0."""
    buffer = io.BytesIO()
    with av.open(str(path)) as source, av.open(buffer, "w", format="mp4") as target:
        stream = source.streams.video[0]
        base = stream.time_base
        out = target.add_stream("libx264", rate=30, options={"qp": "0", "preset": "ultrafast", "bf": "0"})
        out.width, out.height, out.pix_fmt = stream.width, stream.height, "yuv420p"
        out.time_base = out.codec_context.time_base = Fraction(1, timescale)
        shift = None
        for number, frame in enumerate(source.decode(stream)):
            if not first <= number <= last:
                continue
            shift = frame.pts if shift is None else shift
            frame.pts = round((frame.pts - shift) * base * timescale)
            frame.time_base = Fraction(1, timescale)
            frame.pict_type = 0
            target.mux(out.encode(frame))
        target.mux(out.encode(None))
        frame_ticks = round(1 / (stream.average_rate * base))
        timeline = Timeline(base, source.start_time or 0, shift, frame_ticks)
    return Segment(buffer.getvalue(), timeline)


@pytest.mark.parametrize("timescale", [24000, 90000])
@pytest.mark.parametrize("rule", ["ffmpeg_fps", "shown_at"])
def test_clips_of_a_segment_are_those_of_the_video(video, timescale, rule):
    spec = ClipSpec(8, 10, 48, frame_rule=rule)
    segment = cut(video, 60, 140, timescale=timescale)
    starts = [2.6, 2.61, 3.0, 3.337, 4.004, 4.9]
    whole = list(decode_clips(video, starts, spec))
    parts = list(decode_clips(video, starts, spec, segment=segment))
    with WatchedDecoder() as watched:
        watched_parts = list(watched.clips(video, starts, spec, segment=segment))
    for expected, part, watched_part in zip(whole, parts, watched_parts, strict=True):
        assert expected.mask.all()
        assert part.span == expected.span
        assert (part.frames == expected.frames).all()
        assert (watched_part.frames == expected.frames).all()


def test_the_end_of_a_segment_that_ends_with_its_video_is_the_end_of_the_video(video):
    spec = ClipSpec(16, 10, 48)
    segment = cut(video, 150, 199, timescale=24000)
    starts = [7.5, 8.2]
    whole = list(decode_clips(video, starts, spec))
    parts = list(decode_clips(video, starts, spec, segment=segment))
    assert whole[1].num_padded > 0
    for expected, part in zip(whole, parts, strict=True):
        assert part.num_padded == expected.num_padded
        assert (part.frames == expected.frames).all()


bases = st.builds(Fraction, st.integers(1, 1001), st.integers(24, 90_000))


@given(bases, st.integers(0, 10**9), st.integers(1, 8), st.integers(0, 10**6))
def test_times_on_a_finer_clock_come_back_exactly(base, shift, finer, ticks):
    timeline = Timeline(base, 0, shift, 1)
    own = base / finer
    assert timeline.from_segment(ticks * finer, own) == shift + ticks
    assert timeline.to_segment(shift + ticks, own) == ticks * finer


@pytest.mark.parametrize(("base", "frame_ticks"), [(Fraction(0), 1), (Fraction(1, 25), 0)])
def test_a_clock_must_run(base, frame_ticks):
    with pytest.raises(ValueError, match="must be positive"):
        Timeline(base, 0, 0, frame_ticks)
