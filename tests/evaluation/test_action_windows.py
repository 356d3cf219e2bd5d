"""Rules of windows: which frames of a file they mean, how often one counts, what the plans say."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narravid.errors import DecodeError
from narravid.evaluation.action_windows import NativeRateWindows, SpreadWindows, TemporalCrops, frames_of
from narravid.evaluation.windows import WindowItem, WindowPlan, encode_windows
from narravid.types import ClipSpec, Span, VideoInfo
from narravid.video.encode import write_video
from narravid.video.frame_sampling import crop_frames, crop_start_frame, window_start_frames
from narravid.video.watched import WatchedDecoder
from numbered_video import number_of, write_timed

SPEC = ClipSpec(num_frames=16, fps=7.5, size_pixels=32, mean=(0.45,) * 3)


def video(num_frames, fps=25.0, *, first=0.0, size=(64, 48)):
    return VideoInfo("v.avi", first + num_frames / fps, fps, *size, None, "mpeg4", 0, first)


def repeated(rule, plan, info, span=None):
    """Starts with those that count several times, in the order of the plan."""
    counts = rule.counts(WindowItem(info.path, span))
    return np.repeat(plan.starts, counts).tolist()


@given(
    num_frames=st.integers(1, 400),
    fps=st.sampled_from([15.0, 25.0, 30000 / 1001, 60.0]),
    first=st.sampled_from([0.0, 0.04, 2 / 30]),
    num_windows=st.integers(1, 12),
)
def test_windows_at_the_native_rate_start_with_the_published_frames(num_frames, fps, first, num_windows):
    rule = NativeRateWindows(SPEC, num_windows=num_windows)
    info = video(num_frames, fps, first=first)
    plan = rule(info, None)
    assert len(set(plan.starts)) == len(plan.starts)
    assert (plan.spec.num_frames, plan.spec.fps, plan.spec.frame_rule) == (32, fps, "ffmpeg_fps")
    assert (plan.spec.mean, plan.squares, plan.last_frame_seconds) == (SPEC.mean, None, None)
    frames = [(start - first) * fps for start in repeated(rule, plan, info)]
    np.testing.assert_allclose(frames, window_start_frames(num_frames, 32, num_windows), atol=1e-6)


def test_a_part_of_a_video_has_the_frames_that_begin_in_it():
    info = video(100)  # 4 s
    found = frames_of(info, Span(1.0, 3.0))
    assert (found.num_frames, found.first_seconds) == (50, 1.0)
    assert frames_of(info, Span(1.01, 2.99)).num_frames == 49  # frames 26 to 74
    assert frames_of(info, Span(3.0, 9.0)).num_frames == 25  # the video is over at 4 s
    assert frames_of(info, Span(2.01, 2.02)).num_frames == 1
    with pytest.raises(DecodeError, match=r"no frame there, the video ends at 4\.00 s"):
        frames_of(info, Span(4.5, 5.0))
    rule = NativeRateWindows(SPEC, num_frames=10, num_windows=3)
    plan = rule(info, Span(1.0, 3.0))
    assert plan.starts == (1.0, 1.8, 2.6)


def test_a_video_shorter_than_a_window_has_one_that_counts_ten_times():
    rule, info = NativeRateWindows(SPEC), video(20)
    assert rule(info, None).starts == (0.0,)
    assert rule.counts(WindowItem("v.avi")).tolist() == [10]


@given(
    num_frames=st.integers(1, 300),
    fps=st.sampled_from([15.0, 25.0, 30.0, 30000 / 1001]),
    first=st.sampled_from([0.0, 0.04]),
)
def test_temporal_crops_show_the_published_frames(num_frames, fps, first):
    rule, info = TemporalCrops(SPEC), video(num_frames, fps, first=first)
    plan = rule(info, None)
    assert plan.spec.frame_rule == "shown_at"
    assert plan.last_frame_seconds == pytest.approx(first + (num_frames - 1) / fps)
    counts = rule.counts(WindowItem("v.avi"))
    assert counts.sum() == 30
    assert len({*zip(plan.starts, plan.squares, strict=True)}) == len(counts)
    clip_frames = 16 / 7.5 * fps
    expected = []
    for number in range(10):
        start = math.ceil(crop_start_frame(num_frames, clip_frames, crop_number=number, num_crops=10) - 1e-3)
        expected += [crop_frames(start, clip_frames, num_frames=16, num_video_frames=num_frames)] * 3
    shown = []
    for start in repeated(rule, plan, info):
        # What is on screen at each sample, the last frame behind the end; as `shown_at` with half a tick.
        times = [start - first + sample / plan.spec.fps for sample in range(16)]
        shown.append([min(math.floor(time * fps + 1e-3), num_frames - 1) for time in times])
    assert sorted(shown) == sorted(expected)


def test_the_squares_of_temporal_crops():
    wide = TemporalCrops(SPEC, num_crops=2)(video(100), None)
    assert wide.squares == ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0)) * 2
    rule = TemporalCrops(SPEC, num_crops=2)
    square = rule(video(100, size=(48, 48)), None)
    assert square.squares == ((0.5, 0.5),) * 2
    assert rule.counts(WindowItem("v.avi")).tolist() == [3, 3]
    central = TemporalCrops(SPEC, num_crops=2, num_positions=1)(video(100), None)
    assert central.squares == ((0.5, 0.5),) * 2
    with pytest.raises(ValueError, match="num_positions must be 1 or 3"):
        TemporalCrops(SPEC, num_positions=2)


def test_the_last_temporal_crop_stays_short_of_the_end():
    # 164 frames at 25 fps, clips of 53.3: crop 9 of 10 starts at 0.9 of the room.
    plan = TemporalCrops(SPEC)(video(164), None)
    assert plan.starts[-1] == pytest.approx(math.ceil(0.9 * (164 - 16 / 7.5 * 25)) / 25)
    end = plan.starts[-1] + 15 / plan.spec.fps
    assert end < 164 / 25 - 0.3


def test_clips_of_a_single_frame():
    plan = TemporalCrops(ClipSpec(1, 1.0, 32), num_crops=2, num_positions=1)(video(100), None)
    assert plan.starts == (0.0, 1.52)  # (100 - 25) / 2 = 37.5, moved up to a whole frame
    one = TemporalCrops(ClipSpec(1, 30.0, 32), num_crops=1, num_positions=1)(video(100), None)
    assert (one.starts, one.spec.fps) == ((0.0,), 30.0)


def test_spread_windows_are_those_of_retrieval():
    rule, info = SpreadWindows(SPEC, num_windows=3, mirrored=True), video(250)
    plan = rule(info, None)
    last = 10 - 16 / 7.5 - 0.4
    np.testing.assert_allclose(plan.starts, [0, last / 2, last])
    assert plan.mirrored
    assert rule.counts(WindowItem("v.avi")).tolist() == [1, 1, 1]
    part = Span(
        1.01, 1.99
    )  # too short for several windows: frames 26 to 49, one window that counts three times
    assert rule(info, part).starts == (1.04,)
    assert rule.counts(WindowItem("v.avi", part)).tolist() == [3]
    with pytest.raises(ValueError, match="num_windows must be at least 1, got 0"):
        SpreadWindows(SPEC, num_windows=0)


def test_rules_describe_themselves():
    assert NativeRateWindows(SPEC).describe()["fps"] == "that of each video"
    assert TemporalCrops(SPEC).describe()["spatial_crops"] == 3
    assert SpreadWindows(SPEC).describe()["fps"] == 7.5


class Watcher:
    """Takes the place of a network and keeps what it is shown."""

    output, dtype, backend, weights_hash = "feature", "float32", "torch", "none"

    def __init__(self):
        self.clips = []

    def encode(self, clips):
        self.clips += list(clips)
        return torch.zeros(len(clips), 1)


def numbers_shown(path, rule, span=None):
    """Numbers of the frames of each window, as a network sees them; None for a black one."""
    watcher = Watcher()
    with WatchedDecoder() as decoder:
        assert not encode_windows(watcher, [WindowItem(str(path), span)], rule, decoder=decoder).reasons
    clips = [clip.movedim(0, -1) for clip in watcher.clips]
    return [[number_of(frame) if frame.any() else None for frame in clip] for clip in clips]


@pytest.mark.parametrize(("name", "num_frames"), [("a.mp4", 70), ("late.avi", 70), ("short.mp4", 20)])
def test_a_network_is_shown_these_frames(tmp_path, name, num_frames):
    path, spec = tmp_path / name, ClipSpec(num_frames=8, fps=5.0, size_pixels=48)
    is_late = name.startswith("late")  # AVI has no times: with B-frames the first picture comes a frame late
    options = {"codec": "mpeg4", "options": {"bf": "2"}} if is_late else {}
    write_timed(path, range(num_frames), time_base=Fraction(1, 25), **options)
    native = numbers_shown(path, NativeRateWindows(spec, num_frames=24, num_windows=3))
    starts = sorted(set(window_start_frames(num_frames, 24, 3)))
    assert native == [
        [frame if frame < num_frames else None for frame in range(start, start + 24)] for start in starts
    ]
    crops = numbers_shown(path, TemporalCrops(spec, num_crops=2, num_positions=1))
    expected = []
    for number in range(2):
        start = math.ceil(crop_start_frame(num_frames, 40, crop_number=number, num_crops=2))
        frames = crop_frames(start, 40, num_frames=8, num_video_frames=num_frames)
        if frames not in expected:
            expected.append(frames)
    assert crops == expected


@pytest.mark.parametrize("name", ["a.mp4", "late.avi", "thousandths.mkv"])
def test_no_window_shows_a_frame_behind_its_part(tmp_path, name):
    path, spec = tmp_path / name, ClipSpec(num_frames=8, fps=10.0, size_pixels=48)
    options = {"codec": "mpeg4", "options": {"bf": "2"}} if name.startswith("late") else {}
    write_timed(path, range(60), time_base=Fraction(1, 30), rate=30, **options)
    delay = 1 / 30 if name.startswith("late") else 0.0
    part = Span(0.5 + delay, 1.0 + delay)  # frames 15 to 29
    native = numbers_shown(path, NativeRateWindows(spec, num_frames=24), part)
    assert native == [[*range(15, 30), *[None] * 9]]
    fitting = numbers_shown(path, NativeRateWindows(spec, num_frames=10, num_windows=2), part)
    assert fitting == [list(range(15, 25)), list(range(20, 30))]
    # 24 frames of the file at 7 gaps: every 3.29th one, rounded down, and the last one of the part again.
    crops = numbers_shown(path, TemporalCrops(spec, num_crops=2, num_positions=1), part)
    assert crops == [[15 + min(math.floor(number * 23 / 7), 14) for number in range(8)]]
    # A frame of the file belongs to the nearest tenth of a second, the last one to arrive stays.
    spread = numbers_shown(path, SpreadWindows(spec, num_windows=4), part)
    assert spread == [[16, 19, 22, 25, 28, None, None, None]]


@pytest.mark.parametrize(
    ("frame_rule", "fps", "expected"),
    [
        ("ffmpeg_fps", 10.0, 5),
        ("ffmpeg_fps", 3.0, 1),  # frames at 0, 1/3 and 2/3: the second one's takes from 1/6 to 1/2
        ("ffmpeg_fps", 5.0, 2),
        ("shown_at", 10.0, 5),
        ("shown_at", 3.0, 2),
        ("shown_at", 0.5, 1),
        ("shown_at", 60.0, 8),
    ],
)
def test_frames_of_a_window_before_the_end(frame_rule, fps, expected):
    spec = ClipSpec(8, fps, 32, frame_rule=frame_rule)
    assert WindowPlan(spec, (2.0,), end_seconds=2.5).num_frames_before_end(2.0) == expected
    assert WindowPlan(spec, (2.0,), end_seconds=1.0).num_frames_before_end(2.0) == 1
    assert WindowPlan(spec, (2.0,)).num_frames_before_end(2.0) == 8


def test_the_end_of_a_plan_must_be_a_time():
    with pytest.raises(ValueError, match="end_seconds must be finite, got nan"):
        WindowPlan(SPEC, (0.0,), end_seconds=math.nan)


def test_whole_videos_end_where_their_file_does():
    for rule in (NativeRateWindows(SPEC), SpreadWindows(SPEC), TemporalCrops(SPEC)):
        assert rule(video(20), None).end_seconds is None
        assert rule(video(100), Span(1.0, 2.02)).end_seconds == pytest.approx(2.04)


def test_mirrored_windows(tmp_path):
    frames = np.zeros((10, 32, 32, 3), dtype=np.uint8)
    frames[:, :, :8] = 200
    write_video(tmp_path / "a.mp4", iter(frames), fps=10.0)
    shown = []
    for mirrored in (False, True):
        watcher = Watcher()
        rule = NativeRateWindows(ClipSpec(4, 4.0, 32), num_frames=4, num_windows=1, mirrored=mirrored)
        with WatchedDecoder() as decoder:
            encode_windows(watcher, [WindowItem(str(tmp_path / "a.mp4"))], rule, decoder=decoder)
        shown += watcher.clips
    assert torch.equal(shown[0].flip(-1), shown[1])
    assert shown[0][..., :6].float().mean() > 150 > 50 > shown[1][..., :6].float().mean()
