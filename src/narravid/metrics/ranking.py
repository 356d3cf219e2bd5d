"""Ranks by counting: how many gallery entries beat the right one, and how many equal it.

Ties are settled by expectation, never by the order of the gallery: with g entries strictly better than the
right one and t entries equal to it (itself included), its rank is the mean over all ways to break the tie,
g + (t + 1) / 2, and recall at k is the share of those ways that put it among the first k,
clamp((k - g) / t, 0, 1). A model that scores everything alike is therefore at chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

__all__ = [
    "Array",
    "RankCounts",
    "RankTally",
    "check_finite",
    "check_scores",
    "check_targets",
    "count_rows",
    "count_tiles",
    "row_tally",
    "tiles",
]

RECALL_DEPTHS = (1, 5, 10)
CACHED_SCORES = 2**19
"""Scores compared at a time: few enough to stay in a processor's cache between the passes over them, and to
be counted exactly in float32."""
CACHED_SCORES_CUDA = 2**24
"""The same on a GPU, where the cost of starting a pass counts for more."""

Array = torch.Tensor | np.ndarray


@dataclass(frozen=True, slots=True)
class RankCounts:
    """Where the right entry of each query stands.

    Attributes:
        num_better: (Nq,) int64, gallery entries with a strictly higher score than the right one.
        num_tied: (Nq,) int64 >= 1, entries with exactly its score, itself included.
    """

    num_better: torch.Tensor
    num_tied: torch.Tensor

    def ranks(self) -> torch.Tensor:
        """(Nq,) float64 expected ranks, 1 = best."""
        return self.num_better + (self.num_tied.double() + 1) / 2

    def hits(self, depth: int) -> torch.Tensor:
        """(Nq,) float64, for each query the chance that its right entry is among the first `depth`."""
        return ((depth - self.num_better).double() / self.num_tied).clamp(0, 1)

    def recall(self, depth: int) -> float:
        """Expected share of queries whose right entry is among the first `depth`, in [0, 1]."""
        return float(self.hits(depth).mean())

    def metrics(self) -> dict[str, float]:
        """`R@1`, `R@5`, `R@10` as shares in [0, 1]; `MedR`, `MeanR` as ranks from 1."""
        ranks = self.ranks().numpy()
        recalls = {f"R@{depth}": self.recall(depth) for depth in RECALL_DEPTHS}
        return {**recalls, "MedR": float(np.median(ranks)), "MeanR": float(np.mean(ranks))}


class RankTally:
    """Counts for the queries along one axis of a similarity matrix that arrives in tiles.

    Args:
        right: (N,) score of the right entry of each query, of the scores' dtype and device.
        axis: Where the queries lie: 0 = a row is a query, 1 = a column is.
        targets: (N,) place of that entry along the other axis.
    """

    def __init__(self, right: torch.Tensor, *, axis: int, targets: torch.Tensor) -> None:
        self.right = right
        self.axis = axis
        self.targets = targets
        self._better = torch.zeros(len(right), dtype=torch.int64, device=right.device)
        self._tied = torch.zeros_like(self._better)

    def part(self, values: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
        """Those of (N,) values that belong to the queries of a tile, shaped to be compared with it."""
        return values[columns] if self.axis else values[rows, None]

    def add(self, tile: torch.Tensor, rows: slice, columns: slice, *, buffer: torch.Tensor) -> None:
        """Count in the scores of `rows` and `columns`; `buffer` is overwritten and has the tile's shape."""
        right = self.part(self.right, rows, columns)
        # A comparison written as 0.0 or 1.0 and then summed is several times as fast as counting booleans.
        torch.gt(tile, right, out=buffer)
        self.add_counts(rows, columns, better=buffer.sum(dim=1 - self.axis))
        torch.eq(tile, right, out=buffer)
        self.add_counts(rows, columns, tied=buffer.sum(dim=1 - self.axis))

    def add_counts(
        self,
        rows: slice,
        columns: slice,
        *,
        better: torch.Tensor | None = None,
        tied: torch.Tensor | None = None,
    ) -> None:
        """Add what was counted for the queries of a tile."""
        queries = columns if self.axis else rows
        if better is not None:
            self._better[queries] += better.long()
        if tied is not None:
            self._tied[queries] += tied.long()

    def add_better(self, queries: torch.Tensor) -> None:
        """Count in a better gallery entry for each of n queries, (n,) int64, which may repeat."""
        self._better += torch.bincount(queries, minlength=len(self.right))

    def add_pairs(self, scores: torch.Tensor, queries: torch.Tensor) -> None:
        """Count in (n,) scores of gallery entries for n queries, (n,) int64, which may repeat."""
        right = self.right[queries]
        self.add_better(queries[scores > right])
        self._tied += torch.bincount(queries[scores == right], minlength=len(self.right))

    def write_right_scores(self, tile: torch.Tensor, rows: slice, columns: slice) -> None:
        """Put the scores of the right entries into a tile, where it holds them."""
        queries, gallery = (columns, rows) if self.axis else (rows, columns)
        places = self.targets[queries] - gallery.start
        own = ((places >= 0) & (places < gallery.stop - gallery.start)).nonzero()[:, 0]
        index = (places[own], own) if self.axis else (own, places[own])
        tile[index] = self.right[queries][own]

    def counts(self) -> RankCounts:
        """The sums so far, on the CPU."""
        return RankCounts(self._better.cpu(), self._tied.cpu())


def tiles(
    shape: tuple[int, int] | torch.Size, size: int, *, max_columns: int | None = None
) -> list[tuple[slice, slice]]:
    """Cut a matrix into (rows, columns) of at most `size` entries each, as wide as they may be."""
    num_rows, num_columns = shape
    width = min(num_columns, size, max_columns or size)
    height = max(1, size // width)
    return [
        (slice(row, min(row + height, num_rows)), slice(column, min(column + width, num_columns)))
        for row in range(0, num_rows, height)
        for column in range(0, num_columns, width)
    ]


def count_rows(scores: torch.Tensor, targets: torch.Tensor, *, name: str) -> RankCounts:
    """Counts of a matrix whose rows are queries.

    Args:
        scores: (Nq, Ng) float32 or float64.
        targets: (Nq,) int64 place of the right entry of each row.
        name: What messages call the scores.

    Raises:
        ValueError: If a score is NaN or infinite.
    """
    tally = row_tally(scores, targets)
    count_tiles(scores, [tally], name=name)
    return tally.counts()


def row_tally(scores: torch.Tensor, targets: torch.Tensor) -> RankTally:
    """An empty tally for the rows of a matrix, its targets as for `count_rows`."""
    places = targets.to(scores.device)
    return RankTally(scores.gather(1, places[:, None])[:, 0], axis=0, targets=places)


def count_tiles(scores: torch.Tensor, tallies: list[RankTally], *, name: str) -> None:
    """Count a whole matrix into tallies of either axis in one pass over its memory.

    Raises:
        ValueError: If a score is NaN or infinite.
    """
    places = tiles(scores.shape, CACHED_SCORES_CUDA if scores.is_cuda else CACHED_SCORES)
    largest = torch.empty_like(scores[places[0]], memory_format=torch.contiguous_format)
    for rows, columns in places:
        tile = scores[rows, columns]
        check_finite(name, tile, first_row=rows.start, first_column=columns.start)
        buffer = largest[: tile.shape[0], : tile.shape[1]]
        for tally in tallies:
            tally.add(tile, rows, columns, buffer=buffer)


def check_scores(name: str, scores: Array, *, axes: str) -> torch.Tensor:
    """The scores as a tensor without gradient.

    Raises:
        ValueError: If they are not a float32 or float64 matrix with entries; half precision would tie entries
            that differ.
    """
    matrix = torch.as_tensor(scores).detach()
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"{name} must be {axes} and not empty, got {tuple(matrix.shape)}")
    if matrix.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name} must be float32 or float64, got {matrix.dtype}")
    return matrix


def check_targets(
    targets: Array | None, num_queries: int, num_gallery: int, *, name: str = "targets"
) -> torch.Tensor:
    """(Nq,) int64 place of the right entry of each query; None puts it on the diagonal.

    Raises:
        ValueError: If they do not fit.
    """
    if targets is None:
        if num_queries != num_gallery:
            raise ValueError(
                f"{num_queries} queries and {num_gallery} gallery entries: give targets, "
                "the right entry of each query"
            )
        return torch.arange(num_queries)
    places = torch.as_tensor(targets)
    if places.shape != (num_queries,) or places.dtype.is_floating_point or places.dtype == torch.bool:
        raise ValueError(
            f"{name} must be ({num_queries},) integers, got {tuple(places.shape)} {places.dtype}"
        )
    outside = ((places < 0) | (places >= num_gallery)).nonzero()
    if len(outside):
        first = int(outside[0])
        raise ValueError(f"{name}[{first}] is {int(places[first])}, outside [0, {num_gallery})")
    return places.long()


def check_finite(name: str, values: torch.Tensor, *, first_row: int = 0, first_column: int = 0) -> None:
    """Refuse (R, C) values of which one is NaN or infinite.

    Args:
        name: What they are called in the message.
        values: The values, or a tile of them.
        first_row: Row of the whole where the tile starts.
        first_column: Column of the whole where the tile starts.

    Raises:
        ValueError: Naming the first place of the tile.
    """
    if values.sum().isfinite():  # one fast pass; NaN and infinity always show in a sum
        return
    wrong = (~values.isfinite()).nonzero()
    if len(wrong):  # else finite values whose sum is too large
        row, column = (int(place) for place in wrong[0])
        raise ValueError(
            f"{name}[{first_row + row}, {first_column + column}] must be finite, "
            f"got {float(values[row, column])}"
        )
