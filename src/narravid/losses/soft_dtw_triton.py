"""Soft-DTW on CUDA, as Triton kernels; loaded only when that backend is used (extra `gpu`).

One program per sequence walks the anti-diagonals, each in blocks of rows, so that neither length is limited
by the size of a block. What one anti-diagonal wrote to memory the next one reads, after a barrier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import triton
import triton.language as tl

from narravid.losses import soft_dtw_torch

__all__ = ["triton_soft_dtw"]

jit = cast("Callable[[Callable[..., object]], Any]", triton.jit)  # which has no types

FAR = tl.constexpr(soft_dtw_torch.FAR)
MAX_BLOCK = 512
"""Rows of an anti-diagonal that a program takes at once."""
OPTIONS = {"enable_fp_fusion": True}
"""Said because Triton's default is about to change."""

# The table (B, lines, N + 2) holds an anti-diagonal per line: cell (i, j) in line (i + j + 2) % lines, column
# i + 1. Its predecessors are (i, j - 1) in the line above at i + 1, (i - 1, j) there at i, and (i - 1, j - 1)
# two lines above at i. Lines 0 and 1 and column 0 are the border in front of the matrix. Derivatives need
# all N + M + 1 lines, values alone only three.


@jit
def _first_row(diagonal: tl.tensor, my_columns: tl.tensor, band: tl.tensor) -> tl.tensor:
    return tl.maximum(tl.maximum(0, diagonal - my_columns + 1), (diagonal - band + 1) // 2)


@jit
def _last_row(diagonal: tl.tensor, my_rows: tl.tensor, band: tl.tensor) -> tl.tensor:
    return tl.minimum(tl.minimum(my_rows - 1, diagonal), (diagonal + band) // 2)


@jit
def _fill_table(
    cost: tl.tensor,
    limits: tl.tensor,
    table: tl.tensor,
    num_rows: tl.tensor,
    num_columns: tl.tensor,
    num_lines: tl.tensor,
    block: tl.constexpr,
) -> None:
    sequence = tl.program_id(0).to(tl.int64)
    my_rows = tl.load(limits + 3 * sequence)
    my_columns = tl.load(limits + 3 * sequence + 1)
    band = tl.load(limits + 3 * sequence + 2)
    cost += sequence * num_rows * num_columns
    table += sequence * num_lines * (num_rows + 2)
    for diagonal in range(0, my_rows + my_columns - 1):
        cells = table + (diagonal + 2) % num_lines * (num_rows + 2)
        one_back = table + (diagonal + 1) % num_lines * (num_rows + 2)
        two_back = table + diagonal % num_lines * (num_rows + 2)
        first = _first_row(diagonal, my_columns, band)
        last = _last_row(diagonal, my_rows, band)
        # One column more on either side: later cells read there that nothing leads this way.
        for start in range(first, last + 3, block):
            column = start + tl.arange(0, block)
            i = column - 1
            inside = (i >= first) & (i <= last)
            left = tl.load(one_back + column, mask=inside, other=FAR)
            above = tl.load(one_back + i, mask=inside, other=FAR)
            corner = tl.load(two_back + i, mask=inside, other=FAR)
            own = tl.load(cost + i.to(tl.int64) * num_columns + diagonal - i, mask=inside, other=0.0)
            low = tl.minimum(left, tl.minimum(above, corner))
            total = tl.exp(low - left) + tl.exp(low - above) + tl.exp(low - corner)
            value = tl.where(inside, own + low - tl.log(total), FAR)
            tl.store(cells + column, value, mask=column <= last + 2)
        tl.debug_barrier()


@jit
def _share(own: tl.tensor, other: tl.tensor, third: tl.tensor) -> tl.tensor:
    """Softmin weight of the first of three."""
    low = tl.minimum(own, tl.minimum(other, third))
    from_own = tl.exp(low - own)
    return from_own / (from_own + tl.exp(low - other) + tl.exp(low - third))


@jit
def _flow_back(
    limits: tl.tensor,
    table: tl.tensor,
    flows: tl.tensor,
    alignment: tl.tensor,
    num_rows: tl.tensor,
    num_columns: tl.tensor,
    block: tl.constexpr,
) -> None:
    sequence = tl.program_id(0).to(tl.int64)
    my_rows = tl.load(limits + 3 * sequence)
    my_columns = tl.load(limits + 3 * sequence + 1)
    band = tl.load(limits + 3 * sequence + 2)
    width = num_rows + 2
    table += sequence * (num_rows + num_columns + 1) * width
    flows += sequence * 3 * width
    alignment += sequence * num_rows * num_columns
    final = my_rows + my_columns - 2
    for step in range(0, final + 1):
        diagonal = final - step
        cells = table + (diagonal + 2) * width
        first = _first_row(diagonal, my_columns, band)
        last = _last_row(diagonal, my_rows, band)
        for start in range(first, last + 1, block):
            i = start + tl.arange(0, block)
            column = i + 1
            j = diagonal - i
            inside = i <= last
            right_inside = inside & (j + 1 < my_columns) & (j + 1 - i <= band)
            below_inside = inside & (i + 1 < my_rows) & (i + 1 - j <= band)
            corner_inside = inside & (i + 1 < my_rows) & (j + 1 < my_columns)
            own = tl.load(cells + column, mask=inside, other=FAR)
            # The shares of this cell in the smoothed minimum of the cells to the right, below, and of both.
            above_right = tl.load(cells + i, mask=right_inside, other=FAR)
            above = tl.load(cells - width + i, mask=right_inside, other=FAR)
            below_left = tl.load(cells + column + 1, mask=below_inside, other=FAR)
            left = tl.load(cells - width + column, mask=below_inside, other=FAR)
            right = tl.load(cells + width + column, mask=corner_inside, other=FAR)
            below = tl.load(cells + width + column + 1, mask=corner_inside, other=FAR)
            next_flow = flows + (diagonal + 1) % 3 * width + column
            corner_flow = flows + (diagonal + 2) % 3 * width + column
            flow = tl.load(next_flow, mask=right_inside, other=0.0) * _share(own, above_right, above)
            flow += tl.load(next_flow + 1, mask=below_inside, other=0.0) * _share(own, below_left, left)
            flow += tl.load(corner_flow + 1, mask=corner_inside, other=0.0) * _share(own, right, below)
            flow = tl.where(diagonal == final, 1.0, flow)
            tl.store(flows + diagonal % 3 * width + column, flow, mask=inside)
            tl.store(alignment + i.to(tl.int64) * num_columns + j, flow, mask=inside)
        tl.debug_barrier()


def triton_soft_dtw(
    cost: torch.Tensor, lengths: torch.Tensor, *, band: int, with_alignment: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The Triton backend of `soft_dtw.SoftDTWBackend`."""
    num_sequences, num_rows, num_columns = cost.shape
    limits = torch.cat([lengths, torch.full_like(lengths[:, :1], band)], dim=1).contiguous()
    num_lines = num_rows + num_columns + 1 if with_alignment else 3
    table = cost.new_empty(num_sequences, num_lines, num_rows + 2)
    table[:, :2] = FAR.value
    table[:, 0, 0] = 0
    block = min(MAX_BLOCK, triton.next_power_of_2(num_rows + 2))
    grid = (num_sequences,)
    if num_sequences:
        _fill_table[grid](cost, limits, table, num_rows, num_columns, num_lines, block, **OPTIONS)
    everyone = torch.arange(num_sequences, device=cost.device)
    value = table[everyone, lengths.sum(dim=1) % num_lines, lengths[:, 0]]
    if not with_alignment:
        return value, None
    alignment = torch.zeros_like(cost)
    flows = cost.new_empty(num_sequences, 3, num_rows + 2)
    if num_sequences:
        _flow_back[grid](limits, table, flows, alignment, num_rows, num_columns, block, **OPTIONS)
    return value, alignment
