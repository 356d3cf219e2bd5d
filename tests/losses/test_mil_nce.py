"""MIL-NCE: a naive loop, exact gradients, the invariances of the formula and its edges."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from losses.awkward_inputs import assert_finite, awkward_set
from narravid.losses import MILNCELoss

loss_of = MILNCELoss()


def draw(num_clips, num_candidates, dim=5, *, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    video = torch.randn(num_clips, dim, generator=generator, dtype=dtype)
    text = torch.randn(num_clips, num_candidates, dim, generator=generator, dtype=dtype)
    return video, text


def naive(video, text, mask=None):
    """The formula as the paper prints it: sums of exponentials, one clip after the other."""
    num_clips, num_candidates, _ = text.shape
    total = 0.0
    for i in range(num_clips):
        positive = denominator = 0.0
        for j in range(num_clips):
            for p in range(num_candidates):
                if mask is None or mask[j, p]:
                    row = math.exp(float(video[i] @ text[j, p]))
                    denominator += row
                    positive += row if i == j else 0.0
                if mask is None or mask[i, p]:
                    denominator += math.exp(float(video[j] @ text[i, p]))
        total += math.log(denominator) - math.log(positive)
    return total / num_clips


@given(num_clips=st.integers(1, 5), num_candidates=st.integers(1, 4), seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_equals_the_naive_loop(num_clips, num_candidates, seed):
    video, text = draw(num_clips, num_candidates, seed=seed)
    assert float(loss_of(video, text)) == pytest.approx(naive(video, text), rel=1e-10)


@given(num_clips=st.integers(1, 5), num_candidates=st.integers(1, 4), seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_equals_the_naive_loop_with_padded_candidates(num_clips, num_candidates, seed):
    video, text = draw(num_clips, num_candidates, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    mask = torch.rand(num_clips, num_candidates, generator=generator) < 0.5
    mask[:, 0] = True
    result = loss_of(video, text, candidate_mask=mask)
    assert float(result) == pytest.approx(naive(video, text, mask), rel=1e-10)


def test_gradients_are_exact():
    video, text = draw(3, 2)
    assert torch.autograd.gradcheck(loss_of, (video.requires_grad_(), text.requires_grad_()))


def test_gradients_are_exact_and_zero_at_padded_candidates():
    video, text = draw(3, 3)
    video.requires_grad_()
    text.requires_grad_()
    mask = torch.tensor([[True, False, True], [True, True, True], [False, False, True]])
    assert torch.autograd.gradcheck(lambda v, t: loss_of(v, t, candidate_mask=mask), (video, text))
    loss_of(video, text, candidate_mask=mask).backward()
    assert torch.all(text.grad[~mask] == 0)
    assert torch.all(text.grad[mask] != 0)


def test_a_full_mask_changes_nothing():
    video, text = draw(4, 3)
    mask = torch.ones(4, 3, dtype=torch.bool)
    assert torch.equal(loss_of(video, text, candidate_mask=mask), loss_of(video, text))


def test_padding_with_a_mask_equals_fewer_candidates():
    video, text = draw(4, 3)
    padded = torch.cat([text, 100 * torch.ones(4, 2, 5, dtype=torch.float64)], dim=1)
    mask = torch.tensor([True, True, True, False, False]).repeat(4, 1)
    torch.testing.assert_close(loss_of(video, padded, candidate_mask=mask), loss_of(video, text))


def test_order_of_clips_and_of_candidates_does_not_matter():
    video, text = draw(6, 3)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss_of(video[order], text[order]), loss_of(video, text))
    torch.testing.assert_close(loss_of(video, text.flip(1)), loss_of(video, text))


def test_one_rotation_of_the_joint_space_does_not_matter():
    video, text = draw(6, 3)
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))
    torch.testing.assert_close(loss_of(video @ rotation, text @ rotation), loss_of(video, text))


def test_vanished_embeddings_cost_the_logarithm_of_the_row_and_the_column():
    # All scores 0: 2·B·P entries in the denominator, P of them positive.
    loss = loss_of(torch.zeros(4, 5), torch.zeros(4, 3, 5))
    assert float(loss) == pytest.approx(math.log(2 * 4))


def test_a_perfect_model_pays_only_for_counting_its_positives_twice():
    video = 40 * torch.eye(4, dtype=torch.float64)
    assert float(loss_of(video, video[:, None])) == pytest.approx(math.log(2), abs=1e-9)


def test_scores_far_beyond_the_range_of_exp_stay_finite():
    video = torch.tensor([[100.0], [-100.0]], requires_grad=True)
    text = torch.tensor([[[100.0]], [[-100.0]]], requires_grad=True)
    loss = loss_of(video, text)
    loss.backward()
    # One step of float32 at scores of 10,000 is 0.001.
    assert float(loss.detach()) == pytest.approx(math.log(2), abs=2e-3)
    assert video.grad.isfinite().all()
    assert text.grad.isfinite().all()
    assert float(loss_of(-video.detach(), text.detach())) == pytest.approx(20_000 + math.log(2), abs=4e-3)


def test_a_thousand_awkward_batches_give_finite_losses_and_gradients():
    for number, (num_clips, num_candidates, dim) in enumerate([(1, 1, 1), (1, 3, 4), (4, 1, 4), (3, 2, 5)]):
        for seed in range(250):
            video, text = awkward_set(
                1000 * number + seed, (num_clips, dim), (num_clips, num_candidates, dim)
            )
            assert_finite(loss_of(video, text), video, text)


@pytest.mark.parametrize("factor", [101.0, math.nan, math.inf])
def test_scores_out_of_range_are_refused(factor):
    video = torch.tensor([[factor], [1.0]])
    with pytest.raises(ValueError, match=r"^scores of clips and captions must lie within ±10000, got"):
        loss_of(video, torch.tensor([[[100.0]], [[1.0]]]))


def test_scores_are_checked_before_candidates_are_masked():
    video, text = torch.ones(2, 1), torch.ones(2, 2, 1)
    text[0, 1] = 2e4
    mask = torch.tensor([[True, False], [True, True]])
    with pytest.raises(ValueError, match="got 20000"):
        loss_of(video, text, candidate_mask=mask)


def test_scaling_one_side_up_and_the_other_down_does_not_matter():
    video, text = draw(5, 3)
    torch.testing.assert_close(loss_of(4 * video, text / 4), loss_of(video, text))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_float32(dtype):
    video, text = (tensor.to(dtype) for tensor in draw(6, 3))
    result = loss_of(video, text)
    assert result.dtype == torch.float32
    assert torch.equal(result, loss_of(video.float(), text.float()))


def test_mixed_precision_takes_the_wider_one():
    video, text = draw(4, 2)
    assert loss_of(video.float(), text).dtype == torch.float64
    assert loss_of(video, text.float()).dtype == torch.float64
    assert loss_of(video.bfloat16(), text.float()).dtype == torch.float32


def test_autocast_does_not_reach_the_loss():
    video, text = draw(6, 3, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = loss_of(video, text)
    assert result.dtype == torch.float32
    assert torch.equal(result, loss_of(video, text))


@pytest.mark.parametrize(
    ("video_shape", "text_shape", "message"),
    [
        ((4, 5), (4, 5), r"video must be \(B, D\) and text \(B, P, D\), got \(4, 5\) and \(4, 5\)"),
        ((4, 1, 5), (4, 2, 5), r"video must be \(B, D\) and text \(B, P, D\), got \(4, 1, 5\)"),
        ((4, 5), (3, 2, 5), r"must agree in B and D, got \(4, 5\) and \(3, 2, 5\)"),
        ((4, 5), (4, 2, 6), r"must agree in B and D, got \(4, 5\) and \(4, 2, 6\)"),
        ((0, 5), (0, 2, 5), r"needs clips and candidates, got text of shape \(0, 2, 5\)"),
        ((4, 5), (4, 0, 5), r"needs clips and candidates, got text of shape \(4, 0, 5\)"),
    ],
)
def test_wrong_shapes_are_named(video_shape, text_shape, message):
    with pytest.raises(ValueError, match=message):
        loss_of(torch.zeros(video_shape), torch.zeros(text_shape))


@pytest.mark.parametrize(
    "mask", [torch.ones(4, 2), torch.ones(4, 3, dtype=torch.bool), torch.ones(4, dtype=torch.bool)]
)
def test_a_mask_of_the_wrong_kind_is_named(mask):
    video, text = draw(4, 2)
    with pytest.raises(ValueError, match=r"candidate_mask must be \(4, 2\) bool, got"):
        loss_of(video, text, candidate_mask=mask)


def test_a_clip_without_candidates_is_named():
    video, text = draw(4, 2)
    mask = torch.ones(4, 2, dtype=torch.bool)
    mask[2:] = False
    with pytest.raises(
        ValueError, match=r"clip 2 of the batch has no candidate: candidate_mask is all False"
    ):
        loss_of(video, text, candidate_mask=mask)
