"""Windows of a whole video, and what holds for every sampler of seconds: bounds, scale, uniformity, state."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from caption_tracks import are_uniform, caption_tracks
from narravid.types import Span
from narravid.video.sampling import (
    aligned_start_range,
    clip_start_range,
    draw_aligned_start,
    draw_clip_start,
    draw_windows,
    evaluation_windows,
    sliding_windows,
    uniform_windows,
    whole_second_span,
    widen_span,
)

durations = st.floats(0.04, 7200)
clip_lengths = st.tuples(
    st.sampled_from([1, 8, 16, 32, 64]), st.sampled_from([5, 10, 16, 24, 29.97, 30, 60])
).map(lambda clip: clip[0] / clip[1])
powers_of_two = st.sampled_from([0.25, 0.5, 2.0, 8.0])
seeds = st.integers(0, 1000)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- windows spread over a whole video


@given(duration=durations, clip_seconds=clip_lengths, num_windows=st.integers(1, 30))
def test_uniform_windows_reach_from_the_start_to_the_end(duration, clip_seconds, num_windows):
    windows = uniform_windows(duration, clip_seconds, num_windows=num_windows)
    assert len(windows) == num_windows
    assert windows[0].start_seconds == 0
    for window in windows:
        assert 0 <= window.start_seconds <= window.end_seconds <= duration
        assert window.duration_seconds == pytest.approx(min(clip_seconds, duration), abs=1e-9)
    if num_windows > 1:
        assert windows[-1].end_seconds == pytest.approx(duration, abs=1e-9)
        gap = max(0.0, duration - clip_seconds) / (num_windows - 1)
        for earlier, later in itertools.pairwise(windows):
            assert later.start_seconds - earlier.start_seconds == pytest.approx(gap, abs=1e-9)


def test_uniform_windows_by_example():
    assert uniform_windows(10.0, 4.0, num_windows=2) == [Span(0.0, 4.0), Span(6.0, 10.0)]
    assert uniform_windows(10.0, 4.0, num_windows=1) == [Span(0.0, 4.0)]
    assert uniform_windows(3.0, 4.0, num_windows=2) == [Span(0.0, 3.0)] * 2


# ---------------------------------------------------------------- windows drawn


@given(duration=durations, clip_seconds=clip_lengths, num_windows=st.integers(1, 8), seed=seeds)
def test_drawn_windows_lie_inside_and_take_one_number_each(duration, clip_seconds, num_windows, seed):
    generator, again, counted = (seeded(seed) for _ in range(3))
    windows = draw_windows(duration, clip_seconds, num_windows=num_windows, generator=generator)
    assert windows == draw_windows(duration, clip_seconds, num_windows=num_windows, generator=again)
    shares = torch.rand(num_windows, generator=counted, dtype=torch.float64).tolist()
    assert torch.equal(generator.get_state(), counted.get_state())
    for window, share in zip(windows, shares, strict=True):
        assert window.start_seconds == max(0.0, duration - clip_seconds) * share
        assert window.end_seconds <= duration
        assert window.duration_seconds == pytest.approx(min(clip_seconds, duration), abs=1e-9)


def test_windows_are_drawn_uniformly_and_independently(generator):
    windows = draw_windows(104.0, 4.0, num_windows=4000, generator=generator)
    eighths = [int(window.start_seconds / 12.5) for window in windows]
    assert are_uniform(eighths, range(8))
    pairs = list(zip(eighths[::2], eighths[1::2], strict=True))
    assert are_uniform(pairs, itertools.product(range(8), repeat=2))


# ---------------------------------------------------------------- what holds for all


@given(duration=durations, clip_seconds=clip_lengths, factor=powers_of_two, seed=seeds)
def test_a_video_in_slow_motion_has_the_same_windows_slowed(duration, clip_seconds, factor, seed):
    slow, slow_clip = duration * factor, clip_seconds * factor

    def slowed(windows: list[Span]) -> list[Span]:
        return [Span(window.start_seconds * factor, window.end_seconds * factor) for window in windows]

    uniform = uniform_windows(duration, clip_seconds, num_windows=7)
    assert uniform_windows(slow, slow_clip, num_windows=7) == slowed(uniform)
    drawn = draw_windows(duration, clip_seconds, num_windows=3, generator=seeded(seed))
    assert draw_windows(slow, slow_clip, num_windows=3, generator=seeded(seed)) == slowed(drawn)
    span = Span(duration, duration + clip_seconds)
    assert [widen_span(Span(slow, slow + slow_clip), 5.0 * factor)] == slowed([widen_span(span, 5.0)])


@given(duration=st.floats(0.1, 60), clip_seconds=clip_lengths, factor=powers_of_two)
def test_sliding_windows_scale(duration, clip_seconds, factor):
    windows = sliding_windows(duration, clip_seconds, stride_seconds=clip_seconds / 2)
    slow = sliding_windows(duration * factor, clip_seconds * factor, stride_seconds=clip_seconds * factor / 2)
    # Places closer than a millionth of a second count as one, at either speed: one window more or fewer.
    assert abs(len(slow) - len(windows)) <= 1
    for window, slowed in zip(windows[:-1], slow[:-1], strict=False):
        assert slowed == Span(window.start_seconds * factor, window.end_seconds * factor)


@given(
    span_start=st.floats(0, 3600),
    seconds=st.floats(0, 600),
    clip_seconds=clip_lengths,
    num=st.integers(1, 12),
)
def test_evaluation_windows_stay_in_a_span_that_holds_them(span_start, seconds, clip_seconds, num):
    span = Span(span_start, span_start + seconds)
    starts = evaluation_windows(span, clip_seconds, num)
    assert starts == sorted(starts)
    assert all(start >= span_start for start in starts)
    if span.duration_seconds >= clip_seconds + 0.4:
        assert all(start + clip_seconds <= span.end_seconds - 0.4 + 1e-9 for start in starts)
    else:
        assert starts == [span_start] * num


@given(
    track=caption_tracks(min_size=1),
    clip_seconds=clip_lengths,
    min_seconds=st.sampled_from([0.0, 4.0, 5.0]),
    seed=seeds,
)
def test_clips_of_any_captions_start_in_their_whole_seconds(track, clip_seconds, min_seconds, seed):
    for caption in track:
        wide = widen_span(caption.span, min_seconds)
        span = whole_second_span(wide)
        assert wide.start_seconds <= caption.span.start_seconds
        assert wide.end_seconds >= caption.span.end_seconds - 1e-9
        generator, again, counted = (seeded(seed) for _ in range(3))
        start = draw_clip_start(span, clip_seconds, generator=generator)
        lowest, highest = clip_start_range(span, clip_seconds)
        assert span.start_seconds == lowest <= start <= highest
        # A clip longer than its caption starts with it and passes its end; nothing else does.
        assert start == lowest or start + clip_seconds <= span.end_seconds + 1e-9
        assert start == draw_clip_start(span, clip_seconds, generator=again)
        torch.randint(2, (), generator=counted)
        assert torch.equal(generator.get_state(), counted.get_state())


@given(timestamp=st.floats(0, 2000), clip_seconds=clip_lengths, duration=st.floats(0.1, 2000), seed=seeds)
def test_clips_of_aligned_sentences_start_in_the_video_or_are_refused(
    timestamp, clip_seconds, duration, seed
):
    lowest, highest = aligned_start_range(timestamp, clip_seconds, duration_seconds=duration)
    generator, counted = seeded(seed), seeded(seed)
    if highest < lowest:
        # Refused only where the sentence lies behind the video by nearly a clip or more.
        assert timestamp > duration
        with pytest.raises(ValueError, match="leave this sentence out$"):
            draw_aligned_start(timestamp, clip_seconds, duration_seconds=duration, generator=generator)
        assert torch.equal(generator.get_state(), counted.get_state())
        return
    start = draw_aligned_start(timestamp, clip_seconds, duration_seconds=duration, generator=generator)
    assert lowest <= start <= highest
    assert 0 <= start <= duration
    assert math.floor(timestamp - clip_seconds) <= start <= math.ceil(timestamp)
    torch.randint(2, (), generator=counted)
    assert torch.equal(generator.get_state(), counted.get_state())


def test_whole_seconds_are_drawn_uniformly_from_both_kinds_of_range(generator):
    clips = [draw_clip_start(Span(3.0, 20.0), 3.2, generator=generator) for _ in range(2800)]
    assert are_uniform(clips, range(3, 17))
    aligned = [draw_aligned_start(41.5, 6.4, duration_seconds=40.9, generator=generator) for _ in range(2000)]
    assert are_uniform(aligned, range(35, 41))


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_lengths_must_be_positive(value):
    calls = {
        "duration_seconds": (value, 4.0),
        "clip_seconds": (10.0, value),
    }
    for name, (duration, clip_seconds) in calls.items():
        with pytest.raises(ValueError, match=rf"^{name} must be positive, got {value}$"):
            uniform_windows(duration, clip_seconds, num_windows=2)
        with pytest.raises(ValueError, match=rf"^{name} must be positive, got {value}$"):
            draw_windows(duration, clip_seconds, num_windows=2, generator=torch.Generator())


@pytest.mark.parametrize("num_windows", [0, -2])
def test_there_must_be_a_window(num_windows):
    with pytest.raises(ValueError, match=rf"^num_windows must be at least 1, got {num_windows}$"):
        uniform_windows(10.0, 4.0, num_windows=num_windows)
    with pytest.raises(ValueError, match=rf"^num_windows must be at least 1, got {num_windows}$"):
        draw_windows(10.0, 4.0, num_windows=num_windows, generator=torch.Generator())
