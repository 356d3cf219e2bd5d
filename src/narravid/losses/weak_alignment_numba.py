"""S2DTW of all pairs of a batch, compiled by numba; loaded only when that backend is used (extra `fast`).

One pass per block of pairs takes the similarities to pair costs and to their derivatives, with the pairs as
the innermost axis of every table: each step of the recursion is a handful of vector instructions over pairs,
and the tables of a block stay in the processor's cache. Blocks are shared out to threads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from narravid.losses.soft_dtw_numba import (
    FloatArray,
    accumulate,
    compiled,
    flow_to_predecessors,
    in_threads,
    soft_minimum,
)
from narravid.losses.soft_dtw_torch import FAR

__all__ = ["numba_pair_costs"]

PAIRS_PER_BLOCK = 128
"""With eight clips two tables of 162 KiB."""
MIN_PAIRS_PER_THREAD = 2048
"""Half a millisecond of work with eight clips: to start a thread for fewer would save little."""
LOG_3 = float(np.log(3.0))


@compiled
def _local_costs(negated: FloatArray, local: FloatArray) -> None:
    """The smoothed costs (N, M, L) of negated similarities (N, M, L)."""
    for i in range(negated.shape[0]):
        for j in range(negated.shape[1]):
            if i > 0 and j > 0:
                before = (negated[i, j - 1], negated[i - 1, j], negated[i - 1, j - 1])
                soft_minimum(before, negated[i, j], local[i, j])
                continue
            local[i, j] = negated[i, j]
            if i > 0:
                accumulate(negated[i - 1, j], local[i, j])
            elif j > 0:
                accumulate(negated[i, j - 1], local[i, j])
            else:
                local[i, j] -= LOG_3  # three free predecessors


# Cell (r, c) of the interleaved matrix lies at (r + 1, c + 1) of the table, behind a border; so the local
# cost of clip i and sentence j is at (2 i + 2, 2 j + 2).


@compiled
def _fill_table(local: FloatArray, skip_cost: FloatArray, table: FloatArray) -> None:
    table[0] = FAR
    table[:, 0] = FAR
    table[0, 0] = 0
    for r in range(1, table.shape[0]):
        for c in range(1, table.shape[1]):
            cost = local[r // 2 - 1, c // 2 - 1] if r % 2 == 0 and c % 2 == 0 else skip_cost
            soft_minimum((table[r, c - 1], table[r - 1, c], table[r - 1, c - 1]), cost, table[r, c])


@compiled
def _flow_back(table: FloatArray, flows: FloatArray) -> None:
    """From 1 at the last cell of each pair to every cell's share of the paths."""
    for r in range(table.shape[0] - 1, 0, -1):
        for c in range(table.shape[1] - 1, 0, -1):
            before = (table[r, c - 1], table[r - 1, c], table[r - 1, c - 1])
            flow_to_predecessors(before, flows[r, c], (flows[r, c - 1], flows[r - 1, c], flows[r - 1, c - 1]))


@compiled
def _through_local_costs(negated: FloatArray, flows: FloatArray, gradient: FloatArray) -> None:
    """Derivatives (N, M, L) by the negated similarities."""
    gradient[:] = 0
    for i in range(negated.shape[0]):
        for j in range(negated.shape[1]):
            flow = flows[2 * i + 2, 2 * j + 2]
            accumulate(flow, gradient[i, j])
            if i > 0 and j > 0:
                before = (negated[i, j - 1], negated[i - 1, j], negated[i - 1, j - 1])
                total = (gradient[i, j - 1], gradient[i - 1, j], gradient[i - 1, j - 1])
                flow_to_predecessors(before, flow, total)
            elif i > 0:
                accumulate(flow, gradient[i - 1, j])
            elif j > 0:
                accumulate(flow, gradient[i, j - 1])


@compiled
def _negate(source: FloatArray, first: int, target: FloatArray, target_first: int, size: int) -> None:
    """Copy some pairs of (N, M, pairs) with the opposite sign."""
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            for k in range(size):
                target[i, j, target_first + k] = -source[i, j, first + k]


@compiled
def _pair_costs(
    similarity: FloatArray,
    lengths: npt.NDArray[np.int64],
    skip_cost: float,
    share: tuple[int, int],
    value: FloatArray,
    gradient: FloatArray,
) -> None:
    """`numba_pair_costs` for the pairs from share[0] to share[1]; no gradient if that array is empty."""
    num_rows, num_columns = similarity.shape[:2]
    for start in range(share[0], share[1], PAIRS_PER_BLOCK):
        size = min(PAIRS_PER_BLOCK, share[1] - start)
        ends = 2 * lengths[start : start + size] + 1
        negated = np.empty((num_rows, num_columns, size), similarity.dtype)
        _negate(similarity, start, negated, 0, size)
        local = np.empty_like(negated)
        _local_costs(negated, local)
        table = np.empty((2 * num_rows + 2, 2 * num_columns + 2, size), similarity.dtype)
        _fill_table(local, np.full_like(negated[0, 0], skip_cost), table)
        for k in range(size):
            value[start + k] = table[ends[k, 0], ends[k, 1], k]
        if gradient.shape[0] > 0:
            flows = np.zeros_like(table)
            for k in range(size):
                flows[ends[k, 0], ends[k, 1], k] = 1
            _flow_back(table, flows)
            _through_local_costs(negated, flows, local)
            _negate(local, 0, gradient, start, size)


def numba_pair_costs(
    similarity: torch.Tensor, lengths: torch.Tensor, skip_cost: float, *, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S2DTW of many pairs with gamma = 1.

    Args:
        similarity: (N, M, P) float32 or float64, contiguous, detached: clips, sentences, pairs.
        lengths: (P, 2) int64, how many clips and sentences of each pair are real.
        skip_cost: What a step costs that matches nothing.
        with_gradient: Whether the second result is wanted.

    Returns:
        (P,) pair costs, and (N, M, P) d cost / d similarity.
    """
    value = similarity.new_empty(similarity.shape[2])
    gradient = torch.empty_like(similarity) if with_gradient else similarity.new_empty(0, 0, 0)
    arrays = [tensor.detach().numpy() for tensor in (similarity, lengths, value, gradient)]

    def work(start: int, stop: int) -> None:
        of_similarity, of_lengths, of_value, of_gradient = arrays
        _pair_costs(of_similarity, of_lengths, skip_cost, (start, stop), of_value, of_gradient)

    num_threads = min(torch.get_num_threads(), similarity.shape[2] // MIN_PAIRS_PER_THREAD)
    in_threads(work, similarity.shape[2], num_threads=num_threads)
    return value, gradient if with_gradient else None
