"""Which texts are called alignable, and the loss of the head that learns it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from losses.naive_alignment import naive_head, naive_kept
from narravid.losses.alignability import alignability_labels, alignability_loss, best_scored_texts


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw_scores(num_videos, num_texts, seed):
    dual, joint, head = draw(3, num_videos, num_texts, seed=seed).unbind()
    valid = draw(num_videos, num_texts, seed=seed + 1) < 0.8
    return dual, joint + dual, head, valid


shapes = {"num_videos": st.integers(1, 4), "num_texts": st.integers(1, 5), "seed": st.integers(0, 10_000)}


@given(**shapes, share=st.sampled_from([0.1, 0.5, 0.9]))
def test_kept_texts_equal_the_naive_loop(num_videos, num_texts, seed, share):
    dual, joint, _, valid = draw_scores(num_videos, num_texts, seed)
    kept = best_scored_texts(dual, joint, valid=valid, share=share)
    assert not kept[~valid].any()
    assert kept[valid].tolist() == naive_kept((dual[valid].tolist(), joint[valid].tolist()), share)


@given(**shapes, with_positions=st.booleans())
def test_labels_and_loss_equal_the_naive_loop(num_videos, num_texts, seed, with_positions):
    dual, joint, head, valid = draw_scores(num_videos, num_texts, seed)
    positions = draw(num_videos, num_texts, 2, seed=seed + 2).sigmoid() if with_positions else None
    labels = alignability_labels(dual, joint, valid=valid, text_positions=positions)
    loss, accuracy = alignability_loss(head, *labels)
    if not valid.any():
        assert float(loss) == 0
        return
    middles = None if positions is None else positions.mean(dim=2)[valid].tolist()
    scores = dual[valid].tolist(), joint[valid].tolist()
    expected_loss, expected_accuracy = naive_head(head[valid].tolist(), scores, middles)
    assert float(loss) == pytest.approx(expected_loss, rel=1e-9, abs=1e-12)
    if not math.isnan(expected_accuracy):
        assert float(accuracy) == pytest.approx(expected_accuracy)


def test_the_best_half_by_both_branches_is_kept():
    dual, joint = torch.tensor([[4.0, 1, 3, 2]]), torch.tensor([[40.0, 10, 20, 30]])
    valid = torch.ones(1, 4, dtype=torch.bool)
    assert best_scored_texts(dual, joint, valid=valid, share=0.5).tolist() == [[True, False, True, True]]
    assert best_scored_texts(dual, joint, valid=valid, share=0.1).tolist() == [[True, False, False, False]]


def test_the_scale_and_offset_of_a_branch_do_not_matter():
    dual, joint, _, valid = draw_scores(3, 5, 1)
    expected = best_scored_texts(dual, joint, valid=valid, share=0.5)
    assert torch.equal(best_scored_texts(100 * dual + 7, joint / 9, valid=valid, share=0.5), expected)


def test_equal_scores_are_all_kept_and_a_single_text_is_not():
    valid = torch.ones(2, 3, dtype=torch.bool)
    equal = torch.full((2, 3), 0.1)
    assert best_scored_texts(equal, equal, valid=valid, share=0.5).all()
    for size in (2, 3, 7, 1000):  # the mean of which sizes is rounded depends on the device
        many = torch.full((1, size), 0.1)
        assert best_scored_texts(many, -many, valid=many > 0, share=0.5).all(), size
    valid[:] = False
    valid[1, 2] = True
    assert not best_scored_texts(equal, equal, valid=valid, share=0.5).any()


def test_only_clear_cases_are_labelled():
    dual, joint = torch.tensor([[4.0, 3, 2, 1, 9]]), torch.tensor([[4.0, 1, 3, 2, 9]])
    valid = torch.tensor([[True, True, True, True, False]])
    alignable, decided = alignability_labels(dual, joint, valid=valid)
    # Medians are 2.5: text 0 is above both, text 3 below both, 1 and 2 are mixed, 4 is padding.
    assert alignable.tolist() == [[True, False, False, False, False]]
    assert decided.tolist() == [[True, False, False, True, False]]


def test_texts_at_the_ends_of_the_video_are_never_alignable():
    dual = torch.tensor([[4.0, 3, 2, 1, 9]])
    valid = torch.tensor([[True, True, True, True, False]])
    positions = torch.tensor([[[0.1, 0.2], [0.2, 0.21], [0.85, 0.9], [0.4, 0.6], [0.0, 0.0]]])
    alignable, decided = alignability_labels(dual, dual, valid=valid, text_positions=positions)
    assert alignable.tolist() == [[False, True, False, False, False]]
    assert decided.tolist() == [[True, True, True, True, False]]


@pytest.mark.parametrize(
    ("alignable", "decided"),
    [
        ([False, False, False], [False, False, False]),
        ([False, False, False], [True, True, False]),
    ],
)
def test_nothing_to_learn_contributes_nothing(alignable, decided):
    logits = torch.tensor([[1.0, -2.0, 1e4]], requires_grad=True)
    loss, _ = alignability_loss(logits, torch.tensor([alignable]), torch.tensor([decided]))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad.tolist() == [[0, 0, 0]]


def test_both_classes_weigh_the_same():
    # Of four texts one is alignable; its weight of 3 balances the others at logit 0.
    logits = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    alignable = torch.tensor([[True, False, False, False]])
    loss, _ = alignability_loss(logits, alignable, torch.ones(1, 4, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == pytest.approx((3 + 3) * math.log(2) / 4)
    assert float(logits.grad.sum()) == pytest.approx(0, abs=1e-12)


def test_gradients_are_exact():
    logits = draw(2, 4).requires_grad_()
    alignable = torch.tensor([[True, False, False, True], [False, True, False, False]])
    decided = alignable | torch.tensor([[False, True, False, False], [True, False, False, True]])
    assert torch.autograd.gradcheck(lambda x: alignability_loss(x, alignable, decided)[0], logits)
