"""Counts over all pairs of two sets of embeddings, a block of pairs at a time.

The score of a pair is its product in float64, rounded to a grid of 2^-30 of what the query could reach, the
product of its length and the greatest length in the gallery. Rounding errors of the product are far
smaller, so vectors that are equal, or parallel under cosine, tie wherever they stand, and the counts do not
depend on how the work is cut. On a CPU most pairs never need that product: a float32 one, twice as fast,
differs from it by less than a bound that holds for every order of summation (Higham, Accuracy and Stability
of Numerical Algorithms, section 3.1), and so decides all pairs but the few whose scores lie closer to the
right one. Where the processor multiplies bfloat16 faster still, such a product comes first (`screening`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from narravid.metrics.embedding_sides import Direction, Side
from narravid.metrics.ranking import CACHED_SCORES, CACHED_SCORES_CUDA, Array, RankCounts, tiles
from narravid.metrics.screening import ScreenedProduct, is_screening_fast
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
LEAST_SCREENED = 2**25
"""Scores from which it is worth finding out whether the processor is faster in bfloat16."""
MAX_UNDECIDED = 1 / 64
"""Share of undecided pairs above which a block is multiplied out in float64 instead."""


_Filter = Callable[[slice, slice, list[Direction]], bool]


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

    _is_screened: bool | None = None
    """Whether to screen by a bfloat16 product; None: if it is faster. The counts are the same."""

    def __init__(
        self, queries: Array, gallery: Array, similarity: Similarity, *, names: tuple[str, str]
    ) -> None:
        if similarity not in ("dot", "cosine"):
            raise ValueError(f"similarity must be 'dot' or 'cosine', got {similarity!r}")
        self.queries = Side(names[0], queries, similarity)
        self.gallery = Side(names[1], gallery, similarity)
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
            directions.append(Direction(self.queries, self.gallery, gallery_of_query, axis=0))
        if query_of_gallery is not None:
            directions.append(Direction(self.queries, self.gallery, query_of_gallery, axis=1))
        filters = self._filters(directions)
        for rows, columns in tiles(self.shape, BLOCK_SCORES, max_columns=BLOCK_COLUMNS):
            if not any(count(rows, columns, directions) for count in filters):
                self._count_exactly(rows, columns, directions)
        return [direction.tally.counts() for direction in directions]

    def _filters(self, directions: list[Direction]) -> list[_Filter]:
        """Ways to count a block by products that are only roughly right, the fastest first."""
        if self.queries.rows.is_cuda:  # graphics cards may round products more coarsely than the bounds allow
            return []
        queries, gallery = self.queries.rounded(), self.gallery.rounded()
        filters: list[_Filter] = [_RoundedProduct(queries, gallery).count]
        is_screened = self._is_screened
        if is_screened is None:
            num_scores = self.shape[0] * self.shape[1]
            is_screened = num_scores >= LEAST_SCREENED and is_screening_fast(self.queries.dim)
        if is_screened:
            filters.insert(0, ScreenedProduct(queries, gallery, directions).count)
        return filters

    def _count_exactly(self, rows: slice, columns: slice, directions: list[Direction]) -> None:
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


class _RoundedProduct:
    """Counts a block by its float32 product.

    NumPy's product, because PyTorch's float32 one may be told to round its factors to bfloat16.
    """

    def __init__(self, queries: torch.Tensor, gallery: torch.Tensor) -> None:
        self.queries = queries.numpy()
        self.gallery = gallery.numpy()
        self._memory = np.empty(0, dtype=np.float32)

    def count(self, rows: slice, columns: slice, directions: list[Direction]) -> bool:
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
