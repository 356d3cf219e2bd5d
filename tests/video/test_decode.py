"""Which frames a clip holds: times, rules, containers, rotation, ends."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from narravid.errors import DecodeError
from narravid.types import ClipSpec
from narravid.video.decode import decode_clips, decode_video, probe
from narravid.video.encode import write_video
from numbered_video import number_of, numbered_frame, numbers_of, write_timed

SIZE = 48


def spec(num_frames=4, fps=5.0, rule="shown_at", **options):
    return ClipSpec(num_frames, fps, SIZE, frame_rule=rule, **options)


def shown_at(times, start, num_frames, fps):
    """Numbers of the frames on screen at the samples, read off the list of times."""
    samples = [start + number / fps for number in range(num_frames)]
    return [max(0, sum(time <= sample + 1e-6 for time in times) - 1) for sample in samples]


def nearest_samples(times, start, num_frames, fps):
    """What the ffmpeg program gives: frames from `start` on go to the nearest sample, the last one stays."""
    inside = [(number, time) for number, time in enumerate(times) if time >= start - 1e-9]
    sample_of = {number: math.floor(round((time - start) * fps, 6) + 0.5) for number, time in inside}
    sample_of[inside[0][0]] = 0  # what comes before the first frame is filled with it
    return [max(n for n, sample in sample_of.items() if sample <= want) for want in range(num_frames)]


EXPECTED = {"shown_at": shown_at, "ffmpeg_fps": nearest_samples}
TIMES_25 = [number / 25 for number in range(300)]


@pytest.mark.parametrize("rule", ["shown_at", "ffmpeg_fps"])
@pytest.mark.parametrize("fps", [5.0, 10.0, 24.0, 29.97, 60.0])
def test_frames_by_both_rules(numbered, rule, fps):
    starts = [0.0, 0.02, 1.999, 2.0, 2.001, 3.3, 7.77, 11.0]
    wanted = spec(num_frames=5, fps=fps, rule=rule)
    for start, clip in zip(starts, decode_clips(numbered, starts, wanted), strict=True):
        assert clip.mask.all()
        assert numbers_of(clip) == EXPECTED[rule](TIMES_25, start, 5, fps), start
        assert clip.span.start_seconds == start
        assert clip.span.duration_seconds == pytest.approx(5 / fps)


@pytest.mark.parametrize("rule", ["shown_at", "ffmpeg_fps"])
def test_published_frames_of_30_fps_at_5(tmp_path, rule):
    write_video(tmp_path / "a.mp4", (numbered_frame(n) for n in range(60)), fps=30)
    clip = next(decode_clips(tmp_path / "a.mp4", [0.0], spec(rule=rule)))
    assert numbers_of(clip) == {"ffmpeg_fps": [2, 8, 14, 20], "shown_at": [0, 6, 12, 18]}[rule]


@pytest.mark.parametrize("rule", ["shown_at", "ffmpeg_fps"])
def test_many_clips_in_one_pass_are_those_decoded_one_by_one(numbered, rule):
    drawn = torch.rand(30, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    starts = (drawn * 11).tolist()  # in no order, overlapping, with gaps
    wanted = spec(num_frames=6, rule=rule)
    together = list(decode_clips(numbered, starts, wanted))
    for start, clip in zip(starts, together, strict=True):
        alone = next(decode_clips(numbered, [start], wanted))
        assert torch.equal(clip.frames, alone.frames)
        assert numbers_of(clip) == EXPECTED[rule](TIMES_25, start, 6, 5.0)


CONTAINERS = [
    ("a.mp4", "libx264", 12800, {}),
    ("a.mov", "libx264", 600, {}),
    ("a.mkv", "libx264", 1000, {}),
    ("a.webm", "libvpx-vp9", 1000, {"options": {"cpu-used": "8", "deadline": "realtime"}}),
    ("a.avi", "mpeg4", 25, {}),
    ("a.mpg", "mpeg1video", 25, {}),
    ("a.ts", "libx264", 90000, {}),
    ("a.gif", "gif", 100, {"pix_fmt": "rgb8"}),
    ("a.h264", "libx264", 25, {"format": "h264"}),
    ("ten_bit.mp4", "libx264", 12800, {"pix_fmt": "yuv420p10le"}),
    ("full_chroma.mp4", "libx264", 12800, {"pix_fmt": "yuv444p"}),
]


@pytest.mark.parametrize(("name", "codec", "clock", "options"), CONTAINERS)
def test_every_container_gives_the_same_frames(tmp_path, name, codec, clock, options):
    ticks = [round(Fraction(number * clock, 25)) for number in range(100)]
    write_timed(tmp_path / name, ticks, time_base=Fraction(1, clock), codec=codec, **options)
    info = probe(tmp_path / name)
    assert (info.width, info.height, info.fps) == (64, 48, 25)
    # rough clocks and containers without durations are a frame off at most
    assert info.duration_seconds == pytest.approx(4.0, abs=0.041)
    for rule in ("shown_at", "ffmpeg_fps"):
        starts = [3.0, 0.0, 1.0, 2.52]
        clips = decode_clips(tmp_path / name, starts, spec(rule=rule))
        assert [numbers_of(clip) for clip in clips] == [
            EXPECTED[rule](TIMES_25[:100], start, 4, 5.0) for start in starts
        ]


SEEK_TRAPS = [
    # a seek lands between key frames, and this decoder shows garbage until the next one
    ("a.ts", "mpeg4", 25, {}),
    # seeks come out after the time asked for
    ("a.ts", "libx264", 90000, {}),
    # key frames with frames before them that lean on the group before
    ("open_gop.mp4", "libx264", 12800, {"bf": "3", "x264-params": "open-gop=1:b-adapt=0"}),
    # no key frames at all after the first: the picture is renewed column by column
    ("refresh.mp4", "libx264", 12800, {"x264-params": "intra-refresh=1:bframes=0"}),
]


@pytest.mark.parametrize(("name", "codec", "clock", "options"), SEEK_TRAPS)
def test_seeks_that_go_wrong_are_noticed(tmp_path, name, codec, clock, options):
    ticks = [round(Fraction(number * clock, 25)) for number in range(200)]
    write_timed(
        tmp_path / name, ticks, time_base=Fraction(1, clock), codec=codec, gop_size=60, options=options
    )
    starts = [1.0, 3.1, 5.5, 7.0]
    expected = [shown_at(TIMES_25[:200], start, 4, 5.0) for start in starts]
    assert [numbers_of(clip) for clip in decode_clips(tmp_path / name, starts, spec())] == expected
    alone = [next(decode_clips(tmp_path / name, [start], spec())) for start in starts]
    assert [numbers_of(clip) for clip in alone] == expected


@pytest.mark.parametrize(
    ("name", "codec", "clock", "options"), [*SEEK_TRAPS, ("a.mpg", "mpeg1video", 25, {})]
)
def test_seeks_close_to_the_end(tmp_path, name, codec, clock, options):
    ticks = [round(Fraction(number * clock, 25)) for number in range(200)]
    write_timed(
        tmp_path / name, ticks, time_base=Fraction(1, clock), codec=codec, gop_size=150, options=options
    )
    for start in (7.5, 7.9, 7.97):
        (clip,) = decode_clips(tmp_path / name, [start], spec(num_frames=1))
        assert numbers_of(clip) == shown_at(TIMES_25[:200], start, 1, 5.0)


@pytest.mark.parametrize("num_b_frames", [1, 2])
def test_avi_with_b_frames_keeps_the_order(tmp_path, num_b_frames):
    # AVI has no presentation times; those that FFmpeg makes up go back and forth with B-frames.
    options = {"bf": str(num_b_frames), "b_strategy": "0"}
    write_timed(tmp_path / "a.avi", range(50), time_base=Fraction(1, 25), codec="mpeg4", options=options)
    clip = decode_video(tmp_path / "a.avi", fps=25, short_side_pixels=None)
    assert list(dict.fromkeys(numbers_of(clip))) == list(range(50))
    # The decoder's delay shifts all times, as in the ffmpeg program: the first frames are shown longer.
    assert len(numbers_of(clip)) - 50 <= 2


def test_variable_frame_rate_goes_by_presentation_times(tmp_path):
    ticks = [0, 40, 400, 440, 480, 2000, 2040, 5000, 5900, 6000]
    times = [tick / 1000 for tick in ticks]
    write_timed(tmp_path / "a.mp4", ticks, options={"bf": "3"}, gop_size=100)
    clips = decode_clips(tmp_path / "a.mp4", [0.0, 0.39, 1.0, 2.5, 4.0, 5.2], spec(fps=10.0, num_frames=5))
    for clip in clips:
        assert numbers_of(clip) == shown_at(times, clip.span.start_seconds, 5, 10.0)


def test_a_span_in_which_no_frame_starts_shows_the_one_on_screen(tmp_path):
    # Slides: under the rule of the ffmpeg program this clip would show the slide that comes later.
    write_timed(tmp_path / "slides.mkv", [0, 10_000, 20_000, 30_000], options={"bf": "2"})
    for rule in ("ffmpeg_fps", "shown_at"):
        clip = next(decode_clips(tmp_path / "slides.mkv", [14.0], spec(rule=rule)))
        assert numbers_of(clip) == [1, 1, 1, 1]


def test_times_count_from_the_start_of_the_file(tmp_path):
    ticks = [7000 + 40 * number for number in range(50)]
    write_timed(tmp_path / "late.mkv", ticks)
    assert probe(tmp_path / "late.mkv").duration_seconds == pytest.approx(2.0, abs=0.001)
    clip = next(decode_clips(tmp_path / "late.mkv", [1.0], spec(num_frames=2)))
    assert numbers_of(clip) == [25, 30]


@pytest.mark.parametrize("rule", ["shown_at", "ffmpeg_fps"])
def test_padding_past_the_end(numbered, rule):
    clip = next(decode_clips(numbered, [11.5], spec(num_frames=8, rule=rule)))
    assert clip.mask.tolist() == [True] * 3 + [False] * 5
    assert clip.frames[~clip.mask].count_nonzero() == 0
    assert numbers_of(clip) == EXPECTED[rule](TIMES_25, 11.5, len(numbers_of(clip)), 5.0)


def test_the_last_frame_is_shown_until_its_end(numbered):
    for rule in ("shown_at", "ffmpeg_fps"):
        clip = next(decode_clips(numbered, [11.99], spec(rule=rule)))
        assert numbers_of(clip) == [299]
        assert clip.num_padded == 3


@pytest.mark.parametrize("start", [12.0, 12.5, 1000.0, 1e15, 1e300])  # the last are no times of FFmpeg's
def test_a_start_at_or_past_the_end_is_an_error(numbered, start):
    clips = decode_clips(numbered, [1.0, start], spec())
    assert numbers_of(next(clips)) == [25, 30, 35, 40]
    with pytest.raises(DecodeError, match=r"the video ends at 12\.00 s") as caught:
        next(clips)
    assert caught.value.span == (start, start + 0.8)
    assert caught.value.path == str(numbered)


@pytest.mark.parametrize("start", [-0.1, math.nan, math.inf])
def test_starts_that_are_no_times(numbered, start):
    with pytest.raises(ValueError, match="clip starts must be finite"):
        decode_clips(numbered, [0.0, start], spec())


def test_no_starts_no_clips():
    assert list(decode_clips("does not exist.mp4", [], spec())) == []


@pytest.mark.parametrize("rule", ["shown_at", "ffmpeg_fps"])
def test_whole_video(numbered, rule):
    clip = decode_video(numbered, fps=5, short_side_pixels=24, frame_rule=rule)
    assert clip.frames.shape == (60, 24, 32, 3)
    assert clip.mask.all()
    assert (clip.span.start_seconds, clip.span.end_seconds) == (0.0, 12.0)
    assert [number_of(frame) for frame in clip.frames] == EXPECTED[rule](TIMES_25, 0.0, 60, 5.0)


def test_whole_video_faster_than_the_file(tmp_path):
    write_video(tmp_path / "a.mp4", (numbered_frame(n) for n in range(10)), fps=10)
    clip = decode_video(tmp_path / "a.mp4", fps=30, short_side_pixels=None)
    assert [number_of(frame) for frame in clip.frames] == [number for number in range(10) for _ in range(3)]


def test_whole_video_refuses_what_it_cannot_hold(numbered):
    for fps in (25, 1e300):
        with pytest.raises(DecodeError, match="more than 0 MiB"):
            decode_video(numbered, fps=fps, short_side_pixels=None, max_bytes=50_000)
    with pytest.raises(ValueError, match="fps must be positive"):
        decode_video(numbered, fps=0, short_side_pixels=None)
    with pytest.raises(ValueError, match="short_side_pixels must be at least 1"):
        decode_video(numbered, fps=5, short_side_pixels=0)


def test_num_threads_changes_nothing(numbered):
    one = next(decode_clips(numbered, [5.3], spec()))
    auto = next(decode_clips(numbered, [5.3], spec(), num_threads=0))
    assert torch.equal(one.frames, auto.frames)


def test_probe(numbered):
    info = probe(numbered)
    assert info.path == str(numbered)
    assert (info.duration_seconds, info.fps, info.num_frames) == (12.0, 25.0, 300)
    assert (info.width, info.height, info.codec, info.rotation_degrees) == (64, 48, "h264", 0)
    assert info.first_frame_seconds == 0.0


def test_probe_tells_when_the_first_picture_comes(tmp_path):
    # AVI has no times of pictures: those that wait for others come late, by one frame with B-frames.
    path, ticks = tmp_path / "late.avi", range(12)
    options = {"bf": "2"}
    write_timed(path, ticks, time_base=Fraction(1, 25), codec="mpeg4", options=options)
    info = probe(path)
    assert info.first_frame_seconds == pytest.approx(0.04)
    assert (info.duration_seconds - info.first_frame_seconds) * info.fps == pytest.approx(12)
