"""S2DTW: loops as the paper writes it, exact gradients, the invariances and the edges, on each backend."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from narravid.losses import (
    S2DTWLoss,
    TemporalAugmentation,
    interleave,
    local_cost,
    pair_costs,
    soft_dtw,
)

BACKENDS = ["torch", "numba"]
on_each_backend = pytest.mark.parametrize("backend", BACKENDS)


def draw(num_videos, num_clips, num_sentences, *, dim=6, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    video = torch.randn(num_videos, num_clips, dim, generator=generator, dtype=dtype)
    text = torch.randn(num_videos, num_sentences, dim, generator=generator, dtype=dtype)
    return F.normalize(video, dim=-1), F.normalize(text, dim=-1)


def loss_and_gradients(video, text, backend="auto", *, gamma=0.1, skip_cost=0.5, **masks):
    video, text = video.clone().requires_grad_(), text.clone().requires_grad_()
    loss = S2DTWLoss(gamma=gamma, skip_cost=skip_cost, backend=backend)(video, text, **masks)
    loss.backward()
    return loss.detach(), video.grad, text.grad


def naive_local_cost(similarity, gamma):
    num_rows, num_columns = similarity.shape
    cost = np.zeros(similarity.shape)
    for i in range(num_rows):
        for j in range(num_columns):
            before = [
                similarity[above, left]
                for above, left in ((i - 1, j), (i, j - 1), (i - 1, j - 1))
                if above >= 0 and left >= 0
            ] or [0.0, 0.0, 0.0]
            cost[i, j] = -similarity[i, j] - gamma * math.log(sum(math.exp(s / gamma) for s in before))
    return cost


def naive_pair_cost(video, text, gamma, skip_cost):
    """One video (N, D) and one text (M, D), cell by cell."""
    local = naive_local_cost(video @ text.T, gamma)
    num_rows, num_columns = 2 * len(video) + 1, 2 * len(text) + 1
    table = np.full((num_rows + 1, num_columns + 1), np.inf)
    table[0, 0] = 0
    for i in range(num_rows):
        for j in range(num_columns):
            cost = local[i // 2, j // 2] if i % 2 and j % 2 else skip_cost
            before = np.array([table[i, j], table[i, j + 1], table[i + 1, j]])
            low = before.min()
            table[i + 1, j + 1] = cost + low - gamma * math.log(np.exp((low - before) / gamma).sum())
    return table[-1, -1]


def naive_loss(video, text, gamma, skip_cost):
    total = 0.0
    for a in range(len(text)):
        costs = [naive_pair_cost(clips, text[a], gamma, skip_cost) for clips in video]
        total += math.log(sum(math.exp(costs[a] - cost) for cost in costs))
    return total / len(text)


# ---------------------------------------------------------------- what it computes


@given(
    num_videos=st.integers(1, 3),
    num_clips=st.integers(1, 5),
    num_sentences=st.integers(1, 5),
    gamma=st.floats(0.05, 2),
    skip_cost=st.floats(-1, 2),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=40)
def test_equals_the_naive_loop(num_videos, num_clips, num_sentences, gamma, skip_cost, seed):
    video, text = draw(num_videos, num_clips, num_sentences, seed=seed)
    expected = naive_loss(video.numpy(), text.numpy(), gamma, skip_cost)
    for backend in BACKENDS:
        loss = S2DTWLoss(gamma=gamma, skip_cost=skip_cost, backend=backend)(video, text)
        assert float(loss) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_parts_make_the_whole():
    video, text = draw(4, 3, 5)
    similarity = torch.einsum("bnd,amd->abnm", video, text)
    local = local_cost(similarity, gamma=0.2)
    for a in range(4):
        for b in range(4):
            expected = naive_local_cost((video[b] @ text[a].T).numpy(), 0.2)
            np.testing.assert_allclose(local[a, b].numpy(), expected, rtol=1e-10)
    matrices = interleave(local, skip_cost=0.4)
    assert matrices.shape == (4, 4, 7, 11)
    assert torch.equal(matrices[..., 1::2, 1::2], local)
    assert torch.all(matrices[..., ::2, :] == 0.4)
    assert torch.all(matrices[..., :, ::2] == 0.4)
    cost = soft_dtw(matrices.flatten(0, 1), gamma=0.2).view(4, 4)
    torch.testing.assert_close(pair_costs(video, text, gamma=0.2, skip_cost=0.4), cost)


@on_each_backend
def test_more_texts_than_videos_give_all_pairs(backend):
    video, text = draw(2, 3, 4)[0], draw(5, 3, 4, seed=1)[1]
    cost = pair_costs(video, text, gamma=0.3, skip_cost=0.2, backend=backend)
    assert cost.shape == (5, 2)
    for a in range(5):
        for b in range(2):
            expected = naive_pair_cost(video[b].numpy(), text[a].numpy(), 0.3, 0.2)
            assert float(cost[a, b]) == pytest.approx(expected, rel=1e-10)


@on_each_backend
def test_gradients_are_exact(backend):
    video, text = draw(3, 3, 4)
    loss_of = S2DTWLoss(gamma=0.3, backend=backend)
    assert torch.autograd.gradcheck(loss_of, (video.requires_grad_(), text.requires_grad_()))


@on_each_backend
def test_gradients_are_exact_with_padding(backend):
    video, text = draw(3, 3, 4)
    masks = {
        "video_mask": torch.arange(3) < torch.tensor([3, 1, 2])[:, None],
        "text_mask": torch.arange(4) < torch.tensor([2, 4, 3])[:, None],
    }
    loss_of = S2DTWLoss(gamma=0.3, backend=backend)
    inputs = (video.requires_grad_(), text.requires_grad_())
    assert torch.autograd.gradcheck(lambda video, text: loss_of(video, text, **masks), inputs)


@pytest.mark.parametrize(("num_videos", "num_clips", "num_sentences"), [(3, 8, 8), (12, 3, 4), (65, 2, 3)])
def test_single_precision_is_as_good_as_double(num_videos, num_clips, num_sentences):
    # 144 pairs are a block of the numba backend and a piece, 4,225 are shared out to two threads.
    video, text = draw(num_videos, num_clips, num_sentences)
    expected = loss_and_gradients(video, text, "torch")
    num_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = [loss_and_gradients(video.float(), text.float(), backend) for backend in BACKENDS]
    finally:
        torch.set_num_threads(num_threads)
    for results in found:
        for result, exact in zip(results, expected, strict=True):
            assert result.dtype == torch.float32
            # Partial sums reach 10 in units of gamma 0.1: 1e-6 of them, some times over.
            torch.testing.assert_close(result, exact.float(), rtol=1e-4, atol=5e-6)


# ---------------------------------------------------------------- properties


@on_each_backend
def test_the_order_of_the_batch_does_not_matter(backend):
    video, text = draw(5, 4, 3)
    order = torch.tensor([3, 0, 4, 1, 2])
    expected = loss_and_gradients(video, text, backend)
    loss, grad_video, grad_text = loss_and_gradients(video[order], text[order], backend)
    torch.testing.assert_close(loss, expected[0])
    torch.testing.assert_close(grad_video, expected[1][order])
    torch.testing.assert_close(grad_text, expected[2][order])


@on_each_backend
def test_similarity_gamma_and_skip_cost_scale_together(backend):
    video, text = draw(3, 4, 3)
    cost = pair_costs(video, text, gamma=0.1, skip_cost=0.5, backend=backend)
    scaled = pair_costs(7 * video, text, gamma=0.7, skip_cost=3.5, backend=backend)
    torch.testing.assert_close(scaled, 7 * cost)


@on_each_backend
def test_video_and_text_may_change_places(backend):
    video, text = draw(3, 4, 5)
    cost = pair_costs(video, text, backend=backend)
    torch.testing.assert_close(pair_costs(text, video, backend=backend), cost.T)


@on_each_backend
def test_one_rotation_of_the_joint_space_does_not_matter(backend):
    video, text = draw(3, 4, 5)
    rotation, _ = torch.linalg.qr(draw(1, 6, 6)[0][0])
    loss_of = S2DTWLoss(backend=backend)
    torch.testing.assert_close(loss_of(video @ rotation, text @ rotation), loss_of(video, text))


@on_each_backend
def test_a_text_in_order_costs_less_than_one_out_of_order(backend):
    clips = torch.eye(6, dtype=torch.float64)[None]
    orders = torch.stack([clips[0], clips[0].flip(0), clips[0].roll(3, 0)])
    in_order, reversed_, rolled = pair_costs(clips, orders, backend=backend)[:, 0].tolist()
    assert in_order < rolled < reversed_


@on_each_backend
def test_a_single_pair_costs_nothing(backend):
    loss, grad_video, grad_text = loss_and_gradients(*draw(1, 4, 5), backend)
    assert float(loss) == 0
    assert torch.all(grad_video == 0)
    assert torch.all(grad_text == 0)


@on_each_backend
def test_equal_videos_cost_the_logarithm_of_their_number(backend):
    video, text = draw(4, 3, 3)
    loss = S2DTWLoss(backend=backend)(video[:1].expand(4, 3, 6), text)
    assert float(loss) == pytest.approx(math.log(4))


@on_each_backend
def test_only_texts_look_for_videos(backend):
    # The published direction, a softmax over the videos for each text; the costs themselves are symmetric.
    video, text = draw(3, 4, 4)
    cost = pair_costs(video, text, backend=backend)
    expected = torch.stack([torch.logsumexp(cost[a, a] - cost[a], dim=0) for a in range(3)]).mean()
    torch.testing.assert_close(S2DTWLoss(backend=backend)(video, text), expected)
    assert not math.isclose(float(expected), float(S2DTWLoss(backend=backend)(text, video)), rel_tol=1e-3)


# ---------------------------------------------------------------- padding, precision, autograd


@on_each_backend
def test_padding_equals_cutting_and_gets_no_gradient(backend):
    num_clips, num_sentences = torch.tensor([3, 1, 4]), torch.tensor([5, 2, 1])
    video, text = draw(3, 4, 5)
    video_mask = torch.arange(4) < num_clips[:, None]
    text_mask = torch.arange(5) < num_sentences[:, None]
    masks = {"video_mask": video_mask, "text_mask": text_mask}
    results = loss_and_gradients(video, text, backend, **masks)
    assert torch.all(results[1][~video_mask] == 0)
    assert torch.all(results[2][~text_mask] == 0)
    cost = pair_costs(video, text, backend=backend, **masks)
    for a in range(3):
        for b in range(3):
            alone = pair_costs(
                video[b : b + 1, : num_clips[b]], text[a : a + 1, : num_sentences[a]], backend=backend
            )
            torch.testing.assert_close(cost[a, b], alone[0, 0])
    other_video = torch.where(video_mask[:, :, None], video, -3.0)
    other_text = torch.where(text_mask[:, :, None], text, 5.0)
    again = loss_and_gradients(other_video, other_text, backend, **masks)
    for result, expected in zip(again, results, strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-14)


@on_each_backend
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_half_precision_is_computed_in_single_also_under_autocast(backend, dtype):
    video, text = (tensor.to(dtype) for tensor in draw(3, 4, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, grad_video, _ = loss_and_gradients(video, text, backend)
    wide = torch.promote_types(dtype, torch.float32)
    assert loss.dtype == wide
    assert grad_video.dtype == dtype
    assert torch.equal(loss, S2DTWLoss(backend=backend)(video.to(wide), text.to(wide)))


def test_mixed_precision_takes_the_wider_one():
    video, text = draw(2, 3, 3)
    assert S2DTWLoss()(video.float(), text).dtype == torch.float64
    assert S2DTWLoss()(video.bfloat16(), text.float()).dtype == torch.float32


@on_each_backend
def test_backward_may_be_repeated_but_not_differentiated(backend):
    video, text = draw(3, 4, 5)
    video.requires_grad_()
    loss = S2DTWLoss(backend=backend)(video, text)
    (first,) = torch.autograd.grad(loss, video, retain_graph=True)
    (second,) = torch.autograd.grad(loss, video, retain_graph=True)
    assert torch.equal(first, second)
    with pytest.raises(RuntimeError, match="differentiated once only"):
        torch.autograd.grad(loss, video, create_graph=True)


def test_inputs_stay_as_they_are():
    video, text = draw(3, 4, 5)
    copies = video.clone(), text.clone()
    loss_and_gradients(video, text)
    assert torch.equal(video, copies[0])
    assert torch.equal(text, copies[1])


# ---------------------------------------------------------------- numbers that could overflow


@on_each_backend
def test_a_thousand_random_inputs_stay_finite(backend):
    generator = torch.Generator().manual_seed(3)
    kinds = {
        "normal": lambda *shape: torch.randn(shape, generator=generator),
        "equal": lambda *shape: torch.randn(1, 1, shape[2], generator=generator).expand(shape),
        "zero": torch.zeros,
        "large": lambda *shape: 100 * (2 * torch.rand(shape, generator=generator) - 1),
        "largest": lambda *shape: 100 * (2.0 * torch.randint(0, 2, shape, generator=generator) - 1),
    }
    seen = 0
    for fill in kinds.values():
        for _ in range(20):
            num_clips, num_sentences = torch.randint(1, 6, (2,), generator=generator).tolist()
            # Of dimension 1, so that similarity / gamma reaches ±1e4 and no further.
            video, text = fill(10, num_clips, 1), fill(10, num_sentences, 1)
            loss, grad_video, grad_text = loss_and_gradients(
                video.clamp(-100, 100), text.clamp(-100, 100), backend, gamma=1.0
            )
            assert loss.isfinite()
            assert grad_video.isfinite().all()
            assert grad_text.isfinite().all()
            seen += 10
    assert seen == 1000


@on_each_backend
@pytest.mark.parametrize("sign", [1, -1])
def test_similarities_that_overflow_the_published_kernel_stay_finite(backend, sign):
    # exp(9 / 0.1) is beyond float32; here similarity / gamma is the largest that is taken.
    video, text = draw(3, 4, 4, dtype=torch.float32)
    video = sign * 1000 * video / (video @ text[0, 0]).abs().max()
    text = text[:1, :1].expand(3, 4, 6)
    for result in loss_and_gradients(video, text, backend):
        assert result.isfinite().all()


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("video_shape", "text_shape", "message"),
    [
        (
            (2, 3),
            (2, 3),
            r"video must be \(B, N, D\) and text \(A, M, D\), nothing of them empty, got \(2, 3\)",
        ),
        ((2, 3, 4), (2, 3, 5), r"video must be \(B, N, D\).* got \(2, 3, 4\) and \(2, 3, 5\)"),
        ((2, 0, 4), (2, 3, 4), r"nothing of them empty, got \(2, 0, 4\)"),
        ((2, 3, 4), (3, 3, 4), r"must agree in B, and B be at least 1, got \(2, 3, 4\) and \(3, 3, 4\)"),
        ((0, 3, 4), (0, 3, 4), r"must agree in B, and B be at least 1, got \(0, 3, 4\)"),
    ],
)
def test_wrong_shapes_are_named(video_shape, text_shape, message):
    with pytest.raises(ValueError, match=message):
        S2DTWLoss()(torch.zeros(video_shape), torch.zeros(text_shape))


def test_senseless_settings_are_named():
    with pytest.raises(ValueError, match="gamma must lie between"):
        S2DTWLoss(gamma=0.0)
    with pytest.raises(ValueError, match=r"skip_cost / gamma must lie within ±10000, got 0.5 / 1e-05"):
        S2DTWLoss(gamma=1e-5)
    with pytest.raises(ValueError, match=r"skip_cost / gamma must lie within ±10000, got nan / 0.1"):
        S2DTWLoss(skip_cost=math.nan)


@pytest.mark.parametrize("value", [1001.0, -1001.0, math.nan, math.inf])
def test_similarities_beyond_the_range_of_logits_are_refused(value):
    video = torch.full((1, 2, 1), value)
    with pytest.raises(ValueError, match="similarities divided by gamma must lie within ±10000, got"):
        S2DTWLoss()(video, torch.ones(1, 2, 1))


def test_masks_of_the_wrong_kind_are_named():
    video, text = draw(2, 3, 4)
    with pytest.raises(ValueError, match=r"video_mask must be \(2, 3\) bool, got \(2, 4\)"):
        S2DTWLoss()(video, text, video_mask=torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"text_mask must be True at the start"):
        S2DTWLoss()(video, text, text_mask=torch.tensor([[False, True, True, True]] * 2))


# ---------------------------------------------------------------- temporal augmentation


def test_augmentation_permutes_both_sides_in_training_only(generator):
    video, text = draw(4, 8, 8)
    # Clips so near each other that most permutations are about as likely.
    video, text = F.normalize(1 + 0.01 * video, dim=-1), F.normalize(1 + 0.01 * text, dim=-1)
    augmentation = TemporalAugmentation()
    loss_of = S2DTWLoss(augmentation=augmentation)
    state = generator.get_state()
    result = loss_of(video, text, generator=generator)
    generator.set_state(state)
    permuted = [augmentation(side, generator=generator) for side in (video, text)]
    assert not torch.equal(permuted[0], video)
    assert not torch.equal(permuted[1], text)
    assert torch.equal(result, S2DTWLoss()(*permuted))
    assert torch.equal(loss_of.eval()(video, text), S2DTWLoss()(video, text))


def test_augmentation_needs_a_generator_and_no_padding(generator):
    video, text = draw(2, 3, 3)
    loss_of = S2DTWLoss(augmentation=TemporalAugmentation())
    message = "temporal augmentation needs a generator, and sequences without padding"
    with pytest.raises(ValueError, match=message):
        loss_of(video, text)
    full = torch.ones(2, 3, dtype=torch.bool)
    for masks in ({"video_mask": full}, {"text_mask": full}):
        with pytest.raises(ValueError, match=message):
            loss_of(video, text, generator=generator, **masks)
