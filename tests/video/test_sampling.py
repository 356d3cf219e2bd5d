"""Clip starts as pure functions: coverage, order, bounds, and every refusal."""

import collections
import doctest
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import narravid.video.sampling as sampling
from narravid.types import Span
from narravid.video.sampling import (
    aligned_start_range,
    clip_start_range,
    draw_aligned_start,
    draw_clip_start,
    evaluation_windows,
    sliding_windows,
    whole_second_span,
    widen_span,
)

lengths = st.floats(0.05, 600)


def spans(max_seconds=5000):
    return st.tuples(st.floats(0, max_seconds), st.floats(0, 600)).map(lambda t: Span(t[0], t[0] + t[1]))


def test_doctests_hold():
    results = doctest.testmod(sampling)
    assert results.attempted >= 6
    assert results.failed == 0


# ---------------------------------------------------------------- windows of an evaluation


@given(span=spans(), clip_seconds=lengths, num_windows=st.integers(1, 30))
@settings(deadline=None)
def test_evaluation_windows_are_evenly_spread_over_the_span(span, clip_seconds, num_windows):
    starts = evaluation_windows(span, clip_seconds, num_windows)
    assert len(starts) == num_windows
    assert starts[0] == span.start_seconds
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert all(gap == pytest.approx(gaps[0], abs=1e-6) and gap >= -1e-9 for gap in gaps)
    room = span.duration_seconds - clip_seconds - 0.4
    if num_windows > 1:
        assert starts[-1] - starts[0] == pytest.approx(max(0.0, room), abs=1e-6)


def test_evaluation_windows_of_a_short_span_all_start_with_it():
    assert evaluation_windows(Span(7.0, 9.0), 1.7, 4) == [7.0] * 4
    assert evaluation_windows(Span(7.0, 9.0), 1.5, 2) == pytest.approx([7.0, 7.1])


# ---------------------------------------------------------------- windows over a whole video


@given(duration=st.floats(0.01, 100), clip_seconds=st.floats(0.5, 60), share=st.floats(0.1, 1))
@settings(deadline=None)
def test_sliding_windows_cover_the_video(duration, clip_seconds, share):
    stride = clip_seconds * share
    windows = sliding_windows(duration, clip_seconds, stride_seconds=stride)
    assert windows[0].start_seconds == 0
    assert windows[-1].end_seconds == duration
    for earlier, later in itertools.pairwise(windows):
        gap = later.start_seconds - earlier.start_seconds
        assert 0 < gap <= stride + 2e-6
        assert later.start_seconds <= earlier.end_seconds + 2e-6
    for window in windows[:-1]:
        assert window.end_seconds <= duration + 1e-6
        assert window.duration_seconds == pytest.approx(clip_seconds)
    assert windows[-1].duration_seconds == pytest.approx(min(duration, clip_seconds), abs=2e-6)


def test_sliding_windows_by_example():
    assert sliding_windows(10.0, 4.0, stride_seconds=2.0) == [
        Span(0.0, 4.0),
        Span(2.0, 6.0),
        Span(4.0, 8.0),
        Span(6.0, 10.0),
    ]
    assert sliding_windows(9.0, 4.0, stride_seconds=4.0) == [Span(0.0, 4.0), Span(4.0, 8.0), Span(5.0, 9.0)]
    assert sliding_windows(5.0, 4.0, stride_seconds=2.0) == [Span(0.0, 4.0), Span(1.0, 5.0)]
    assert sliding_windows(3.0, 4.0, stride_seconds=2.0) == [Span(0.0, 3.0)]
    assert sliding_windows(4.0, 4.0, stride_seconds=2.0) == [Span(0.0, 4.0)]


def test_a_rounding_error_makes_no_window_of_its_own():
    # 0.1 · 3 is a little more than 0.3.
    assert sliding_windows(0.1 * 3, 0.3, stride_seconds=0.1) == [Span(0.0, 0.1 * 3)]
    starts = [window.start_seconds for window in sliding_windows(6.4 + 1e-9, 3.2, stride_seconds=1.6)]
    assert starts == pytest.approx([0.0, 1.6, 3.2])
    assert len(sliding_windows(3.2 + 2e-6, 3.2, stride_seconds=1.6)) == 2


# ---------------------------------------------------------------- captions into clips


@given(span=spans(), min_seconds=st.floats(0, 60))
@settings(deadline=None)
def test_widened_spans_keep_their_centre_or_begin_at_zero(span, min_seconds):
    wide = widen_span(span, min_seconds)
    assert wide.duration_seconds >= min_seconds - 1e-6
    assert wide.start_seconds >= 0
    if span.duration_seconds >= min_seconds:
        assert wide is span
    else:
        assert wide.duration_seconds == pytest.approx(min_seconds, abs=1e-6)
        if wide.start_seconds > 0:
            assert wide.center_seconds == pytest.approx(span.center_seconds, abs=1e-6)
        else:
            assert wide.center_seconds >= span.center_seconds - 1e-6


def test_widening_by_example():
    assert widen_span(Span(1.0, 2.0), 5.0) == Span(0.0, 5.0)
    assert widen_span(Span(2.0, 3.0), 5.0) == Span(0.0, 5.0)
    assert widen_span(Span(3.0, 4.0), 5.0) == Span(1.0, 6.0)
    assert widen_span(Span(3.0, 8.0), 5.0) == Span(3.0, 8.0)
    assert widen_span(Span(3.0, 3.0), 0.0) == Span(3.0, 3.0)


@given(span=spans())
@settings(deadline=None)
def test_whole_seconds_are_cut_off_never_rounded_up(span):
    whole = whole_second_span(span)
    for cut, given_ in [(whole.start_seconds, span.start_seconds), (whole.end_seconds, span.end_seconds)]:
        assert isinstance(cut, float)
        assert cut == math.floor(given_)


@given(start=st.integers(0, 5000), length=st.integers(0, 600), clip_seconds=lengths)
@settings(deadline=None)
def test_clips_start_at_whole_seconds_inside_the_span(start, length, clip_seconds):
    lowest, highest = clip_start_range(Span(float(start), float(start + length)), clip_seconds)
    assert isinstance(lowest, int)
    assert isinstance(highest, int)
    assert lowest == start
    if clip_seconds >= length:
        assert highest == lowest
    else:
        assert highest + clip_seconds <= start + length + 1e-6
        assert highest + 1 + clip_seconds > start + length - 1e-6


def test_every_start_is_drawn_equally_often():
    generator = torch.Generator().manual_seed(11)
    draws = [draw_clip_start(Span(10.0, 20.0), 5.5, generator=generator) for _ in range(5000)]
    counts = collections.Counter(draws)
    assert sorted(counts) == [10, 11, 12, 13, 14]
    # Binomial with n = 5000, p = 0.2: standard deviation 28, so 5 of them.
    assert all(abs(count - 1000) < 145 for count in counts.values())
    assert all(isinstance(draw, int) for draw in draws)


def test_draws_follow_the_generator():
    span = Span(0.0, 500.0)
    draws = [
        [draw_clip_start(span, 3.0, generator=generator) for _ in range(5)]
        for generator in (torch.Generator().manual_seed(1), torch.Generator().manual_seed(1))
    ]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) > 1


# ---------------------------------------------------------------- clips of aligned sentences


def test_aligned_starts_by_example():
    assert aligned_start_range(10.0, 3.0, duration_seconds=100.0) == (7, 10)
    assert aligned_start_range(10.5, 3.0, duration_seconds=100.0) == (7, 11)
    assert aligned_start_range(2.0, 3.0, duration_seconds=100.0) == (0, 2)
    assert aligned_start_range(0.0, 0.5, duration_seconds=0.5) == (0, 0)
    assert aligned_start_range(99.5, 3.0, duration_seconds=99.9) == (96, 99)
    assert aligned_start_range(103.0, 3.0, duration_seconds=100.0) == (100, 100)
    assert aligned_start_range(104.0, 3.0, duration_seconds=100.0) == (101, 100)


@given(timestamp=st.floats(0, 2000), clip_seconds=lengths, duration=st.floats(0.1, 2000))
@settings(deadline=None)
def test_aligned_starts_lie_around_the_timestamp_and_inside_the_video(timestamp, clip_seconds, duration):
    lowest, highest = aligned_start_range(timestamp, clip_seconds, duration_seconds=duration)
    assert isinstance(lowest, int)
    assert isinstance(highest, int)
    assert lowest == 0 or timestamp - clip_seconds - 1 <= lowest <= timestamp - clip_seconds
    assert highest <= duration
    assert highest <= timestamp + 1
    if timestamp <= duration:
        assert lowest <= highest
        assert highest >= min(timestamp, duration) - 1


def test_every_aligned_start_is_drawn_equally_often():
    generator = torch.Generator().manual_seed(5)
    draws = [draw_aligned_start(10.3, 3.2, duration_seconds=100.0, generator=generator) for _ in range(5000)]
    counts = collections.Counter(draws)
    assert sorted(counts) == [7, 8, 9, 10, 11]
    # Binomial with n = 5000, p = 0.2: standard deviation 28, so 5 of them.
    assert all(abs(count - 1000) < 145 for count in counts.values())
    assert all(isinstance(draw, int) for draw in draws)


def test_aligned_draws_follow_the_generator():
    draws = [
        [draw_aligned_start(900.0, 500.0, duration_seconds=1000.0, generator=generator) for _ in range(5)]
        for generator in (torch.Generator().manual_seed(1), torch.Generator().manual_seed(1))
    ]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) > 1


def test_a_single_aligned_start_is_drawn_and_none_refused():
    generator = torch.Generator().manual_seed(5)
    assert draw_aligned_start(103.0, 3.0, duration_seconds=100.0, generator=generator) == 100
    message = r"^no clip of 3.0 s at 104.0 s can start inside a video of 100.0 s; leave this sentence out$"
    with pytest.raises(ValueError, match=message):
        draw_aligned_start(104.0, 3.0, duration_seconds=100.0, generator=generator)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_lengths_must_be_positive(value):
    span = Span(0.0, 10.0)
    number = f"{value}"
    calls = {
        "clip_seconds": [
            lambda: evaluation_windows(span, value, 3),
            lambda: sliding_windows(10.0, value, stride_seconds=1.0),
            lambda: clip_start_range(span, value),
            lambda: draw_clip_start(span, value, generator=torch.Generator()),
            lambda: aligned_start_range(1.0, value, duration_seconds=10.0),
        ],
        "duration_seconds": [
            lambda: sliding_windows(value, 4.0, stride_seconds=1.0),
            lambda: aligned_start_range(1.0, 4.0, duration_seconds=value),
        ],
        "stride_seconds": [lambda: sliding_windows(10.0, 4.0, stride_seconds=value)],
    }
    for name, functions in calls.items():
        for function in functions:
            with pytest.raises(ValueError, match=rf"^{name} must be positive, got {number}$"):
                function()


@pytest.mark.parametrize("num_windows", [0, -2])
def test_there_must_be_a_window(num_windows):
    with pytest.raises(ValueError, match=rf"^num_windows must be at least 1, got {num_windows}$"):
        evaluation_windows(Span(0.0, 1.0), 1.0, num_windows)


def test_a_stride_that_leaves_gaps_is_refused():
    message = r"^stride_seconds must not exceed clip_seconds \(4.0\), or moments would be left out; got 4.5$"
    with pytest.raises(ValueError, match=message):
        sliding_windows(10.0, 4.0, stride_seconds=4.5)


@pytest.mark.parametrize("value", [-0.5, math.nan, math.inf])
def test_a_least_length_must_be_a_number(value):
    with pytest.raises(ValueError, match=rf"^min_seconds must be at least 0, got {value}$"):
        widen_span(Span(0.0, 1.0), value)
    with pytest.raises(ValueError, match=rf"^timestamp_seconds must be at least 0, got {value}$"):
        aligned_start_range(value, 1.0, duration_seconds=10.0)


@pytest.mark.parametrize(
    ("span", "name"), [(Span(0.5, 2.0), "start_seconds"), (Span(0.0, 2.5), "end_seconds")]
)
def test_a_start_range_needs_whole_seconds(span, name):
    value = getattr(span, name)
    with pytest.raises(
        ValueError, match=rf"^{name} must be a whole second \(see whole_second_span\), got {value}$"
    ):
        clip_start_range(span, 1.0)
