"""Frames as pure functions: bounds, order, exact places, repeats of short videos, and every refusal."""

from __future__ import annotations

import doctest
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from caption_tracks import are_uniform
from narravid.video import frame_sampling
from narravid.video.frame_sampling import (
    crop_frames,
    crop_start_frame,
    crop_views,
    draw_crop_start_frame,
    video_frames,
    window_start_frames,
)
from narravid.video.resize import short_side_size, uniform_crop_offset

frame_counts = st.integers(1, 5000)
clip_lengths = st.floats(1, 300)


def test_doctests_hold():
    results = doctest.testmod(frame_sampling)
    assert results.attempted >= 5
    assert results.failed == 0


# ---------------------------------------------------------------- windows of a linear probe


@given(num_video_frames=frame_counts, clip_frames=st.integers(1, 64), num_windows=st.integers(1, 20))
def test_windows_run_from_the_first_frame_to_the_last_place(num_video_frames, clip_frames, num_windows):
    starts = window_start_frames(num_video_frames, clip_frames, num_windows)
    room = max(0, num_video_frames - clip_frames)
    assert len(starts) == num_windows
    assert starts[0] == 0
    assert all(isinstance(start, int) for start in starts)
    if num_windows > 1:
        assert starts[-1] == room
        gap = room / (num_windows - 1)
        assert all(abs(start - number * gap) < 1 for number, start in enumerate(starts))
        assert all(start <= number * gap + 1e-9 for number, start in enumerate(starts))


def test_windows_of_a_short_video_all_start_with_it():
    assert window_start_frames(31, 32, 3) == [0, 0, 0]
    assert window_start_frames(33, 32, 3) == [0, 0, 1]
    assert window_start_frames(100, 32, 1) == [0]


# ---------------------------------------------------------------- temporal crops


@given(num_video_frames=frame_counts, clip_frames=clip_lengths, num_crops=st.integers(1, 20))
def test_crops_are_equally_spaced_and_fit(num_video_frames, clip_frames, num_crops):
    starts = [
        crop_start_frame(num_video_frames, clip_frames, crop_number=number, num_crops=num_crops)
        for number in range(num_crops)
    ]
    room = max(0.0, num_video_frames - clip_frames)
    assert starts == pytest.approx([room * number / num_crops for number in range(num_crops)])
    assert all(start + clip_frames <= max(num_video_frames, clip_frames) + 1e-6 for start in starts)


@given(num_video_frames=frame_counts, clip_frames=clip_lengths, seed=st.integers(0, 1000))
def test_drawn_crops_fit(num_video_frames, clip_frames, seed):
    start = draw_crop_start_frame(
        num_video_frames, clip_frames, generator=torch.Generator().manual_seed(seed)
    )
    assert 0 <= start <= max(0.0, num_video_frames - clip_frames)


def test_crops_are_drawn_uniformly(generator):
    starts = [draw_crop_start_frame(132, 32, generator=generator) for _ in range(2000)]
    assert are_uniform([int(start / 12.5) for start in starts], range(8))


def test_a_draw_takes_one_number_of_the_generator_whatever_the_room(generator):
    before = generator.get_state()
    others = [torch.Generator().set_state(before) for _ in range(2)]
    share = float(torch.rand((), generator=others[0], dtype=torch.float64))
    assert draw_crop_start_frame(132, 32, generator=generator) == 100 * share
    assert draw_crop_start_frame(10, 32, generator=others[1]) == 0
    assert not torch.equal(generator.get_state(), before)
    assert torch.equal(generator.get_state(), others[1].get_state())


@given(
    start_frame=st.floats(0, 5000),
    clip_frames=clip_lengths,
    num_frames=st.integers(1, 40),
    num_video_frames=frame_counts,
)
def test_frames_of_a_crop_ascend_inside_the_video(start_frame, clip_frames, num_frames, num_video_frames):
    frames = crop_frames(start_frame, clip_frames, num_frames=num_frames, num_video_frames=num_video_frames)
    assert len(frames) == num_frames
    assert all(isinstance(frame, int) and 0 <= frame < num_video_frames for frame in frames)
    assert all(earlier <= later for earlier, later in itertools.pairwise(frames))
    assert frames[0] == min(math.floor(start_frame), num_video_frames - 1)
    if num_frames > 1:
        last = start_frame + clip_frames - 1
        assert frames[-1] in {min(math.floor(last + rest), num_video_frames - 1) for rest in (-1e-9, 0, 1e-9)}


@given(start=st.integers(0, 300), num_frames=st.sampled_from([8, 16]), stride=st.sampled_from([2, 4]))
def test_frames_of_a_crop_are_pytorchs_linspace(start, num_frames, stride):
    clip_frames = num_frames * stride
    expected = torch.linspace(start, start + clip_frames - 1, num_frames).clamp(0, 299).long()
    found = crop_frames(float(start), clip_frames, num_frames=num_frames, num_video_frames=300)
    assert found == expected.tolist()


@given(
    num_video_frames=frame_counts,
    fps=st.sampled_from([5.0, 12.5, 15.0, 23.976, 25.0, 29.97, 30.0, 50.0, 60.0, 120.0]),
    num_frames=st.sampled_from([8, 16]),
    seed=st.integers(0, 1000),
)
def test_a_training_clip_at_any_frame_rate_lasts_as_long_as_the_rate_says(
    num_video_frames, fps, num_frames, seed
):
    clip_frames = num_frames * 4 * fps / 30
    drawn, again = (
        draw_crop_start_frame(num_video_frames, clip_frames, generator=torch.Generator().manual_seed(seed))
        for _ in range(2)
    )
    assert drawn == again
    frames = crop_frames(drawn, clip_frames, num_frames=num_frames, num_video_frames=num_video_frames)
    if clip_frames <= num_video_frames:
        # No frame is repeated for want of others: the last lies where the clip ends, clip - 1 later.
        assert abs(frames[-1] - frames[0] - (clip_frames - 1)) <= 1 + 1e-6
    else:
        assert frames[0] == 0
        assert frames[-1] == min(math.floor(clip_frames - 1), num_video_frames - 1)


@given(start=st.floats(0, 300), num_frames=st.sampled_from([8, 16]), fps=st.sampled_from([15.0, 25.0, 30.0]))
def test_a_start_moved_up_to_a_frame_moves_every_frame_by_at_most_one(start, num_frames, fps):
    clip_frames = num_frames * 4 * fps / 30
    exact, moved = (
        crop_frames(float(place), clip_frames, num_frames=num_frames, num_video_frames=250)
        for place in (start, math.ceil(start))
    )
    assert all(later - earlier in (0, 1) for earlier, later in zip(exact, moved, strict=True))


def test_the_views_of_a_test_are_ten_times_three_by_default():
    views = crop_views()
    assert views == sorted(itertools.product(range(10), range(3)))
    assert crop_views(1, 1) == [(0, 0)]


@given(
    num_video_frames=frame_counts,
    size=st.tuples(st.integers(16, 2000), st.integers(16, 2000)),
    crop_pixels=st.sampled_from([112, 224]),
)
def test_every_view_lies_inside_the_video(num_video_frames, size, crop_pixels):
    scaled = short_side_size(*size, size_pixels=crop_pixels)
    for number, position in crop_views():
        start = crop_start_frame(num_video_frames, 64, crop_number=number, num_crops=10)
        frames = crop_frames(start, 64, num_frames=16, num_video_frames=num_video_frames)
        assert 0 <= frames[0] <= frames[-1] < num_video_frames
        corner = uniform_crop_offset(scaled, crop_pixels, position=position)
        assert all(0 <= place <= side - crop_pixels for place, side in zip(corner, scaled, strict=True))


def test_one_frame_is_the_first():
    assert crop_frames(3.7, 32, num_frames=1, num_video_frames=100) == [3]
    assert crop_frames(3.7, 1, num_frames=2, num_video_frames=100) == [3, 3]
    assert crop_frames(0.0, 9, num_frames=2, num_video_frames=100) == [0, 8]
    assert crop_frames(98.5, 1, num_frames=2, num_video_frames=98) == [97, 97]


# ---------------------------------------------------------------- whole videos


@given(num_video_frames=frame_counts, num_frames=st.integers(1, 64))
def test_even_frames_cover_the_whole_video(num_video_frames, num_frames):
    frames = video_frames(num_video_frames, num_frames)
    last = num_video_frames - 1
    assert len(frames) == num_frames
    assert frames[0] == 0
    if num_frames == 1:
        return
    assert frames[-1] == last
    exact = np.linspace(0, last, num_frames)
    assert np.abs(np.array(frames) - exact).max() <= 0.5 + 1e-9
    assert all(earlier <= later for earlier, later in itertools.pairwise(frames))
    if num_video_frames >= num_frames:
        assert len(set(frames)) == num_frames
    else:
        assert set(frames) == set(range(num_video_frames))


@given(num_video_frames=frame_counts, num_frames=st.integers(1, 64))
def test_published_frames_are_the_first_at_a_whole_step(num_video_frames, num_frames):
    if num_video_frames < num_frames:
        message = (
            f"^the published rule cannot take {num_frames} frames of a video of {num_video_frames}; "
            "sampling='even' repeats frames$"
        )
        with pytest.raises(ValueError, match=message):
            video_frames(num_video_frames, num_frames, sampling="published")
        return
    expected = list(range(num_video_frames))[:: num_video_frames // num_frames][:num_frames]
    assert video_frames(num_video_frames, num_frames, sampling="published") == expected


def test_even_frames_by_example():
    assert video_frames(5, 5) == [0, 1, 2, 3, 4]
    assert video_frames(3, 5) == [0, 1, 1, 2, 2]
    assert video_frames(1, 3) == [0, 0, 0]
    assert video_frames(9, 4) == [0, 3, 5, 8]
    assert video_frames(10, 1) == [0]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("value", [0, -3])
def test_counts_must_be_at_least_one(value):
    calls = {
        "num_video_frames": [
            lambda: window_start_frames(value, 8, 2),
            lambda: crop_start_frame(value, 8, crop_number=0, num_crops=2),
            lambda: draw_crop_start_frame(value, 8, generator=torch.Generator()),
            lambda: crop_frames(0.0, 8, num_frames=2, num_video_frames=value),
            lambda: video_frames(value, 8),
        ],
        "clip_frames": [
            lambda: window_start_frames(10, value, 2),
            lambda: crop_start_frame(10, value, crop_number=0, num_crops=2),
            lambda: draw_crop_start_frame(10, value, generator=torch.Generator()),
            lambda: crop_frames(0.0, value, num_frames=2, num_video_frames=10),
        ],
        "num_windows": [lambda: window_start_frames(10, 8, value)],
        "num_crops": [
            lambda: crop_start_frame(10, 8, crop_number=0, num_crops=value),
            lambda: crop_views(value),
        ],
        "num_positions": [lambda: crop_views(10, value)],
        "num_frames": [
            lambda: crop_frames(0.0, 8, num_frames=value, num_video_frames=10),
            lambda: video_frames(10, value),
        ],
    }
    for name, functions in calls.items():
        for function in functions:
            with pytest.raises(ValueError, match=rf"^{name} must be at least 1, got {value}$"):
                function()


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.5])
def test_a_length_in_frames_must_be_a_number(value):
    with pytest.raises(ValueError, match=rf"^clip_frames must be at least 1, got {value}$"):
        crop_start_frame(10, value, crop_number=0, num_crops=2)


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.5])
def test_a_start_must_not_be_negative(value):
    with pytest.raises(ValueError, match=rf"^start_frame must be at least 0, got {value}$"):
        crop_frames(value, 8, num_frames=2, num_video_frames=10)


@pytest.mark.parametrize("number", [-1, 3])
def test_there_must_be_such_a_crop(number):
    with pytest.raises(ValueError, match=rf"^crop_number must be 0 to 2, got {number}$"):
        crop_start_frame(10, 8, crop_number=number, num_crops=3)


def test_the_rule_must_be_known():
    with pytest.raises(ValueError, match="^sampling must be 'even' or 'published', got 'odd'$"):
        video_frames(10, 2, sampling="odd")
