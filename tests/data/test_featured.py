"""Pooling of extracted features: which steps a clip touches, normalisation, clips outside, refusals."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narravid.data.featured import FeatureTrack, clip_features, feature_window
from narravid.types import Span


def ramp(num_steps: int, rate: float) -> FeatureTrack:
    """Step n holds (n + 1, 1), so that the largest value of a pooled clip names its last step."""
    steps = torch.stack([torch.arange(1.0, num_steps + 1), torch.ones(num_steps)], dim=1)
    return FeatureTrack(steps, rate)


def test_a_clip_touches_the_steps_from_its_start_to_its_end():
    track = ramp(10, 1.5)
    assert track.steps_of(Span(0, 0)) == range(1)
    assert track.steps_of(Span(0.5, 1.3)) == range(2)
    assert track.steps_of(Span(2 / 3, 4 / 3)) == range(1, 3)
    assert track.steps_of(Span(1.4, 1.5)) == range(2, 3)
    assert track.steps_of(Span(5.0, 60.0)) == range(7, 10)
    assert track.steps_of(Span(-3.0, 0.1)) == range(1)


@given(
    start=st.floats(-5, 60),
    seconds=st.floats(0, 30),
    num_steps=st.integers(1, 50),
    rate=st.floats(0.2, 4),
)
def test_a_clip_touches_steps_of_the_track_alone(start, seconds, num_steps, rate):
    track, span = ramp(num_steps, rate), Span(start, start + seconds)
    touched = track.steps_of(span)
    first, last = math.floor(start * rate), math.floor(span.end_seconds * rate)
    assert list(touched) == [step for step in range(num_steps) if first <= step <= last]


@given(start=st.floats(-5, 60), seconds=st.floats(0, 30))
def test_features_are_the_largest_values_normalised(start, seconds):
    span = Span(start, start + seconds)
    generator = torch.Generator().manual_seed(1)
    tracks = [
        FeatureTrack(torch.randn(40, 3, generator=generator), 1.0),
        FeatureTrack(torch.randn(60, 4, generator=generator), 1.5),
    ]
    pooled = clip_features(tracks, [span])
    assert pooled.features.shape == (1, 7)
    assert pooled.features.dtype == torch.float32
    outside = 0
    for track, part in zip(tracks, pooled.features[0].split([3, 4]), strict=True):
        assert float(part.norm()) == pytest.approx(1)
        steps = [track.steps[step].tolist() for step in track.steps_of(span)]
        outside += not steps
        steps = steps or [track.steps[0 if span.end_seconds < 0 else -1].tolist()]
        largest = torch.tensor([max(column) for column in zip(*steps, strict=True)])
        torch.testing.assert_close(part, largest / largest.norm())
    assert pooled.num_outside == outside


def test_clips_outside_take_the_nearest_step_and_are_counted():
    tracks = [ramp(4, 1.0), ramp(9, 1.0)]
    spans = [Span(0, 2), Span(3.9, 4.2), Span(5, 6), Span(20, 30), Span(-9, -8)]
    pooled = clip_features(tracks, spans)
    assert pooled.num_outside == 1 + 2 + 2

    def unit(value):
        return (torch.tensor([value, 1.0]) / math.hypot(value, 1.0)).tolist()

    assert pooled.features[:, :2].tolist() == [pytest.approx(unit(value)) for value in (3, 4, 4, 4, 1)]
    assert pooled.features[:, 2:].tolist() == [pytest.approx(unit(value)) for value in (3, 5, 7, 9, 1)]
    zeros = clip_features(tracks, spans, when_outside="zeros")
    assert zeros.num_outside == 5
    assert torch.equal(zeros.features[:2], pooled.features[:2])
    assert zeros.features[2, :2].tolist() == [0, 0]
    assert torch.equal(zeros.features[2, 2:], pooled.features[2, 2:])
    assert not zeros.features[3:].any()


def test_half_precision_features_give_float32():
    track = FeatureTrack(torch.tensor([[300.0, 400.0]], dtype=torch.float16), 1.0)
    pooled = clip_features([track], [Span(0, 1)])
    assert pooled.features.dtype == torch.float32
    assert pooled.features.tolist() == [pytest.approx([0.6, 0.8])]


@pytest.mark.parametrize(
    "steps", [torch.zeros(3), torch.zeros(0, 2), torch.zeros(2, 0), torch.zeros(2, 2, dtype=torch.int64)]
)
def test_a_track_needs_floating_steps(steps):
    with pytest.raises(ValueError, match=r"^steps must be \(N, F\) floating and not empty, got"):
        FeatureTrack(steps, 1.0)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_track_needs_a_rate(rate):
    with pytest.raises(ValueError, match=f"^steps_per_second must be positive, got {rate}$"):
        FeatureTrack(torch.zeros(2, 2), rate)


def test_there_must_be_something_to_pool():
    for tracks, spans in (([], [Span(0, 1)]), ([ramp(3, 1.0)], [])):
        with pytest.raises(ValueError, match="^tracks and spans must not be empty"):
            clip_features(tracks, spans)
    with pytest.raises(ValueError, match="^when_outside must be 'nearest' or 'zeros', got 'last'$"):
        clip_features([ramp(3, 1.0)], [Span(0, 1)], when_outside="last")


# ---------------------------------------------------------------- long windows


@given(num_steps=st.integers(1, 90), start=st.floats(0, 89), wanted=st.integers(1, 80))
def test_a_window_repeats_the_last_step_behind_the_end_and_masks_it(num_steps, start, wanted):
    track = ramp(num_steps, 1.0)
    if math.floor(start) >= num_steps:
        with pytest.raises(ValueError, match=r"starts past the features, which end at"):
            feature_window(track, start, num_steps=wanted)
        return
    window = feature_window(track, start, num_steps=wanted)
    real = list(range(math.floor(start), min(math.floor(start) + wanted, num_steps)))
    num_padded = wanted - len(real)
    assert window.mask.tolist() == [True] * len(real) + [False] * num_padded
    assert window.steps[:, 0].tolist() == [step + 1 for step in real] + [float(num_steps)] * num_padded


def test_a_window_counts_in_steps_and_gives_float32():
    track = FeatureTrack(torch.arange(12, dtype=torch.float16).view(6, 2), 1.5)
    window = feature_window(track, 2.0, num_steps=4)
    assert window.steps.dtype == torch.float32
    assert window.steps.tolist() == [[6, 7], [8, 9], [10, 11], [10, 11]]
    assert window.mask.tolist() == [True, True, True, False]


@pytest.mark.parametrize("start", [-0.5, math.nan, math.inf])
def test_a_window_starts_in_the_video(start):
    with pytest.raises(ValueError, match=f"^start_seconds must be at least 0, got {start}$"):
        feature_window(ramp(3, 1.0), start, num_steps=2)


def test_a_window_has_steps():
    with pytest.raises(ValueError, match="^num_steps must be at least 1, got 0$"):
        feature_window(ramp(3, 1.0), 0.0, num_steps=0)
