"""The two sides of a comparison of embeddings: their vectors, and what decides about pairs of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from narravid.metrics.ranking import CACHED_SCORES, Array, RankTally, check_finite
from narravid.types import Similarity

__all__ = ["SMALLEST", "Direction", "Side", "bounds", "products"]

CHECKED_PAIRS = 2**11
"""Pairs multiplied out one by one at a time."""
GRID_BITS = 30
"""Scores are told apart if they differ by more than 2^-GRID_BITS of the greatest possible one."""
ROUNDING = 2.0**-24
"""Largest relative error of rounding to float32, for values of at least SMALLEST."""
SMALLEST = 2.0**-126
"""Smallest normal float32, hence the largest absolute error of rounding a smaller value, even to zero."""
MIN_EXPONENT = -1022
"""Of the normal float64 numbers; two to its negative is one of them too."""


class Side:
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

    def rounded(self) -> torch.Tensor:
        """All vectors in float32, contiguous, scaled by a power of two to lengths below 1."""
        vectors = torch.empty(self.rows.shape, dtype=torch.float32)
        for part in self._parts():
            vectors[part] = torch.ldexp(self.exact(part), torch.tensor(-self.exponent)).float()
        return vectors

    def _parts(self) -> Iterator[slice]:
        height = max(1, CACHED_SCORES // self.dim)
        return (slice(start, start + height) for start in range(0, len(self.rows), height))


class Direction:
    """What it takes to count for the queries along one axis.

    Attributes:
        tally: The counts; its right scores are whole numbers of steps.
        steps: (N,) float64, the step of each query's grid.
        center: (N,) float64, the product of each query and its right entry, scaled as the float32 products.
        error: (N,) float64, how far a scaled float32 product and the score of its pair may lie apart.
        low: (N,) float32; a scaled float32 product below it is surely worse than the right entry.
        high: (N,) float32; one above it is surely better.
    """

    def __init__(self, queries: Side, gallery: Side, targets: torch.Tensor, *, axis: int) -> None:
        own, other = (gallery, queries) if axis else (queries, gallery)
        self.sides = queries, gallery
        targets = targets.to(own.rows.device)
        places = torch.arange(len(own), device=targets.device)
        query_places, gallery_places = (targets, places) if axis else (places, targets)
        right = products(queries, gallery, query_places=query_places, gallery_places=gallery_places)
        reach = own.lengths * other.lengths.max()
        self.steps = torch.ldexp(torch.ones_like(reach), torch.frexp(reach).exponent - GRID_BITS)
        self.tally = RankTally((right / self.steps).round(), axis=axis, targets=targets)

        # `dim` roundings in the terms and their sum, one in each factor, and some more for the terms of
        # second order, which are far smaller; then both scores' way to the grid; then what underflows.
        error = (own.dim + 8) * ROUNDING * reach + self.steps
        scale = torch.tensor(-own.exponent - other.exponent, device=reach.device)
        self.center = torch.ldexp(right, scale)
        self.error = torch.ldexp(error, scale) + 4 * own.dim * SMALLEST
        self.low, self.high = bounds(self.center, self.error)

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
        scores = products(
            *self.sides, query_places=query_places[~is_right], gallery_places=gallery_places[~is_right]
        )
        self.tally.add_pairs((scores / self.steps[own]).round(), own)


def bounds(center: torch.Tensor, error: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,) float32 of the float64 `center - error`, or less, and of `center + error`, or more."""
    infinity = torch.tensor(torch.inf, device=center.device)
    return (
        torch.nextafter((center - error).float(), -infinity),
        torch.nextafter((center + error).float(), infinity),
    )


def products(
    queries: Side, gallery: Side, *, query_places: torch.Tensor, gallery_places: torch.Tensor
) -> torch.Tensor:
    """(n,) float64 products of n pairs, each computed in the same way whatever stands beside it."""
    parts = [
        (queries.exact(own) * gallery.exact(other)).sum(dim=1)
        for own, other in zip(
            torch.split(query_places, CHECKED_PAIRS), torch.split(gallery_places, CHECKED_PAIRS), strict=True
        )
    ]
    return torch.cat(parts)
