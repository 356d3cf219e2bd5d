"""Where dual and joint branch agree: a naive search, and what must stay untouched."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from losses.naive_alignment import naive_agreement
from narravid.losses import agreement_target, pad_windows, window_mask
from narravid.losses.temporal_agreement import circulant

TYPES = ("keep", "keep-joint", "intersection", "union")


def draw_problem(num_videos, num_seconds, num_texts, seed, *, noise=0.3):
    """Logits of two branches that mostly agree, windows and masks; every video has a text and a second."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    common = 2 * normal(num_videos, num_seconds, num_texts)
    common = common + common.roll(1, dims=1)
    branches = tuple(common + noise * normal(*common.shape) for _ in range(2))
    start = torch.rand(num_videos, num_texts, generator=generator) * num_seconds
    length = 0.5 + torch.rand(num_videos, num_texts, generator=generator) * num_seconds / 2
    positives = window_mask(start, start + length, num_seconds=num_seconds)
    video_mask = torch.ones(num_videos, num_seconds, dtype=torch.bool)
    video_mask[0, int(num_seconds * 0.8) + 1 :] = False
    text_mask = torch.rand(num_videos, num_texts, generator=generator) < 0.8
    text_mask[:, 0] = True
    return branches, positives, {"video_mask": video_mask, "text_mask": text_mask}


@pytest.mark.parametrize("agreement", TYPES)
@given(
    num_videos=st.integers(1, 3),
    num_seconds=st.integers(3, 9),
    num_texts=st.integers(1, 4),
    noise=st.sampled_from([0.0, 0.3, 3.0]),
    temperature=st.sampled_from([0.07, 1.0]),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=40)
def test_equals_the_naive_search(agreement, num_videos, num_seconds, num_texts, noise, temperature, seed):
    branches, positives, masks = draw_problem(num_videos, num_seconds, num_texts, seed, noise=noise)
    result = agreement_target(branches, positives, **masks, agreement=agreement, temperature=temperature)
    target, confident = naive_agreement(
        *branches, positives, masks["video_mask"], masks["text_mask"], agreement, temperature
    )
    assert torch.equal(result.positives, target)
    assert torch.equal(result.confident, confident)


def peaks(num_seconds, *seconds):
    """(1, T, N) logits of texts that are sure of the given stretches."""
    logits = torch.zeros(1, num_seconds, len(seconds))
    for text, stretch in enumerate(seconds):
        logits[0, list(stretch), text] = 20.0
    return logits


def run(dual, joint, positives, agreement, **masks):
    given_masks = {
        "video_mask": torch.ones(1, dual.shape[1], dtype=torch.bool),
        "text_mask": torch.ones(1, dual.shape[2], dtype=torch.bool),
    } | masks
    return agreement_target((dual, joint), positives, **given_masks, agreement=agreement, temperature=0.07)


def seconds_of(result, text):
    return result.positives[0, text].nonzero().flatten().tolist()


def test_each_type_moves_a_text_by_its_own_rule():
    # Branches see the text at 4-6 and 5-7; it is spoken at 1-3. IoU is 2 / 4.
    dual, joint = peaks(10, (4, 5, 6), ()), peaks(10, (5, 6, 7), ())
    positives = window_mask(torch.tensor([[1.0, 8]]), torch.tensor([[4.0, 9]]), num_seconds=10)
    found = {agreement: run(dual, joint, positives, agreement) for agreement in TYPES}
    assert seconds_of(found["keep"], 0) == [4, 5, 6, 7]
    assert seconds_of(found["keep-joint"], 0) == [5, 6, 7]
    assert seconds_of(found["intersection"], 0) == [5, 6]
    assert seconds_of(found["union"], 0) == [4, 5, 6, 7]
    assert all(float(result.iou[0, 0]) == pytest.approx(0.5) for result in found.values())
    assert all(bool(result.confident[0, 0]) for result in found.values())


@pytest.mark.parametrize("agreement", TYPES)
def test_a_text_on_which_the_branches_differ_stays(agreement):
    # A second text, sure of nothing, lets the first one's seconds stand out.
    dual, joint = peaks(10, (4, 5, 6), ()), peaks(10, (6, 7, 8), ())
    positives = window_mask(torch.tensor([[1.0, 8]]), torch.tensor([[4.0, 9]]), num_seconds=10)
    result = run(dual, joint, positives, agreement)
    assert seconds_of(result, 0) == [1, 2, 3]
    assert not result.confident[0, 0]
    assert float(result.iou[0, 0]) == pytest.approx(1 / 5)


def test_a_second_goes_to_the_first_text_and_nobody_is_left_empty():
    # Texts 0 and 1 want seconds 3-5. Text 2 is as good anywhere else and takes the first window there is.
    logits = peaks(10, (3, 4, 5), (3, 4, 5), ())
    spoken = torch.tensor([[0.0, 5, 7]])
    positives = window_mask(spoken, spoken + 3, num_seconds=10)
    result = run(logits, logits, positives, "keep")
    assert [seconds_of(result, text) for text in range(3)] == [[3, 4, 5], [5, 6, 7], [1, 2]]


def test_the_earliest_of_equal_windows_wins():
    # Where every second is as good as any other, the first placement beyond second 0 is the one at 0.
    flat = torch.zeros(1, 12, 1)
    positives = window_mask(torch.tensor([[5.0]]), torch.tensor([[8.0]]), num_seconds=12)
    assert seconds_of(run(flat, flat, positives, "keep"), 0) == [1, 2]


def test_no_window_touches_the_ends_of_the_video():
    sure = peaks(8, (0,), (7,))
    positives = window_mask(torch.tensor([[2.0, 4]]), torch.tensor([[4.0, 6]]), num_seconds=8)
    result = run(sure, sure, positives, "keep")
    assert not result.positives[0, :, [0, 7]].any()


@pytest.mark.parametrize("num_seconds", [1, 2])
@pytest.mark.parametrize("agreement", TYPES)
def test_videos_without_an_inner_second_stay(num_seconds, agreement):
    logits = torch.zeros(1, num_seconds, 2)
    positives = torch.ones(1, 2, num_seconds, dtype=torch.bool)
    masks = {"text_mask": torch.tensor([[True, False]])}
    result = run(logits, logits, positives, agreement, **masks)
    assert torch.equal(result.positives, positives & masks["text_mask"][..., None])
    assert not result.confident.any()


def test_no_text_at_all_gives_no_target():
    branches, positives, masks = draw_problem(2, 6, 3, 0)
    masks["text_mask"] = torch.zeros(2, 3, dtype=torch.bool)
    result = agreement_target(branches, positives, **masks, agreement="keep", temperature=0.07)
    assert not result.positives.any()
    assert not result.confident.any()


@pytest.mark.parametrize("agreement", TYPES)
def test_inputs_are_not_written_to_and_take_no_gradient(agreement):
    branches, positives, masks = draw_problem(2, 8, 3, 4)
    copies = [tensor.clone() for tensor in (*branches, positives, *masks.values())]
    branches = tuple(branch.requires_grad_() for branch in branches)
    result = agreement_target(branches, positives, **masks, agreement=agreement, temperature=0.07)
    for tensor, copy in zip((*branches, positives, *masks.values()), copies, strict=True):
        assert torch.equal(tensor, copy)
    assert not result.iou.requires_grad


def test_padding_decides_nothing():
    branches, positives, masks = draw_problem(2, 8, 3, 4)
    masks["text_mask"][:, 2] = False
    first = agreement_target(branches, positives, **masks, agreement="keep", temperature=0.07)
    for branch in branches:
        branch[~masks["video_mask"]] = 50
        branch[..., 2] = -50
    positives[:, 2] = ~positives[:, 2]
    again = agreement_target(branches, positives, **masks, agreement="keep", temperature=0.07)
    assert torch.equal(first.positives, again.positives)
    assert torch.equal(first.iou, again.iou)


def test_rotations_move_to_the_right():
    assert circulant(torch.tensor([1, 2, 3])).tolist() == [[1, 2, 3], [3, 1, 2], [2, 3, 1]]


def test_a_window_ends_before_its_end():
    mask = window_mask(torch.tensor([[0.0, 1.5, 2]]), torch.tensor([[2.0, 3.5, 2]]), num_seconds=4)
    assert mask.int().tolist() == [[[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]]]


def test_lists_of_no_video_and_of_no_text_can_be_padded():
    start, end, mask = pad_windows([[], [1.0]], [[], [2.0]], num_seconds=4)
    assert start.shape == end.shape == mask.shape == (2, 1)
    assert mask.tolist() == [[False], [True]]
    assert not window_mask(start, end, num_seconds=4)[0].any()
    assert pad_windows([], [], num_seconds=4)[2].shape == (0, 0)


def test_lists_that_do_not_match_are_named():
    with pytest.raises(ValueError, match=r"same lengths, got \[2\] and \[1\]"):
        pad_windows([[1.0, 2.0]], [[2.0]], num_seconds=4)
