"""Which videos are long and short enough."""

from __future__ import annotations

import doctest
import math

import pytest

from narravid.video import durations
from narravid.video.durations import ALIGNED_CLIP_DURATIONS, ALIGNMENT_DURATIONS, DurationLimits


def test_doctests_hold():
    results = doctest.testmod(durations)
    assert results.attempted >= 1
    assert results.failed == 0


@pytest.mark.parametrize(("limits", "longest"), [(ALIGNMENT_DURATIONS, 1000), (ALIGNED_CLIP_DURATIONS, 2000)])
def test_both_limits_are_left_out(limits, longest):
    taken = [
        seconds in limits for seconds in (0.0, 64.0, 65.0, longest - 1.0, float(longest), math.inf, math.nan)
    ]
    assert taken == [False, False, True, True, False, False, False]


def test_limits_may_be_open_above():
    assert 1e9 in DurationLimits(0.0, math.inf)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_the_lower_limit_is_a_length(value):
    with pytest.raises(ValueError, match=f"^longer_than_seconds must be at least 0, got {value}$"):
        DurationLimits(value, 10.0)


@pytest.mark.parametrize("value", [5.0, 4.0, math.nan])
def test_something_lies_between_the_limits(value):
    message = rf"^shorter_than_seconds must exceed longer_than_seconds \(5.0\), got {value}$"
    with pytest.raises(ValueError, match=message):
        DurationLimits(5.0, value)
