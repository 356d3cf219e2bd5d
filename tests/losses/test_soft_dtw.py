"""Soft-DTW: every path, a naive loop, an outside library, exact gradients and the edges, on each backend."""

import math
import re
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tslearn.metrics import SoftDTW

from narravid.errors import MissingExtraError
from narravid.losses import soft_dtw
from narravid.losses.soft_dtw import choose_backend

BACKENDS = ["torch", "numba"]
on_each_backend = pytest.mark.parametrize("backend", BACKENDS)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def value_and_gradient(cost, **options):
    cost = cost.clone().requires_grad_()
    value = soft_dtw(cost, **options)
    value.sum().backward()
    return value.detach(), cost.grad


def paths(num_rows, num_columns):
    """Every way from the first cell to the last: down, right or both."""
    if (num_rows, num_columns) == (1, 1):
        return [[(0, 0)]]
    before = [(num_rows - 1, num_columns), (num_rows, num_columns - 1), (num_rows - 1, num_columns - 1)]
    last = (num_rows - 1, num_columns - 1)
    return [[*path, last] for rows, columns in before if rows and columns for path in paths(rows, columns)]


def by_enumeration(cost, gamma, bandwidth=None):
    """Value and gradient from the sum over paths, which is the definition."""
    every = paths(*cost.shape)
    if bandwidth:
        every = [path for path in every if all(abs(i - j) <= bandwidth for i, j in path)]
    sums = np.array([sum(float(cost[cell]) for cell in path) for path in every])
    shares = np.exp(-(sums - sums.min()) / gamma)
    gradient = np.zeros(cost.shape)
    for path, share in zip(every, shares / shares.sum(), strict=True):
        for cell in path:
            gradient[cell] += share
    return sums.min() - gamma * math.log(shares.sum()), gradient


def naive(cost, gamma, bandwidth=None):
    """The recursion of the paper, cell by cell."""
    num_rows, num_columns = cost.shape
    table = np.full((num_rows + 1, num_columns + 1), np.inf)
    table[0, 0] = 0
    for i in range(num_rows):
        for j in range(num_columns):
            if bandwidth and abs(i - j) > bandwidth:
                continue
            before = np.array([table[i, j], table[i, j + 1], table[i + 1, j]])
            low = before.min()
            table[i + 1, j + 1] = cost[i, j] + low - gamma * math.log(np.exp((low - before) / gamma).sum())
    return table[-1, -1]


# ---------------------------------------------------------------- what it computes


@on_each_backend
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (2, 2), (3, 5), (5, 4)])
@pytest.mark.parametrize("gamma", [0.05, 1.0, 20.0])
def test_equals_the_sum_over_all_paths(backend, shape, gamma):
    cost = draw(2, *shape)
    value, gradient = value_and_gradient(cost, gamma=gamma, backend=backend)
    for b in range(2):
        expected_value, expected_gradient = by_enumeration(cost[b].numpy(), gamma)
        assert float(value[b]) == pytest.approx(expected_value, rel=1e-10)
        np.testing.assert_allclose(gradient[b].numpy(), expected_gradient, atol=1e-10)


@on_each_backend
@pytest.mark.parametrize(("shape", "bandwidth"), [((4, 4), 1), ((5, 5), 2), ((3, 5), 2), ((5, 4), 1)])
def test_a_band_leaves_out_the_paths_that_leave_it(backend, shape, bandwidth):
    cost = draw(2, *shape)
    value, gradient = value_and_gradient(cost, gamma=0.5, bandwidth=bandwidth, backend=backend)
    for b in range(2):
        expected_value, expected_gradient = by_enumeration(cost[b].numpy(), 0.5, bandwidth)
        assert float(value[b]) == pytest.approx(expected_value, rel=1e-10)
        np.testing.assert_allclose(gradient[b].numpy(), expected_gradient, atol=1e-10)
        assert np.all(gradient[b].numpy()[expected_gradient == 0] == 0)


@given(
    num_rows=st.integers(1, 24),
    num_columns=st.integers(1, 24),
    extra=st.integers(0, 6),
    gamma=st.floats(0.01, 100),
    seed=st.integers(0, 10_000),
)
def test_equals_the_naive_loop(num_rows, num_columns, extra, gamma, seed):
    bandwidth = abs(num_rows - num_columns) + extra
    cost = draw(2, num_rows, num_columns, seed=seed)
    expected = [naive(matrix.numpy(), gamma, bandwidth) for matrix in cost]
    for backend in BACKENDS:
        value = soft_dtw(cost, gamma=gamma, bandwidth=bandwidth, backend=backend)
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-9, atol=1e-9)


@on_each_backend
@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (12, 5), (9, 30)])
@pytest.mark.parametrize("gamma", [0.1, 1.0])
def test_equals_tslearn(backend, shape, gamma):
    # tslearn builds costs from series itself; its inner class takes the cost matrix and gives E of the paper.
    cost = draw(3, *shape)
    value, gradient = value_and_gradient(cost, gamma=gamma, backend=backend)
    for b in range(3):
        other = SoftDTW(cost[b].numpy(), gamma=gamma)
        assert float(value[b]) == pytest.approx(other.compute(), rel=1e-9)
        np.testing.assert_allclose(gradient[b].numpy(), other.grad(), rtol=1e-7, atol=1e-9)


def test_backends_agree_on_sequences_longer_than_their_blocks():
    cost = draw(5, 150, 210, dtype=torch.float32)
    mask = torch.arange(150) < torch.tensor([150, 1, 97, 33, 149])[:, None]
    expected = value_and_gradient(cost.double(), gamma=0.3, row_mask=mask, backend="torch")
    for backend in BACKENDS:
        value, gradient = value_and_gradient(cost, gamma=0.3, row_mask=mask, backend=backend)
        # A path has up to 360 cells; float32 keeps about 1e-7 of each partial sum.
        np.testing.assert_allclose(value.numpy(), expected[0].numpy(), rtol=1e-5)
        np.testing.assert_allclose(gradient.numpy(), expected[1].numpy(), atol=1e-4)


@on_each_backend
@pytest.mark.parametrize("bandwidth", [None, 2])
def test_gradients_are_exact(backend, bandwidth):
    cost = draw(3, 4, 5).requires_grad_()
    row_mask = torch.arange(4) < torch.tensor([4, 2, 3])[:, None]
    column_mask = torch.arange(5) < torch.tensor([5, 3, 5])[:, None]
    assert torch.autograd.gradcheck(
        lambda cost: soft_dtw(
            cost, gamma=0.7, bandwidth=bandwidth, row_mask=row_mask, column_mask=column_mask, backend=backend
        ),
        (cost,),
    )


# ---------------------------------------------------------------- properties


@on_each_backend
def test_the_order_of_the_batch_does_not_matter(backend):
    cost = draw(6, 7, 9, dtype=torch.float32)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    value, gradient = value_and_gradient(cost, gamma=0.1, backend=backend)
    other_value, other_gradient = value_and_gradient(cost[order], gamma=0.1, backend=backend)
    torch.testing.assert_close(other_value, value[order])
    torch.testing.assert_close(other_gradient, gradient[order])


@on_each_backend
@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e6])
def test_cost_and_gamma_scale_together(backend, factor):
    cost = draw(3, 6, 8)
    value, gradient = value_and_gradient(cost, gamma=0.2, backend=backend)
    scaled_value, scaled_gradient = value_and_gradient(factor * cost, gamma=factor * 0.2, backend=backend)
    torch.testing.assert_close(scaled_value, factor * value)
    torch.testing.assert_close(scaled_gradient, gradient)


@on_each_backend
def test_the_two_sequences_may_change_places_and_run_backwards(backend):
    cost = draw(3, 6, 11)
    value, gradient = value_and_gradient(cost, gamma=0.2, bandwidth=6, backend=backend)
    for turn in (lambda matrix: matrix.mT, lambda matrix: matrix.flip(1, 2)):
        # Backwards, the band of a matrix that is not square would be another one.
        bandwidth = 6 if turn(cost).shape != cost.shape else None
        expected = (value, gradient) if bandwidth else value_and_gradient(cost, gamma=0.2, backend=backend)
        turned = value_and_gradient(turn(cost), gamma=0.2, bandwidth=bandwidth, backend=backend)
        torch.testing.assert_close(turned[0], expected[0])
        torch.testing.assert_close(turned[1], turn(expected[1]))


@on_each_backend
def test_a_constant_on_the_corners_that_every_path_crosses_is_added(backend):
    cost = draw(3, 6, 8)
    value = soft_dtw(cost, gamma=0.2, backend=backend)
    raised = cost.clone()
    raised[:, 0, 0] += 2.0
    raised[:, -1, -1] -= 0.5
    torch.testing.assert_close(soft_dtw(raised, gamma=0.2, backend=backend), value + 1.5)


@on_each_backend
def test_one_column_leaves_one_path(backend):
    cost = draw(3, 6, 1)
    value, gradient = value_and_gradient(cost, gamma=0.2, backend=backend)
    torch.testing.assert_close(value, cost.sum(dim=(1, 2)))
    torch.testing.assert_close(gradient, torch.ones_like(cost))


@on_each_backend
def test_equal_costs_count_the_paths(backend):
    # Paths of a 3 x 3 matrix: the central Delannoy number 13.
    value = soft_dtw(torch.zeros(1, 3, 3, dtype=torch.float64), gamma=2.0, backend=backend)
    assert float(value[0]) == pytest.approx(-2 * math.log(13), rel=1e-12)


@on_each_backend
def test_a_small_gamma_gives_the_best_path(backend):
    cost = draw(4, 6, 7).abs()
    value, gradient = value_and_gradient(cost, gamma=1e-3, backend=backend)
    for b in range(4):
        best = min(sum(float(cost[b, i, j]) for i, j in path) for path in paths(6, 7))
        assert float(value[b]) == pytest.approx(best, abs=0.01)
    assert torch.all((gradient > -1e-12) & (gradient < 1 + 1e-12))


# ---------------------------------------------------------------- padding, precision, autograd


@on_each_backend
@pytest.mark.parametrize("bandwidth", [None, 3])
def test_padding_equals_cutting_and_gets_no_gradient(backend, bandwidth):
    lengths = [(7, 9), (4, 5), (1, 2), (6, 4)]
    cost = draw(4, 7, 9, dtype=torch.float32)
    row_mask = torch.arange(7) < torch.tensor([rows for rows, _ in lengths])[:, None]
    column_mask = torch.arange(9) < torch.tensor([columns for _, columns in lengths])[:, None]
    options = {"gamma": 0.1, "bandwidth": bandwidth, "backend": backend}
    value, gradient = value_and_gradient(cost, row_mask=row_mask, column_mask=column_mask, **options)
    padding = ~(row_mask[:, :, None] & column_mask[:, None, :])
    assert torch.all(gradient[padding] == 0)
    for b, (rows, columns) in enumerate(lengths):
        alone = value_and_gradient(cost[b : b + 1, :rows, :columns], **options)
        torch.testing.assert_close(value[b : b + 1], alone[0])
        torch.testing.assert_close(gradient[b : b + 1, :rows, :columns], alone[1])
    other = torch.where(padding, 77.0, cost)
    again = value_and_gradient(other, row_mask=row_mask, column_mask=column_mask, **options)
    assert torch.equal(again[0], value)
    assert torch.equal(again[1], gradient)


@on_each_backend
def test_a_full_mask_changes_nothing(backend):
    cost = draw(3, 4, 5)
    masks = {
        "row_mask": torch.ones(3, 4, dtype=torch.bool),
        "column_mask": torch.ones(3, 5, dtype=torch.bool),
    }
    masked = soft_dtw(cost, gamma=0.1, backend=backend, **masks)
    assert torch.equal(masked, soft_dtw(cost, gamma=0.1, backend=backend))


@on_each_backend
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_precision_is_kept_and_half_becomes_single(backend, dtype):
    cost = draw(3, 4, 5).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, gradient = value_and_gradient(cost, gamma=0.1, backend=backend)
    wide = torch.promote_types(dtype, torch.float32)
    assert value.dtype == wide
    assert gradient.dtype == dtype
    assert torch.equal(value, soft_dtw(cost.to(wide), gamma=0.1, backend=backend))


@on_each_backend
def test_any_layout_of_memory_is_read(backend):
    cost = draw(5, 4, 3)
    for other in (cost.permute(1, 2, 0), cost[::2, 1:, ::2], cost[:1].expand(4, 4, 3)):
        expected = value_and_gradient(other.contiguous(), gamma=0.1, backend=backend)
        value, gradient = value_and_gradient(other, gamma=0.1, backend=backend)
        assert torch.equal(value, expected[0])
        assert torch.equal(gradient, expected[1])


@on_each_backend
def test_backward_changes_nothing_and_may_be_repeated(backend):
    cost = draw(3, 4, 5).requires_grad_()
    value = soft_dtw(cost, gamma=0.1, bandwidth=2, backend=backend)
    before = value.detach().clone()
    weights = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
    (first,) = torch.autograd.grad(value, cost, weights, retain_graph=True)
    (second,) = torch.autograd.grad(value, cost, weights)
    assert torch.equal(first, second)
    assert torch.equal(value.detach(), before)
    _, gradient = value_and_gradient(cost.detach(), gamma=0.1, bandwidth=2, backend=backend)
    torch.testing.assert_close(first, weights[:, None, None] * gradient)


@on_each_backend
def test_a_second_derivative_is_refused(backend):
    cost = draw(1, 3, 3).requires_grad_()
    value = soft_dtw(cost, gamma=1.0, backend=backend).sum()
    with pytest.raises(RuntimeError, match="differentiated once only: create_graph=True is not supported"):
        torch.autograd.grad(value, cost, create_graph=True)


@on_each_backend
def test_no_gradient_gives_the_same_value(backend):
    cost = draw(3, 4, 5, dtype=torch.float32)
    plain = soft_dtw(cost, gamma=0.1, backend=backend)
    assert not plain.requires_grad
    assert torch.equal(plain, soft_dtw(cost.requires_grad_(), gamma=0.1, backend=backend).detach())


@on_each_backend
def test_an_empty_batch_gives_no_values(backend):
    value, gradient = value_and_gradient(torch.zeros(0, 4, 5), gamma=0.1, backend=backend)
    assert value.shape == (0,)
    assert gradient.shape == (0, 4, 5)


def test_more_threads_give_the_same_numbers():
    cost = draw(7, 60, 80, dtype=torch.float32)  # enough for four threads
    num_threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 3, 16):
            torch.set_num_threads(number)
            results.append(value_and_gradient(cost, gamma=0.1, backend="numba"))
    finally:
        torch.set_num_threads(num_threads)
    for value, gradient in results[1:]:
        assert torch.equal(value, results[0][0])
        assert torch.equal(gradient, results[0][1])


# ---------------------------------------------------------------- numbers that could overflow


@on_each_backend
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_thousand_random_inputs_stay_finite(backend, dtype):
    generator = torch.Generator().manual_seed(5)
    kinds = {
        "normal": lambda shape: torch.randn(shape, generator=generator),
        "equal": lambda shape: torch.randn((shape[0], 1, 1), generator=generator).expand(shape),
        "zero": torch.zeros,
        "large": lambda shape: 1e4 * (2 * torch.rand(shape, generator=generator) - 1),
        "largest": lambda shape: 1e4 * torch.randint(-1, 2, shape, generator=generator),
    }
    seen = 0
    for fill in kinds.values():
        for _ in range(10):
            num_rows, num_columns = torch.randint(1, 13, (2,), generator=generator).tolist()
            gamma = float(10 ** (8 * torch.rand((), generator=generator) - 4))
            cost = gamma * fill((20, num_rows, num_columns)).to(dtype)
            value, gradient = value_and_gradient(
                cost.clamp(-1e4 * gamma, 1e4 * gamma), gamma=gamma, backend=backend
            )
            assert value.isfinite().all()
            assert torch.all((gradient > -1e-5) & (gradient < 1 + 1e-5))
            torch.testing.assert_close(gradient[:, 0, 0], torch.ones(20, dtype=dtype))
            seen += 20
    assert seen == 1000


@on_each_backend
@pytest.mark.parametrize("gamma", [1e-30, 1e-6, 1e6, 1e30])
def test_any_smoothing_is_finite_within_the_range_of_logits(backend, gamma):
    cost = gamma * draw(2, 5, 6, dtype=torch.float32)
    value, gradient = value_and_gradient(cost, gamma=gamma, backend=backend)
    expected = soft_dtw(draw(2, 5, 6, dtype=torch.float32), gamma=1.0, backend=backend)
    torch.testing.assert_close(value, gamma * expected, rtol=1e-5, atol=0)
    assert gradient.isfinite().all()


@on_each_backend
def test_long_paths_of_large_costs_keep_their_flow(backend):
    # float32 tells partial sums of 1e6 apart by 0.06 only; shares that did not sum to 1 would pile up.
    cost = 1e4 * torch.rand(1, 120, 130, generator=torch.Generator().manual_seed(1))
    _, gradient = value_and_gradient(cost, gamma=1.0, backend=backend)
    torch.testing.assert_close(gradient[0, 0, 0], torch.tensor(1.0))
    assert float(gradient.max()) < 1 + 1e-4


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    "cost",
    [torch.zeros(4, 5), torch.zeros(2, 0, 5), torch.zeros(2, 5, 0), torch.zeros(2, 4, 5, dtype=torch.int64)],
)
def test_costs_of_another_kind_are_named(cost):
    with pytest.raises(ValueError, match=r"cost must be \(B, N, M\) floating point .* got \("):
        soft_dtw(cost, gamma=0.1)


@pytest.mark.parametrize("gamma", [0.0, -1.0, math.nan, math.inf, 1e-31, 1e31])
def test_a_senseless_gamma_is_named(gamma):
    with pytest.raises(ValueError, match=re.escape(f"gamma must lie between 1e-30 and 1e+30, got {gamma}")):
        soft_dtw(torch.zeros(1, 2, 2), gamma=gamma)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1001.0, 1001.0])
def test_costs_beyond_the_range_of_logits_are_refused(value):
    cost = torch.zeros(1, 2, 2)
    cost[0, 0, 1] = value
    with pytest.raises(ValueError, match=r"costs divided by gamma must lie within ±10000, got"):
        soft_dtw(cost, gamma=0.1)


def test_a_band_narrower_than_the_difference_of_unpadded_lengths_is_refused():
    cost = torch.zeros(2, 6, 6)
    row_mask = torch.arange(6) < torch.tensor([6, 2])[:, None]
    assert soft_dtw(cost, gamma=0.1, bandwidth=3).shape == (2,)
    with pytest.raises(
        ValueError, match="a bandwidth of 3 cannot align sequences of lengths 2 and 6: it must be at least 4"
    ):
        soft_dtw(cost, gamma=0.1, bandwidth=3, row_mask=row_mask)
    assert soft_dtw(cost, gamma=0.1, bandwidth=4, row_mask=row_mask).shape == (2,)
    with pytest.raises(ValueError, match="bandwidth must be at least 0, got -1"):
        soft_dtw(cost, gamma=0.1, bandwidth=-1)


@pytest.mark.parametrize(
    "mask",
    [torch.ones(2, 5, dtype=torch.bool), torch.ones(2, 4), torch.ones(4, dtype=torch.bool)],
)
def test_a_mask_of_the_wrong_kind_is_named(mask):
    with pytest.raises(ValueError, match=r"row_mask must be \(2, 4\) bool, got"):
        soft_dtw(torch.zeros(2, 4, 5), gamma=0.1, row_mask=mask)


@pytest.mark.parametrize("row", [[False, True, True, True], [True, False, True, False], [False] * 4])
def test_padding_that_is_not_at_the_end_is_named(row):
    mask = torch.tensor([[True] * 4, row])
    with pytest.raises(ValueError, match=r"column_mask must be True at the start .* in sequence 1"):
        soft_dtw(torch.zeros(2, 5, 4), gamma=0.1, column_mask=mask)


# ---------------------------------------------------------------- the choice of a backend


def test_the_best_backend_at_hand_is_chosen(monkeypatch):
    assert choose_backend("auto", torch.device("cpu")) == "numba"
    assert choose_backend("auto", torch.device("meta")) == "torch"
    assert choose_backend("torch", torch.device("cuda", 0)) == "torch"
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setitem(sys.modules, "triton", None)
    assert choose_backend("auto", torch.device("cpu")) == "torch"
    assert choose_backend("auto", torch.device("cuda", 0)) == "torch"


def test_a_backend_that_is_missing_or_unfit_is_named(monkeypatch):
    cost = torch.zeros(1, 2, 2)
    with pytest.raises(ValueError, match="backend must be 'auto', 'torch', 'numba', 'triton', got 'cython'"):
        soft_dtw(cost, gamma=1.0, backend="cython")
    with pytest.raises(ValueError, match="'numba' computes on the processor, but the tensors are on cuda:0"):
        choose_backend("numba", torch.device("cuda", 0))
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(
        MissingExtraError, match=r"numba, which is not installed: pip install 'narravid\[fast\]'"
    ):
        soft_dtw(cost, gamma=1.0, backend="numba")
    assert float(soft_dtw(cost, gamma=1.0)[0]) == pytest.approx(-math.log(3))
