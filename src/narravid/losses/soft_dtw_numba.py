"""Soft-DTW on the processor, compiled by numba; loaded only when that backend is used (extra `fast`).

Two things make it fast: the cells of an anti-diagonal do not depend on each other, so their inner loops turn
into vector instructions, and in float32 the exponential and the logarithm are short polynomials that the
compiler can vectorise, which calls into the C library are not. float64 keeps the library's functions.

Sequences of a batch are shared out to threads; the compiled code holds no lock of Python.
"""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from numba import njit, types
from numba.extending import overload

from narravid.losses.soft_dtw_torch import FAR

__all__ = ["accumulate", "compiled", "flow_to_predecessors", "in_threads", "numba_soft_dtw", "soft_minimum"]

FloatArray = npt.NDArray[np.floating]
Neighbours = tuple[FloatArray, FloatArray, FloatArray]
Scalar: TypeAlias = Any
"""A number when run, its numba type when compiled."""
Function = TypeVar("Function", bound=Callable[..., object])
DIAGONALS_AT_ONCE = 64
ROWS_PER_STRIP = 32
MIN_CELLS_PER_THREAD = 8192
"""To start a thread for fewer would cost more than it saves."""
UNDERFLOW = np.float32(-87.0)
"""exp() of anything lower counts as 0; the smallest normal float32 is exp(-87.3)."""
LOG2_E = np.float32(math.log2(math.e))
LN2_HIGH = np.float32(0.693359375)
LN2_LOW = np.float32(math.log(2) - 0.693359375)
SQRT_3 = np.float32(math.sqrt(3.0))
LOG_SQRT_3 = np.float32(0.5 * math.log(3.0))
EXP_COEFFICIENTS = tuple(np.float32(1 / math.factorial(k)) for k in range(7))
LOG_COEFFICIENTS = tuple(np.float32(1 / (2 * k + 1)) for k in range(6))


def compiled(function: Function) -> Function:
    """Compile on the first call and keep the result on disk where a folder for it can be written."""
    # numba's cache notices a change of the file that a function is in, not of those that it calls here: this
    # file's content becomes part of the name it is kept under.
    function.__qualname__ += f"_{zlib.crc32(Path(__file__).read_bytes()):08x}"
    # No "reassoc": it would undo the two-part logarithm of 2. NaN cannot occur, as logits are checked.
    fast = {"contract", "arcp", "nnan", "nsz"}
    dispatcher: Any = njit(function, nogil=True, error_model="numpy", fastmath=fast)
    with contextlib.suppress(RuntimeError):  # no such folder: compiled anew in each process
        dispatcher.enable_caching()
    return cast("Function", dispatcher)


def in_threads(work: Callable[[int, int], None], count: int, *, num_threads: int) -> None:
    """Call `work(start, stop)` for equal shares of `count` items, one per thread."""
    num_threads = max(1, min(num_threads, count))
    bounds = [count * part // num_threads for part in range(num_threads + 1)]
    if num_threads == 1:
        work(0, count)
        return
    with ThreadPoolExecutor(num_threads) as threads:
        for _ in threads.map(work, bounds[:-1], bounds[1:]):
            pass


def _exp(x: Scalar) -> Scalar:
    """exp(x) for x <= 0."""
    return math.exp(x)


def _log(x: Scalar) -> Scalar:
    """log(x) for 1 <= x <= 3."""
    return math.log(x)


@overload(_exp)
def _compile_exp(x: Scalar) -> Callable[[Scalar], Scalar]:
    if x != types.float32:

        def library(x: Scalar) -> Scalar:
            return math.exp(x)

        return library

    def polynomial(x: Scalar) -> Scalar:
        # exp(x) = 2^k · exp(rest) with |rest| <= ln(2)/2; relative error 2.3e-7.
        clamped = max(x, UNDERFLOW)
        k = np.int32(clamped * LOG2_E - np.float32(0.5))
        rest = clamped - np.float32(k) * LN2_HIGH
        rest = rest - np.float32(k) * LN2_LOW
        c0, c1, c2, c3, c4, c5, c6 = EXP_COEFFICIENTS
        value = c0 + rest * (c1 + rest * (c2 + rest * (c3 + rest * (c4 + rest * (c5 + rest * c6)))))
        power = np.int32((k + np.int32(127)) << np.int32(23)).view(np.float32)
        return value * power if x >= UNDERFLOW else np.float32(0.0)

    return polynomial


@overload(_log)
def _compile_log(x: Scalar) -> Callable[[Scalar], Scalar]:
    if x != types.float32:

        def library(x: Scalar) -> Scalar:
            return math.log(x)

        return library

    def series(x: Scalar) -> Scalar:
        # log(x) = log(√3) + 2 artanh(z) with |z| <= 0.27; absolute error 2e-7.
        z = (x - SQRT_3) / (x + SQRT_3)
        square = z * z
        c0, c1, c2, c3, c4, c5 = LOG_COEFFICIENTS
        tail = c0 + square * (c1 + square * (c2 + square * (c3 + square * (c4 + square * c5))))
        return LOG_SQRT_3 + (z + z) * tail

    return series


@compiled
def soft_minimum(before: Neighbours, cost: FloatArray, out: FloatArray) -> None:
    """Set out = cost - log(exp(-a) + exp(-b) + exp(-c)), for arrays of one length; a, b, c = before."""
    a, b, c = before
    for k in range(out.shape[0]):
        low = min(a[k], min(b[k], c[k]))
        total = _exp(low - a[k]) + _exp(low - b[k]) + _exp(low - c[k])
        out[k] = cost[k] + low - _log(total)


@compiled
def flow_to_predecessors(before: Neighbours, flow: FloatArray, total: Neighbours) -> None:
    """Add flow · the softmin weight of each of the three of `before` to its total."""
    a, b, c = before
    to_a, to_b, to_c = total
    for k in range(flow.shape[0]):
        low = min(a[k], min(b[k], c[k]))
        from_a, from_b, from_c = _exp(low - a[k]), _exp(low - b[k]), _exp(low - c[k])
        scale = flow[k] / (from_a + from_b + from_c)
        to_a[k] += from_a * scale
        to_b[k] += from_b * scale
        to_c[k] += from_c * scale


@compiled
def accumulate(values: FloatArray, total: FloatArray) -> None:
    """Add values to total, without the temporary array that the operator makes."""
    for k in range(values.shape[0]):
        total[k] += values[k]


@compiled
def _row_range(diagonal: int, shape: tuple[int, int, int]) -> tuple[int, int]:
    """First and last row of an anti-diagonal inside the matrix and the band, from (rows, columns, band)."""
    num_rows, num_columns, band = shape
    first = max(0, diagonal - num_columns + 1, (diagonal - band + 1) // 2)
    last = min(num_rows - 1, diagonal, (diagonal + band) // 2)
    return first, last


@compiled
def _read_slanted(matrix: FloatArray, start: int, shape: tuple[int, int, int], lines: FloatArray) -> None:
    """lines[k, i] = matrix[i, start + k - i]: anti-diagonals, strip by strip to stay within few pages."""
    for strip in range(0, shape[0], ROWS_PER_STRIP):
        for k in range(lines.shape[0]):
            first, last = _row_range(start + k, shape)
            for i in range(max(first, strip), min(last + 1, strip + ROWS_PER_STRIP)):
                lines[k, i] = matrix[i, start + k - i]


@compiled
def _write_slanted(lines: FloatArray, start: int, shape: tuple[int, int, int], matrix: FloatArray) -> None:
    """The reverse of `_read_slanted`."""
    for strip in range(0, shape[0], ROWS_PER_STRIP):
        for k in range(lines.shape[0]):
            first, last = _row_range(start + k, shape)
            for i in range(max(first, strip), min(last + 1, strip + ROWS_PER_STRIP)):
                matrix[i, start + k - i] = lines[k, i]


# The table holds an anti-diagonal per line: cell (i, j) in line (i + j + 2) % lines, column i + 1. Its
# predecessors are (i, j - 1) in the line above at i + 1, (i - 1, j) there at i, and (i - 1, j - 1) two lines
# above at i. Lines 0 and 1 and column 0 are the border in front of the matrix.


@compiled
def _fill_table(cost: FloatArray, shape: tuple[int, int, int], table: FloatArray) -> None:
    num_diagonals = shape[0] + shape[1] - 1
    num_lines = table.shape[0]
    slanted = np.empty((DIAGONALS_AT_ONCE, shape[0]), cost.dtype)
    table[:3] = FAR
    table[0, 0] = 0
    for diagonal in range(num_diagonals):
        k = diagonal % DIAGONALS_AT_ONCE
        if k == 0:
            _read_slanted(cost, diagonal, shape, slanted[: num_diagonals - diagonal])
        first, last = _row_range(diagonal, shape)
        one_back = table[(diagonal + 1) % num_lines]
        two_back = table[diagonal % num_lines]
        cells = table[(diagonal + 2) % num_lines]
        cells[first] = FAR
        cells[last + 2] = FAR
        before = (one_back[first + 1 : last + 2], one_back[first : last + 1], two_back[first : last + 1])
        soft_minimum(before, slanted[k, first : last + 1], cells[first + 1 : last + 2])


@compiled
def _flow_back(shape: tuple[int, int, int], table: FloatArray, alignment: FloatArray) -> None:
    num_rows = shape[0]
    flows = np.zeros((3, num_rows + 1), table.dtype)
    left = np.empty(num_rows, table.dtype)
    above = np.empty(num_rows, table.dtype)
    corner = np.empty(num_rows, table.dtype)
    slanted = np.empty((DIAGONALS_AT_ONCE, num_rows), table.dtype)
    num_diagonals = num_rows + shape[1] - 1
    flows[(num_diagonals - 1) % 3, num_rows] = 1
    for diagonal in range(num_diagonals - 1, -1, -1):
        first, last = _row_range(diagonal, shape)
        count = last - first + 1
        flow = flows[diagonal % 3]
        k = diagonal % DIAGONALS_AT_ONCE
        slanted[k] = flow[1:]
        if k == 0:
            _write_slanted(slanted[: num_diagonals - diagonal], diagonal, shape, alignment)
        one_back, two_back = table[diagonal + 1], table[diagonal]
        before = (one_back[first + 1 : last + 2], one_back[first : last + 1], two_back[first : last + 1])
        # Separate arrays first: those of left and above overlap, which vector instructions could not add to.
        left[:] = 0
        above[:] = 0
        corner[:] = 0
        flow_to_predecessors(
            before, flow[first + 1 : last + 2], (left[:count], above[:count], corner[:count])
        )
        flow[:] = 0
        accumulate(left[:count], flows[(diagonal + 2) % 3, first + 1 : last + 2])
        accumulate(above[:count], flows[(diagonal + 2) % 3, first : last + 1])
        accumulate(corner[:count], flows[(diagonal + 1) % 3, first : last + 1])


@compiled
def _align(
    cost: FloatArray, lengths: npt.NDArray[np.int64], band: int, value: FloatArray, alignment: FloatArray
) -> None:
    with_alignment = alignment.shape[0] > 0
    num_lines = cost.shape[1] + cost.shape[2] + 1 if with_alignment else 3
    table = np.empty((num_lines, cost.shape[1] + 2), cost.dtype)
    for b in range(cost.shape[0]):
        num_rows, num_columns = lengths[b, 0], lengths[b, 1]
        shape = (num_rows, num_columns, band)
        _fill_table(cost[b], shape, table)
        value[b] = table[(num_rows + num_columns) % num_lines, num_rows]
        if with_alignment:
            alignment[b] = 0
            _flow_back(shape, table, alignment[b])


def numba_soft_dtw(
    cost: torch.Tensor, lengths: torch.Tensor, *, band: int, with_alignment: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The numba backend of `soft_dtw.SoftDTWBackend`."""
    value = cost.new_empty(len(cost))
    alignment = torch.empty_like(cost) if with_alignment else cost.new_empty(0, 0, 0)
    arrays = [tensor.detach().numpy() for tensor in (cost, lengths, value, alignment)]

    def work(start: int, stop: int) -> None:
        of_cost, of_lengths, of_value, of_alignment = (array[start:stop] for array in arrays)
        _align(of_cost, of_lengths, band, of_value, of_alignment)

    num_threads = min(torch.get_num_threads(), cost.numel() // MIN_CELLS_PER_THREAD)
    in_threads(work, len(cost), num_threads=num_threads)
    return value, alignment if with_alignment else None
