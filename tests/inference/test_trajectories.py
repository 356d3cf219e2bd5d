"""Trajectories: pixels for the models, and scores of groups against loops, with equal and single scores."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narravid.inference import trajectories
from narravid.inference.trajectories import group_scores, prepare_trajectory

group_sizes = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def test_doctests_hold():
    results = doctest.testmod(trajectories)
    assert results.attempted >= 3
    assert results.failed == 0


# ---------------------------------------------------------------- pixels


def frames(num_frames: int = 6, height: int = 16, width: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randint(0, 256, (num_frames, height, width, 3), dtype=torch.uint8, generator=generator)


def test_the_default_covers_the_video_and_keeps_the_aspect():
    video = torch.zeros(11, 16, 32, 3, dtype=torch.uint8)
    video += torch.arange(0, 110, 10, dtype=torch.uint8).view(11, 1, 1, 1)  # each frame one grey
    video[:, :, :6] = 255  # a white edge that the middle square cuts off
    clip = prepare_trajectory(video, 5, size_pixels=12)
    assert clip.shape == (1, 3, 5, 12, 12)
    assert clip.dtype == torch.float32
    grey = torch.tensor([0, 30, 50, 80, 100]) / 255
    torch.testing.assert_close(clip, grey.view(1, 1, 5, 1, 1).expand(1, 3, 5, 12, 12))


def test_a_video_shorter_than_the_clip_repeats_frames():
    clip = prepare_trajectory(frames(2), 4, size_pixels=8)
    first, again, last, last_again = clip.unbind(dim=2)
    assert torch.equal(first, again)
    assert torch.equal(last, last_again)
    assert not torch.equal(first, last)


@pytest.mark.parametrize(
    ("resize_to", "size"),
    [
        ("center_square", (8, 8)),
        ("published_half", (8, 12)),
        ("published_square", (8, 8)),
        ("published_square_unclamped", (8, 8)),
    ],
)
def test_sizes_and_ranges(resize_to, size):
    extremes = (frames() > 127).to(torch.uint8) * 255
    clip = prepare_trajectory(extremes, 4, resize_to=resize_to, size_pixels=8)
    assert clip.shape == (1, 3, 4, *size)
    inside = clip.min() >= 0 and clip.max() <= 1
    assert inside == (resize_to != "published_square_unclamped")


def test_the_unclamped_square_differs_from_the_clamped_one_in_the_overshoot_alone():
    extremes = (frames() > 127).to(torch.uint8) * 255
    free = prepare_trajectory(extremes, 4, resize_to="published_square_unclamped", size_pixels=20)
    held = prepare_trajectory(extremes, 4, resize_to="published_square", size_pixels=20)
    assert torch.equal(free.clamp(0, 1), held)
    assert not torch.equal(free, held)


def test_colours_stay_in_their_channels():
    red = torch.zeros(3, 8, 8, 3, dtype=torch.uint8)
    red[..., 0] = 255
    clip = prepare_trajectory(red, 2, size_pixels=8)
    assert clip[0, 0].min() == 1
    assert clip[0, 1:].max() == 0


@pytest.mark.parametrize(
    "video",
    [
        torch.zeros(2, 8, 8, 3),
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(0, 8, 8, 3, dtype=torch.uint8),
        torch.zeros(8, 8, 3, dtype=torch.uint8),
    ],
)
def test_frames_are_bytes_with_colours_last(video):
    with pytest.raises(ValueError, match=r"^frames must be \(L, H, W, 3\) uint8 and not empty, got"):
        prepare_trajectory(video, 2)


def test_unknown_and_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="^resize_to is unknown: 'half'$"):
        prepare_trajectory(frames(), 2, resize_to="half")
    with pytest.raises(ValueError, match="halving needs sides that are multiples of 4"):
        prepare_trajectory(frames(height=18), 2, resize_to="published_half")
    with pytest.raises(ValueError, match="the published rule cannot take 8 frames of a video of 6"):
        prepare_trajectory(frames(), 8, sampling="published")


# ---------------------------------------------------------------- groups


def scores_by_loops(similarity, video_sizes, prompt_sizes, normalise, ddof):
    table = similarity.numpy().copy()
    if normalise:
        for column in table.T:
            column -= column.mean()
            spread = column.std(ddof=ddof) if len(column) > 1 else 0.0
            column /= spread if spread > 0 else 1
    means = np.zeros((len(video_sizes), len(prompt_sizes)))
    stds = np.zeros_like(means)
    top = 0
    for i, height in enumerate(video_sizes):
        left = 0
        for j, width in enumerate(prompt_sizes):
            block = table[top : top + height, left : left + width]
            means[i, j] = block.mean()
            stds[i, j] = block.std(ddof=ddof) if block.size > 1 else 0.0
            left += width
        top += height
    return means, stds


@given(
    video_sizes=group_sizes,
    prompt_sizes=group_sizes,
    normalise=st.booleans(),
    sample=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_groups_are_those_of_a_loop(video_sizes, prompt_sizes, normalise, sample, seed):
    generator = torch.Generator().manual_seed(seed)
    similarity = torch.randn(sum(video_sizes), sum(prompt_sizes), generator=generator, dtype=torch.float64)
    before = similarity.clone()
    found = group_scores(
        similarity,
        video_sizes,
        prompt_sizes,
        normalise=normalise,
        deviation="sample" if sample else "population",
    )
    means, stds = scores_by_loops(similarity, video_sizes, prompt_sizes, normalise, int(sample))
    np.testing.assert_allclose(found.mean, means, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.std, stds, rtol=1e-9, atol=1e-12)
    assert torch.equal(similarity, before)


@pytest.mark.parametrize("deviation", ["population", "sample"])
def test_equal_scores_have_no_deviation(deviation):
    # Three times 0.1 has a mean that is not 0.1, so that a deviation computed from it is not 0.
    similarity = torch.tensor([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0]], dtype=torch.float64)
    plain = group_scores(similarity, (3,), (1, 1), deviation=deviation)
    assert plain.std[0, 0] == 0
    normalised = group_scores(similarity, (1, 2), (1, 1), normalise=True, deviation=deviation)
    assert normalised.mean[:, 0].tolist() == [0, 0]
    assert normalised.std[:, 0].tolist() == [0, 0]
    assert normalised.mean.isfinite().all()


@pytest.mark.parametrize("deviation", ["population", "sample"])
@pytest.mark.parametrize("normalise", [False, True])
def test_a_single_score_has_no_deviation(deviation, normalise):
    found = group_scores(torch.tensor([[0.7]]), (1,), (1,), normalise=normalise, deviation=deviation)
    assert found.std.tolist() == [[0]]
    assert found.mean.tolist() == [[pytest.approx(0.0 if normalise else 0.7)]]


@given(shift=st.floats(-100, 100), scale=st.floats(0.01, 100))
def test_normalised_groups_do_not_see_shift_and_scale_of_a_prompt(shift, scale):
    similarity = torch.randn(6, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = group_scores(similarity, (2, 4), (1, 2), normalise=True)
    moved = similarity.clone()
    moved[:, 1] = moved[:, 1] * scale + shift
    found = group_scores(moved, (2, 4), (1, 2), normalise=True)
    # 1e-8: a shift of 100 against a scale of 0.01 costs four of sixteen digits, squares twice that.
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.std, expected.std, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("sizes", [(), (2, 0, 1), (2, 2), (3, -1, 1)])
def test_group_sizes_must_fill_the_matrix(sizes):
    similarity = torch.zeros(3, 3)
    with pytest.raises(ValueError, match="^video_group_sizes must be at least 1 each with the sum 3, got"):
        group_scores(similarity, sizes, (3,))
    with pytest.raises(ValueError, match="^prompt_group_sizes must be at least 1 each with the sum 3, got"):
        group_scores(similarity, (3,), sizes)


def test_bad_matrices_are_refused():
    for similarity in (torch.zeros(3), torch.zeros(3, 3, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"^similarity must be \(V, P\) floating, got"):
            group_scores(similarity, (3,), (3,))
    similarity = torch.zeros(3, 3)
    similarity[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"^similarity\[1, 2\] must be finite, got nan$"):
        group_scores(similarity, (3,), (3,))
    with pytest.raises(ValueError, match="^deviation must be 'population' or 'sample', got 'n'$"):
        group_scores(torch.zeros(3, 3), (3,), (3,), deviation="n")
