"""One window for each second: covers it, stays inside the video."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.errors import DecodeError
from narravid.evaluation import seconds
from narravid.evaluation.seconds import count_seconds, second_starts, second_windows
from narravid.types import ClipSpec, VideoInfo


def test_doctests_hold():
    results = doctest.testmod(seconds)
    assert results.attempted >= 3
    assert results.failed == 0


@given(duration=st.floats(0.05, 300.0), clip=st.floats(0.2, 10.0))
def test_every_second_has_a_window_that_meets_it_inside_the_video(duration, clip):
    starts = second_starts(duration, clip)
    assert len(starts) == count_seconds(duration)
    assert list(starts) == sorted(starts)
    assert starts[0] >= 0.0
    assert starts[-1] <= max(0.0, duration - clip) + 1e-9
    for second, start in enumerate(starts):
        if 0.0 < start < duration - clip:  # not moved: its middle is that of the second
            assert start + clip / 2 == pytest.approx(second + 0.5)
        assert start <= second + 1
        assert start + clip >= min(second + 0.5, duration) - 1e-6


def test_features_of_a_second_begin_with_it():
    spec = ClipSpec(num_frames=16, fps=16.0, size_pixels=8)
    plan = second_windows(spec)(VideoInfo("v.mp4", 4.0, 25.0, 8, 8, None, "h264"), None)
    assert plan.starts == (0.0, 1.0, 2.0, 3.0)
    assert plan.spec == spec


def test_a_random_crop_becomes_that_of_the_centre():
    spec = ClipSpec(num_frames=4, fps=4.0, size_pixels=8, crop="random")
    assert second_windows(spec)(VideoInfo("v", 2.0, 25.0, 8, 8, None, "h264"), None).spec.crop == "center"


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan"), float("inf")])
def test_a_video_without_length_is_refused(duration):
    with pytest.raises(ValueError, match="duration_seconds must be positive"):
        second_starts(duration, 1.0)


def test_a_window_without_length_is_refused():
    with pytest.raises(ValueError, match="clip_seconds must be positive"):
        second_starts(1.0, 0.0)


def test_a_file_of_no_length_is_left_out():
    rule = second_windows(ClipSpec(num_frames=4, fps=4.0, size_pixels=8))
    with pytest.raises(DecodeError, match="its length is 0 s"):
        rule(VideoInfo("v.mp4", 0.0, 25.0, 8, 8, None, "h264"), None)
