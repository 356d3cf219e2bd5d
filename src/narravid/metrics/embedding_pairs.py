"""Counts over all pairs of two sets of embeddings, a block of pairs at a time.

The score of a pair is its product in float64, rounded to a grid of 2^-30 of what the query could reach, the
product of its length and the greatest length in the gallery. Rounding errors of the product are far
smaller, so vectors that are equal, or parallel under cosine, tie wherever they stand, and the counts do not
depend on how the work is cut. On a CPU most pairs never need that product: a float32 one, twice as fast,
differs from it by less than a bound that holds for every order of summation (Higham, Accuracy and Stability
of Numerical Algorithms, section 3.1), and so decides all pairs but the few whose scores lie closer to the
right one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from narravid.metrics.ranking import (
    CACHED_SCORES,
    CACHED_SCORES_CUDA,
    Array,
    RankCounts,
    RankTally,
    check_finite,
    tiles,
)
from narravid.types import Similarity

__all__ = ["EmbeddingPairs"]

BLOCK_SCORES = 2**24
"""Scores multiplied out at a time: bounds the memory (64 MiB in float32, 128 MiB in float64)."""
BLOCK_COLUMNS = 2**12
"""Columns of such a block at most: square blocks multiply fastest."""
STRIP_SCORES = 2**17
"""Scores that one thread compares at a time: few enough for the cache of one core."""
MAX_STRIP_ROWS = 255
"""Rows compared at a time, at most: so many can be counted in bytes."""
CHECKED_PAIRS = 2**11
"""Pairs multiplied out one by one at a time."""
MAX_UNDECIDED = 1 / 64
"""Share of undecided pairs above which a block is multiplied out in float64 instead."""
GRID_BITS = 30
"""Scores are told apart if they differ by more than 2^-GRID_BITS of the greatest possible one."""
ROUNDING = 2.0**-24
"""Largest relative error of rounding to float32, for values of at least SMALLEST."""
SMALLEST = 2.0**-126
"""Smallest normal float32, hence the largest absolute error of rounding a smaller value, even to zero."""
MIN_EXPONENT = -1022
"""Of the normal float64 numbers; two to its negative is one of them too."""


class EmbeddingPairs:
    """Every query with every gallery entry.

    Args:
        queries: (Nq, D) floating point.
        gallery: (Ng, D) floating point.
        similarity: "dot", or "cosine" to L2-normalise both sides first (a zero vector stays zero).
        names: What messages call the two.

    Raises:
        ValueError: If shapes do not fit, a value is NaN or infinite, or, for "dot", a vector too long to be
            squared.
    """

    def __init__(
        self, queries: Array, gallery: Array, similarity: Similarity, *, names: tuple[str, str]
    ) -> None:
        if similarity not in ("dot", "cosine"):
            raise ValueError(f"similarity must be 'dot' or 'cosine', got {similarity!r}")
        self.queries = _Side(names[0], queries, similarity)
        self.gallery = _Side(names[1], gallery, similarity)
        if self.queries.dim != self.gallery.dim:
            raise ValueError(
                f"{names[0]} and {names[1]} must have one width D, "
                f"got {self.queries.dim} and {self.gallery.dim}"
            )
        self.shape = len(self.queries), len(self.gallery)

    def count(
        self, *, gallery_of_query: torch.Tensor | None = None, query_of_gallery: torch.Tensor | None = None
    ) -> list[RankCounts]:
        """Count for the queries, for the gallery entries as queries, or for both.

        Args:
            gallery_of_query: (Nq,) int64, the right gallery entry of each query; None: do not count these.
            query_of_gallery: (Ng,) int64, the right query of each gallery entry; None: do not count these.

        Returns:
            The counts asked for, in this order.
        """
        directions = []
        if gallery_of_query is not None:
            directions.append(_Direction(self, gallery_of_query, axis=0))
        if query_of_gallery is not None:
            directions.append(_Direction(self, query_of_gallery, axis=1))
        # Graphics cards may round float32 products more coarsely than the bound allows.
        is_filtered = not self.queries.rows.is_cuda
        rounded = _RoundedProduct(self.queries, self.gallery) if is_filtered else None
        for rows, columns in tiles(self.shape, BLOCK_SCORES, max_columns=BLOCK_COLUMNS):
            if rounded is None or not rounded.count(rows, columns, directions):
                self._count_exactly(rows, columns, directions)
        return [direction.tally.counts() for direction in directions]

    def products(self, query_places: torch.Tensor, gallery_places: torch.Tensor) -> torch.Tensor:
        """(n,) float64 products of n pairs, each computed in the same way whatever stands beside it."""
        parts = [
            (self.queries.exact(queries) * self.gallery.exact(gallery)).sum(dim=1)
            for queries, gallery in zip(
                torch.split(query_places, CHECKED_PAIRS),
                torch.split(gallery_places, CHECKED_PAIRS),
                strict=True,
            )
        ]
        return torch.cat(parts)

    def _count_exactly(self, rows: slice, columns: slice, directions: list[_Direction]) -> None:
        block = self.queries.exact(rows) @ self.gallery.exact(columns).T
        for strip, lines in _strips(block, rows):
            buffer = torch.empty_like(strip)
            for direction in directions:
                tally = direction.tally
                scores = (strip / tally.part(direction.steps, lines, columns)).round_()
                # Should a product fall where the rounding to the grid changes, its last bit decides, and that
                # may differ from the pair's own product: a right entry must not lose the tie with itself.
                tally.write_right_scores(scores, lines, columns)
                tally.add(scores, lines, columns, buffer=buffer)


class _Side:
    """The vectors of one side, of which float64 copies are made only of what is being multiplied."""

    def __init__(self, name: str, embeddings: Array, similarity: Similarity) -> None:
        rows = torch.as_tensor(embeddings).detach()
        if rows.ndim != 2 or 0 in rows.shape or not rows.dtype.is_floating_point:
            raise ValueError(
                f"{name} must be (N, D) floating point and not empty, got {tuple(rows.shape)} {rows.dtype}"
            )
        check_finite(name, rows)
        self.rows = rows
        self.dim = rows.shape[1]
        self.is_cosine = similarity == "cosine"
        if self.is_cosine:  # exactly 1: the last bit of a length must not choose a query's grid
            self.lengths = torch.ones(len(rows), dtype=torch.float64, device=rows.device)
        else:
            self.lengths = torch.cat([self.exact(part).norm(dim=1) for part in self._parts()])
        too_long = (~self.lengths.square().isfinite()).nonzero()
        if len(too_long):
            raise ValueError(f"{name}[{int(too_long[0])}] is too long a vector to be multiplied in float64")
        self.exponent = int(torch.frexp(self.lengths.max()).exponent)

    def __len__(self) -> int:
        return len(self.rows)

    def exact(self, places: slice | torch.Tensor) -> torch.Tensor:
        """(n, D) float64."""
        vectors = self.rows[places].double()
        if not self.is_cosine:
            return vectors
        # First by a power of two, which changes no digit, because squares of float64 have a range too.
        exponents = torch.frexp(vectors.abs().amax(dim=1, keepdim=True)).exponent.clamp_min(MIN_EXPONENT)
        smallest = torch.finfo(torch.float64).tiny
        return torch.nn.functional.normalize(torch.ldexp(vectors, -exponents), dim=1, eps=smallest)

    def rounded(self) -> np.ndarray:
        """All vectors in float32, contiguous, scaled by a power of two to lengths below 1."""
        vectors = torch.empty(self.rows.shape, dtype=torch.float32)
        for part in self._parts():
            vectors[part] = torch.ldexp(self.exact(part), torch.tensor(-self.exponent)).float()
        return vectors.numpy()

    def _parts(self) -> Iterator[slice]:
        height = max(1, CACHED_SCORES // self.dim)
        return (slice(start, start + height) for start in range(0, len(self.rows), height))


class _Direction:
    """What it takes to count for the queries along one axis.

    Attributes:
        tally: The counts; its right scores are whole numbers of steps.
        steps: (N,) float64, the step of each query's grid.
        low: (N,) float32; a scaled float32 product below it is surely worse than the right entry.
        high: (N,) float32; one above it is surely better.
    """

    def __init__(self, pairs: EmbeddingPairs, targets: torch.Tensor, *, axis: int) -> None:
        own, other = (pairs.gallery, pairs.queries) if axis else (pairs.queries, pairs.gallery)
        self.pairs = pairs
        targets = targets.to(own.rows.device)
        places = torch.arange(len(own), device=targets.device)
        products = pairs.products(targets, places) if axis else pairs.products(places, targets)
        reach = own.lengths * other.lengths.max()
        self.steps = torch.ldexp(torch.ones_like(reach), torch.frexp(reach).exponent - GRID_BITS)
        self.tally = RankTally((products / self.steps).round(), axis=axis, targets=targets)

        # `dim` roundings in the terms and their sum, one in each factor, and some more for the terms of
        # second order, which are far smaller; then both scores' way to the grid; then what underflows.
        error = (own.dim + 8) * ROUNDING * reach + self.steps
        scale = torch.tensor(-own.exponent - other.exponent, device=reach.device)
        center = torch.ldexp(products, scale)
        error = torch.ldexp(error, scale) + 4 * own.dim * SMALLEST
        infinity = torch.tensor(torch.inf, device=reach.device)
        self.low = torch.nextafter((center - error).float(), -infinity)
        self.high = torch.nextafter((center + error).float(), infinity)

    def decide(self, strip: np.ndarray, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Compare scaled float32 products with the bounds.

        With NumPy, on one thread: after a product NumPy's threads stay awake for a while and would stand in
        the way of PyTorch's, and its comparisons are as fast as the memory.

        Returns:
            How many products of each of the strip's queries are surely better, and the places in the
            flattened strip of those that may be better, equal or worse.
        """
        low, high = (self.tally.part(bound, rows, columns).numpy() for bound in (self.low, self.high))
        is_above = strip > high
        if self.tally.axis:
            above = np.add.reduce(is_above.view(np.uint8), axis=0, dtype=np.uint8)
        else:
            above = np.array([np.count_nonzero(line) for line in is_above])
        return above, np.flatnonzero(is_above != (strip >= low))

    def check(self, query_places: torch.Tensor, gallery_places: torch.Tensor) -> None:
        """Count in pairs that no float32 product has decided."""
        own, other = (gallery_places, query_places) if self.tally.axis else (query_places, gallery_places)
        is_right = other == self.tally.targets[own]
        self.tally.add_pairs(self.tally.right[own[is_right]], own[is_right])
        own = own[~is_right]
        products = self.pairs.products(query_places[~is_right], gallery_places[~is_right])
        self.tally.add_pairs((products / self.steps[own]).round(), own)


class _RoundedProduct:
    """Counts a block by its float32 product.

    NumPy's product, because PyTorch's float32 one may be told to round its factors to bfloat16.
    """

    def __init__(self, queries: _Side, gallery: _Side) -> None:
        self.queries = queries.rounded()
        self.gallery = gallery.rounded()
        self._memory = np.empty(0, dtype=np.float32)

    def count(self, rows: slice, columns: slice, directions: list[_Direction]) -> bool:
        """Count a block, unless its float32 product leaves too many pairs undecided.

        Returns:
            Whether the block was counted; if not, nothing of it was.
        """
        block = self._multiply(rows, columns)
        width = block.shape[1]
        better = [np.zeros(block.shape[direction.tally.axis], dtype=np.int64) for direction in directions]
        undecided: list[list[np.ndarray]] = [[] for _ in directions]
        num_left = int(MAX_UNDECIDED * block.size * len(directions))
        height = min(MAX_STRIP_ROWS, max(1, STRIP_SCORES // width))
        for start in range(0, len(block), height):
            strip = block[start : start + height]
            lines = slice(rows.start + start, rows.start + start + len(strip))
            for number, direction in enumerate(directions):
                above, places = direction.decide(strip, lines, columns)
                better[number][slice(None) if direction.tally.axis else slice(start, start + height)] += above
                undecided[number].append(places + start * width)
                num_left -= len(places)
            if num_left < 0:
                return False
        for direction, numbers, parts in zip(directions, better, undecided, strict=True):
            direction.tally.add_counts(rows, columns, better=torch.from_numpy(numbers))
            pairs = torch.from_numpy(np.concatenate(parts))
            direction.check(pairs // width + rows.start, pairs % width + columns.start)
        return True

    def _multiply(self, rows: slice, columns: slice) -> np.ndarray:
        # The memory is used again for each block: to get new pages from the system costs as much as counting.
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        if not len(self._memory):
            self._memory = np.empty(shape[0] * shape[1], dtype=np.float32)
        block = self._memory[: shape[0] * shape[1]].reshape(shape)
        np.matmul(self.queries[rows], self.gallery[columns].T, out=block)
        return block


def _strips(block: torch.Tensor, rows: slice) -> Iterator[tuple[torch.Tensor, slice]]:
    """(scores, rows of the whole matrix) of parts of a block that fit into a processor's cache."""
    height = max(1, (CACHED_SCORES_CUDA if block.is_cuda else CACHED_SCORES) // block.shape[1])
    for start in range(0, len(block), height):
        strip = block[start : start + height]
        yield strip, slice(rows.start + start, rows.start + start + len(strip))
