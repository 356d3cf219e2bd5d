"""Most pairs of two sets of embeddings decided by a bfloat16 product, at a fraction of a float32 one.

Let q' and g' be a query q and a gallery entry g rounded to bfloat16. By the inequality of Cauchy and Schwarz

    |q g - q' g'| = |(q - q') g + q' (g - g')| <= |q - q'| |g| + |q'| |g - g'|,

where the lengths of the differences are known, since they are computed, not estimated. The product of q' and
g' is summed in float32, in which their digits multiply exactly, and rounded to bfloat16. That never swaps two
numbers, so it is compared with bounds rounded in the same way. About one pair in 200 lies between the bounds:
such a pair gets its float32 product, and if that decides no more, its float64 one.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

from narravid.metrics.embedding_sides import SMALLEST, Direction, bounds
from narravid.metrics.ranking import CACHED_SCORES

__all__ = ["ScreenedProduct", "is_screening_fast"]

PART_SCORES = 2**22
"""Scores multiplied at a time: few enough for the processor's shared cache."""
STRIP_SCORES = 2**19
"""Scores compared at a time: few enough for the caches of the cores."""
MAX_UNDECIDED = 1 / 16
"""Share of undecided pairs above which a block is left to the float32 product of all its pairs."""
MAX_FAILURES = 2
"""Blocks left like that before no more are tried."""
SPEED_UP = 2
"""How many times as fast as the float32 product the bfloat16 one must be to pay."""
RACE_SHAPE = (512, 1024)
"""Vectors on the two sides of the products that are timed."""


class ScreenedProduct:
    """Counts a block by its bfloat16 product.

    Args:
        queries: (Nq, D) float32, contiguous, their lengths below 1.
        gallery: (Ng, D) float32 likewise.
        directions: What is to be counted.
    """

    def __init__(self, queries: torch.Tensor, gallery: torch.Tensor, directions: list[Direction]) -> None:
        self.queries = _HalfSide(queries)
        self.gallery = _HalfSide(gallery)
        self._screens = [_Screen(direction, self.queries, self.gallery) for direction in directions]
        self._memory = torch.empty(0, dtype=torch.bfloat16)
        self._num_failures = 0

    def count(self, rows: slice, columns: slice, directions: list[Direction]) -> bool:
        """Count a block, unless its product leaves too many pairs undecided.

        Args:
            rows: Queries of the block.
            columns: Gallery entries of the block.
            directions: Those that were given to the constructor.

        Returns:
            Whether the block was counted; if not, nothing of it was.
        """
        if self._num_failures >= MAX_FAILURES:
            return False
        width = columns.stop - columns.start
        num_left = int(MAX_UNDECIDED * (rows.stop - rows.start) * width * len(directions))
        height = max(1, PART_SCORES // width)
        parts = []
        for start in range(rows.start, rows.stop, height):
            lines = slice(start, min(start + height, rows.stop))
            part = self._multiply(lines, columns)
            for screen in self._screens:
                above, places = screen.decide(part, lines, columns)
                parts.append((screen, lines, above, places))
                num_left -= len(places)
            if num_left < 0:
                self._num_failures += 1
                return False
        for screen, lines, above, places in parts:
            screen.direction.tally.add_counts(lines, columns, better=above)
            self._check(screen.direction, lines, columns, places)
        return True

    def _multiply(self, rows: slice, columns: slice) -> torch.Tensor:
        # The memory is used again for each part: to get new pages from the system costs as much as counting.
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        if len(self._memory) < shape[0] * shape[1]:
            self._memory = torch.empty(shape[0] * shape[1], dtype=torch.bfloat16)
        part = self._memory[: shape[0] * shape[1]].view(shape)
        return torch.mm(self.queries.half[rows], self.gallery.half[columns].T, out=part)

    def _check(self, direction: Direction, rows: slice, columns: slice, places: torch.Tensor) -> None:
        """Count in the pairs at (n,) increasing places of a flattened part."""
        width = columns.stop - columns.start
        lines, entries = places // width, places % width
        scores = _sampled_products(self.queries.rows[rows], self.gallery.rows[columns], lines, entries)
        lines, entries = lines + rows.start, entries + columns.start
        own = entries if direction.tally.axis else lines
        is_above = scores > direction.high[own]
        direction.tally.add_better(own[is_above])
        is_open = ~is_above & (scores >= direction.low[own])
        direction.check(lines[is_open], entries[is_open])


class _HalfSide:
    """The vectors of one side in bfloat16, and how far that is from what they were.

    Attributes:
        rows: (N, D) float32, the vectors.
        half: (N, D) bfloat16, the same rounded.
        lengths: (N,) float64, at least the lengths of the vectors, rounded or not.
        distances: (N,) float64, the distances of the vectors, before float32, from the rounded ones.
    """

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows
        self.half = rows.bfloat16()
        # Differences of float32 and its rounding are float32 themselves. What float32 had lost, and the last
        # digits of the lengths here, are part of the error of a float32 product, which counts below too.
        height = max(1, CACHED_SCORES // rows.shape[1])
        parts = list(zip(torch.split(rows, height), torch.split(self.half, height), strict=True))
        self.distances = torch.cat([(full - half).double().norm(dim=1) for full, half in parts])
        self.lengths = torch.cat([full.double().norm(dim=1) for full, _ in parts]) + self.distances


class _Screen:
    """The bounds of one direction for bfloat16 products.

    Attributes:
        direction: The direction.
        low: (N,) bfloat16; a product below it is surely worse than the right entry.
        high: (N,) bfloat16; one above it is surely better.
    """

    def __init__(self, direction: Direction, queries: _HalfSide, gallery: _HalfSide) -> None:
        self.direction = direction
        own, other = (gallery, queries) if direction.tally.axis else (queries, gallery)
        rounding = own.distances * other.lengths.max() + own.lengths * other.distances.max()
        # The error of a float32 product, thrice because processors may cut off the digits of bfloat16 sums
        # instead of rounding them; and what underflows, in the product and when bfloat16 is written.
        error = rounding + 3 * direction.error + 4 * SMALLEST
        low, high = bounds(direction.center, error)
        self.low, self.high = low.bfloat16(), high.bfloat16()
        self._above = torch.empty(0, dtype=torch.bfloat16)
        self._is_open = torch.empty(0, dtype=torch.bfloat16)

    def decide(self, part: torch.Tensor, rows: slice, columns: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Compare bfloat16 products with the bounds.

        Returns:
            How many products of each of the part's queries are surely better, and the increasing places in
            the flattened part of those that may be better, equal or worse.
        """
        tally = self.direction.tally
        low, high = (tally.part(bound, rows, columns) for bound in (self.low, self.high))
        better = torch.zeros(part.shape[tally.axis], dtype=torch.float32)
        is_open = self._memory(part)
        height = max(1, STRIP_SCORES // part.shape[1])
        for start in range(0, len(part), height):
            lines = slice(start, min(start + height, len(part)))
            strip, not_below = part[lines], is_open[lines]
            above = self._above[: strip.numel()].view(strip.shape)
            # Comparisons written as 1.0 or 0.0 are several times as fast as those written as booleans.
            torch.gt(strip, high if tally.axis else high[lines], out=above)
            torch.ge(strip, low if tally.axis else low[lines], out=not_below)
            counts = above.sum(dim=1 - tally.axis, dtype=torch.float32)
            better[slice(None) if tally.axis else lines] += counts
            not_below.view(torch.int16).bitwise_xor_(above.view(torch.int16))
        return better, _places(is_open.view(-1))

    def _memory(self, part: torch.Tensor) -> torch.Tensor:
        """What is as large as a part and used again for each."""
        if len(self._is_open) < part.numel():
            self._is_open = torch.empty(part.numel(), dtype=torch.bfloat16)
            self._above = torch.empty(max(STRIP_SCORES, part.shape[1]), dtype=torch.bfloat16)
        return self._is_open[: part.numel()].view(part.shape)


def is_screening_fast(dim: int) -> bool:
    """Whether this processor multiplies bfloat16 so much faster than float32 that it pays, and rightly.

    Rightly: sums of whole numbers come out as float32 gives them, rounded once to the nearest bfloat16.

    Args:
        dim: D, numbers in a vector.
    """
    generator = torch.Generator().manual_seed(0)
    queries, gallery = (
        torch.randint(-15, 16, (size, dim), generator=generator).float() for size in RACE_SHAPE
    )
    expected = (queries.double() @ gallery.double().T).bfloat16()
    half_queries, half_gallery = queries.bfloat16(), gallery.bfloat16().T
    product = torch.empty_like(expected)
    half_seconds = _fastest(lambda: torch.mm(half_queries, half_gallery, out=product))
    if not torch.equal(product, expected) or not _has_sampled_products(queries, gallery):
        return False
    left, right = queries.numpy(), gallery.numpy().T
    full_product = np.empty(RACE_SHAPE, dtype=np.float32)
    return SPEED_UP * half_seconds < _fastest(lambda: np.matmul(left, right, out=full_product))


def _has_sampled_products(queries: torch.Tensor, gallery: torch.Tensor) -> bool:
    """Whether this build of PyTorch has the sparse product that undecided pairs need."""
    first = torch.zeros(1, dtype=torch.int64)
    try:
        sampled = _sampled_products(queries, gallery, first, first)
    except RuntimeError:
        return False
    return bool(sampled[0] == queries[0] @ gallery[0])  # whole numbers, far from the limits of float32


def _fastest(function: Callable[[], object]) -> float:
    """Seconds of the fastest of some calls, after a first one."""
    function()
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _places(numbers: torch.Tensor) -> torch.Tensor:
    """(n,) int64, the increasing places of those of (N,) bfloat16 numbers, mostly 0.0, that are not."""
    if len(numbers) % 4:
        return numbers.view(torch.int16).nonzero()[:, 0]
    quadruples = numbers.view(torch.int64)  # a quarter as many to search
    filled = quadruples.nonzero()[:, 0]
    found = quadruples[filled].view(torch.int16).view(-1, 4).nonzero()
    return filled[found[:, 0]] * 4 + found[:, 1]


def _sampled_products(
    queries: torch.Tensor, gallery: torch.Tensor, lines: torch.Tensor, entries: torch.Tensor
) -> torch.Tensor:
    """(n,) float32 products of n pairs, in the order of the queries' lines."""
    starts = torch.zeros(len(queries) + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(lines, minlength=len(queries)), dim=0, out=starts[1:])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)  # once: not yet final
        places = torch.sparse_csr_tensor(
            starts,
            entries,
            torch.zeros(len(entries)),
            (len(queries), len(gallery)),
            check_invariants=False,
        )
        scores: torch.Tensor = torch.sparse.sampled_addmm(places, queries, gallery.T, beta=0.0).values()
    return scores
