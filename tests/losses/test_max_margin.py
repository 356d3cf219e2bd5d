"""Max-margin ranking: a naive loop, exact gradients, the weights of negatives and the edges."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from narravid.losses import MaxMarginRankingLoss


def draw(size, *, seed=0, dtype=torch.float64):
    return torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def naive(similarity, *, margin, clips_per_video, rate, weighted):
    """Pair by pair; weights from the shares they stand for, not from the formula."""
    size = len(similarity)
    num_videos = size // clips_per_video
    total = 0.0
    for i in range(size):
        for j in range(size):
            entry, row, column = (float(similarity[a, b]) for a, b in ((i, j), (i, i), (j, j)))
            cost = max(0.0, margin + entry - row) + max(0.0, margin + entry - column)
            same = i // clips_per_video == j // clips_per_video
            weight = 1.0
            if weighted and clips_per_video > 1:
                # Of num_videos² pairs of videos, num_videos are pairs of a video with itself.
                if same:
                    weight = rate * num_videos**2 / num_videos
                else:
                    weight = (1 - rate) * num_videos**2 / (num_videos**2 - num_videos)
            total += weight * cost
    return total / size**2


@given(
    num_videos=st.integers(1, 4),
    clips_per_video=st.integers(1, 3),
    rate=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    weighted=st.booleans(),
    margin=st.sampled_from([0.0, 0.1, 2.0]),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=80)
def test_equals_the_naive_loop(num_videos, clips_per_video, rate, weighted, margin, seed):
    similarity = draw(num_videos * clips_per_video, seed=seed)
    criterion = MaxMarginRankingLoss(
        margin=margin,
        clips_per_video=clips_per_video,
        hard_negative_rate=rate,
        weight_negatives=weighted,
    )
    expected = naive(similarity, margin=margin, clips_per_video=clips_per_video, rate=rate, weighted=weighted)
    assert float(criterion(similarity)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("clips_per_video", [1, 2])
def test_gradients_are_exact(clips_per_video):
    # No hinge lies within the step of the check at these draws.
    criterion = MaxMarginRankingLoss(clips_per_video=clips_per_video, hard_negative_rate=0.3)
    assert torch.autograd.gradcheck(criterion, draw(6).requires_grad_())


@given(num_videos=st.integers(2, 9), rate=st.floats(0, 1))
def test_intra_video_pairs_have_their_share_of_the_weight(num_videos, rate):
    weights = MaxMarginRankingLoss(clips_per_video=3, hard_negative_rate=rate).video_weights(num_videos)
    assert float(weights.mean()) == pytest.approx(1)
    assert float(weights.diagonal().sum() / weights.sum()) == pytest.approx(rate)


def test_a_batch_of_one_video_has_hard_negatives_only():
    similarity = draw(3)
    plain = MaxMarginRankingLoss()(similarity)
    weighted = MaxMarginRankingLoss(clips_per_video=3, hard_negative_rate=0.3)(similarity)
    torch.testing.assert_close(weighted, 0.3 * plain)


def test_weights_follow_the_batch_that_comes():
    criterion = MaxMarginRankingLoss(clips_per_video=2)
    for num_videos in (4, 3, 1):
        similarity = draw(2 * num_videos)
        expected = naive(similarity, margin=0.1, clips_per_video=2, rate=0.5, weighted=True)
        assert float(criterion(similarity)) == pytest.approx(expected)


def test_weighting_needs_several_clips_per_video():
    similarity = draw(4)
    weighted, plain = (MaxMarginRankingLoss(weight_negatives=choice) for choice in (True, False))
    assert torch.equal(weighted(similarity), plain(similarity))


def test_negatives_are_weighted_by_default():
    similarity = draw(4)
    default = MaxMarginRankingLoss(clips_per_video=2)(similarity)
    assert float(default) == pytest.approx(
        naive(similarity, margin=0.1, clips_per_video=2, rate=0.5, weighted=True)
    )


def test_a_perfect_model_pays_the_margin_on_the_diagonal():
    assert float(MaxMarginRankingLoss(margin=0.1)(5 * torch.eye(4))) == pytest.approx(2 * 0.1 / 4)


def test_order_of_videos_and_direction_do_not_matter():
    criterion = MaxMarginRankingLoss(clips_per_video=2, hard_negative_rate=0.3)
    similarity = draw(6)
    order = torch.tensor([4, 5, 0, 1, 3, 2])
    torch.testing.assert_close(criterion(similarity[order][:, order]), criterion(similarity))
    torch.testing.assert_close(criterion(similarity.T), criterion(similarity))


def test_adding_a_constant_changes_nothing_and_scaling_scales_with_the_margin():
    similarity = draw(5)
    loss = MaxMarginRankingLoss(margin=0.2)(similarity)
    torch.testing.assert_close(MaxMarginRankingLoss(margin=0.2)(similarity + 7), loss)
    torch.testing.assert_close(MaxMarginRankingLoss(margin=0.6)(3 * similarity), 3 * loss)


def test_a_thousand_awkward_batches_give_finite_losses_and_gradients():
    for seed in range(1000):
        generator = torch.Generator().manual_seed(seed)
        clips_per_video = 1 + seed % 3
        size = clips_per_video * (1 + seed // 3 % 3)
        similarity = torch.randn(size, size, generator=generator)
        scale = (1.0, 0.0, 1e-30, 1e4)[seed % 4]
        similarity = (scale * similarity).clamp(-1e4, 1e4)
        if seed % 5 == 0:
            similarity = similarity.sign() * 1e4
        similarity.requires_grad_()
        loss = MaxMarginRankingLoss(clips_per_video=clips_per_video)(similarity)
        (gradient,) = torch.autograd.grad(loss, similarity)
        assert bool(torch.isfinite(loss))
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_float32(dtype):
    similarity = draw(6).to(dtype)
    criterion = MaxMarginRankingLoss(clips_per_video=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = criterion(similarity)
    assert result.dtype == torch.float32
    assert torch.equal(result, criterion(similarity.float()))
    assert criterion(similarity.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("settings_given", "message"),
    [
        ({"margin": -0.1}, "margin must be a number of at least 0, got -0.1"),
        ({"margin": math.nan}, "margin must be a number of at least 0, got nan"),
        ({"margin": math.inf}, "margin must be a number of at least 0, got inf"),
        ({"clips_per_video": 0}, "clips_per_video must be at least 1, got 0"),
        ({"hard_negative_rate": -0.1}, r"hard_negative_rate must lie in \[0, 1\], got -0.1"),
        ({"hard_negative_rate": 1.1}, r"hard_negative_rate must lie in \[0, 1\], got 1.1"),
        ({"hard_negative_rate": math.nan}, r"hard_negative_rate must lie in \[0, 1\], got nan"),
    ],
)
def test_wrong_arguments_are_named(settings_given, message):
    with pytest.raises(ValueError, match=message):
        MaxMarginRankingLoss(**settings_given)


@pytest.mark.parametrize("shape", [(0, 0), (2, 3), (4,), (1, 2, 2)])
def test_a_matrix_that_is_not_square_is_named(shape):
    with pytest.raises(ValueError, match=r"similarity must be \(n, n\) with n >= 1, got"):
        MaxMarginRankingLoss()(torch.zeros(shape))


def test_half_a_video_is_named():
    with pytest.raises(ValueError, match="a batch of 5 clips does not consist of whole videos of clips_per"):
        MaxMarginRankingLoss(clips_per_video=2)(torch.zeros(5, 5))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1.1e4])
def test_similarities_out_of_range_are_refused(value):
    similarity = torch.zeros(2, 2)
    similarity[0, 1] = value
    with pytest.raises(ValueError, match="similarity must lie within ±10000"):
        MaxMarginRankingLoss()(similarity)
