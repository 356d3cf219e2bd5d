"""The arithmetic of frame rules, against a naive reading of them."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narravid.video.decode_rules import FrameSelector, SampleClock, round_half_away


@pytest.mark.parametrize(
    ("halves", "expected"), [(1, 1), (-1, -1), (5, 3), (-5, -3), (4, 2), (-4, -2), (0, 0)]
)
def test_round_half_away(halves, expected):
    assert round_half_away(Fraction(halves, 2)) == expected


def test_round_to_the_nearest():
    assert [round_half_away(Fraction(n, 3)) for n in (-4, -2, -1, 1, 2, 4)] == [-1, -1, 0, 0, 1, 1]


def clock(rule, start=0.0, fps=5.0, time_base=Fraction(1, 1000), origin=0):
    return SampleClock(start, fps, rule, time_base, origin)


@pytest.mark.parametrize(
    ("rule", "start", "time_base", "ticks"),
    [
        ("ffmpeg_fps", 0.0206, Fraction(1, 1000), 21),
        ("ffmpeg_fps", 0.0205, Fraction(1, 1000), 21),  # halves go away from zero
        ("ffmpeg_fps", 0.02, Fraction(1, 30), 1),
        ("shown_at", 0.0206, Fraction(1, 1000), 21),  # less than half a millisecond is the clock's rounding
        ("shown_at", 0.0204, Fraction(1, 1000), 20),
        ("shown_at", 0.02, Fraction(1, 30), 0),
        ("shown_at", 1 / 30, Fraction(1, 15360), 512),
    ],
)
def test_start_on_the_clock(rule, start, time_base, ticks):
    assert clock(rule, start, time_base=time_base).start_ticks == ticks


def test_origin_shifts_the_clock():
    shifted = clock("ffmpeg_fps", 1.0, origin=500_000)
    assert shifted.start_ticks == 1500
    assert shifted.first_sample(1700) == 1
    assert shifted.starts_after(1500)
    assert not shifted.starts_after(1501)


def test_rate_is_the_fraction_that_is_meant():
    assert clock("shown_at", fps=30000 / 1001).rate == Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("rule", "ticks", "sample"),
    [
        ("ffmpeg_fps", 99, 0),
        ("ffmpeg_fps", 100, 1),
        ("ffmpeg_fps", 299, 1),
        ("ffmpeg_fps", -101, -1),
        ("ffmpeg_fps", -100, 0),
        ("shown_at", 0, 0),
        ("shown_at", 1, 1),
        ("shown_at", 200, 1),
        ("shown_at", 201, 2),
    ],
)
def test_first_sample(rule, ticks, sample):
    assert clock(rule).first_sample(ticks) == sample


def run(selector, frames, end):
    """Picture of each sample."""
    filled = []
    for ticks, picture in frames:
        for samples, chosen in selector.feed(ticks, picture):
            assert samples.start == len(filled)
            filled += [chosen] * len(samples)
        if selector.is_full:
            return filled
    for samples, chosen in selector.finish(end):
        assert samples.start == len(filled)
        filled += [chosen] * len(samples)
    return filled


frame_times = st.lists(st.integers(0, 3000), min_size=1, max_size=30, unique=True).map(sorted)


@given(
    times=frame_times,
    start=st.integers(0, 3200),
    fps=st.sampled_from([1.0, 5.0, 10.0, 25.0]),
    num_samples=st.one_of(st.none(), st.integers(1, 12)),
    last_duration=st.integers(1, 500),
)
@settings(deadline=None)
def test_shown_at_is_what_a_player_shows(times, start, fps, num_samples, last_duration):
    end = times[-1] + last_duration
    selector = FrameSelector(clock("shown_at", start / 1000, fps), num_samples)
    filled = run(selector, [(time, time) for time in times], end)
    assert selector.num_filled == len(filled)
    if start >= end:
        assert filled == []
        return
    step = Fraction(1000) / Fraction(fps)
    expected = []
    while (num_samples is None or len(expected) < num_samples) and start + len(expected) * step < end:
        sample = start + len(expected) * step
        shown = [time for time in times if time <= sample]
        expected.append(shown[-1] if shown else times[0])
    assert filled == expected


@given(
    times=frame_times,
    start=st.integers(0, 3200),
    fps=st.sampled_from([1.0, 5.0, 10.0, 25.0]),
    num_samples=st.integers(1, 12),
    last_duration=st.integers(1, 500),
)
@settings(deadline=None)
def test_ffmpeg_fps_gives_each_frame_to_the_nearest_sample(times, start, fps, num_samples, last_duration):
    end = times[-1] + last_duration
    selector = FrameSelector(clock("ffmpeg_fps", start / 1000, fps), num_samples)
    filled = run(selector, [(time, time) for time in times], end)
    if start >= end:
        assert filled == []
        return

    def sample_of(time):
        return math.floor(Fraction(time - start) * Fraction(fps) / 1000 + Fraction(1, 2))

    inside = [time for time in times if time >= start]
    earlier = [time for time in times if time < start]
    if earlier and (not inside or sample_of(inside[0]) >= num_samples):
        # no frame starts in the span: the one on screen stands for it, for as long as the file goes on
        inside = [earlier[-1], *inside]
    num_valid = min(num_samples, max(1, sample_of(end)))
    samples = [sample_of(time) for time in inside]
    samples = [0 if sample <= samples[0] else sample for sample in samples]  # no gap before the first
    expected = [
        max(t for t, n in zip(inside, samples, strict=True) if n <= number) for number in range(num_valid)
    ]
    assert filled == expected


@given(
    times=frame_times,
    rule=st.sampled_from(["ffmpeg_fps", "shown_at"]),
    start=st.integers(0, 3200),
    fps=st.sampled_from([1.0, 5.0, 10.0, 25.0]),
    num_samples=st.one_of(st.none(), st.integers(1, 12)),
    kept=st.sets(st.integers(0, 29)),
    told=st.booleans(),
)
@settings(deadline=None)
def test_frames_that_are_not_taken_may_be_left_out(times, rule, start, fps, num_samples, kept, told):
    end = times[-1] + 100
    every = run(FrameSelector(clock(rule, start / 1000, fps), num_samples), [(t, t) for t in times], end)
    selector = FrameSelector(clock(rule, start / 1000, fps), num_samples)
    filled = []
    for number, (time, next_time) in enumerate(zip(times, [*times[1:], None], strict=True)):
        is_before = next_time is not None and next_time <= selector.clock.start_ticks
        if next_time is None or (not is_before and selector.takes(time, next_time)) or number in kept:
            decided = list(selector.feed(time, time))
            if told and next_time is not None:
                decided += selector.replaced(next_time)
            filled += [chosen for samples, chosen in decided for _ in samples]
    filled += [chosen for samples, chosen in selector.finish(end) for _ in samples]
    assert filled == every


def test_the_gap_before_the_first_frame_goes_to_the_last_one_of_its_sample():
    selector = FrameSelector(clock("ffmpeg_fps"), 4)
    assert run(selector, [(500, "a"), (600, "b"), (650, "c"), (900, "d")], 1000) == ["c"] * 4
    selector = FrameSelector(clock("ffmpeg_fps"), 4)
    assert run(selector, [(300, "a"), (500, "b")], 1000) == ["a", "a", "a", "b"]


def test_a_full_selector_takes_no_more():
    selector = FrameSelector(clock("shown_at"), 2)
    assert list(selector.feed(0, "a")) == []
    assert list(selector.feed(1000, "b")) == [(range(2), "a")]
    assert selector.is_full
    assert list(selector.feed(2000, "c")) == []
    assert selector.num_filled == 2
