"""Retrieval metrics by counting: how many gallery entries beat the right one, and how many equal it.

Ties are settled by expectation, never by the order of the gallery: with g entries strictly better than the
right one and t entries equal to it (itself included), its rank is the mean over all ways to break the tie,
g + (t + 1) / 2, and recall at k is the share of those ways that put it among the first k,
clamp((k - g) / t, 0, 1). A model that scores everything alike is therefore at chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from narravid.types import Similarity

__all__ = [
    "RankCounts",
    "chance_metrics",
    "rank_counts",
    "rank_counts_from_embeddings",
    "retrieval_metrics",
    "retrieval_metrics_from_embeddings",
    "retrieval_ranks",
]

RECALL_DEPTHS = (1, 5, 10)
CACHED_SCORES = 2**18
"""Scores compared at a time: few enough to stay in a processor's cache between the passes over them."""
BLOCK_SCORES = 2**22
"""Scores multiplied out of embeddings at a time: bounds the memory, large enough for a fast product."""

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

    def recall(self, depth: int) -> float:
        """Expected share of queries whose right entry is among the first `depth`, in [0, 1]."""
        room = (depth - self.num_better).double() / self.num_tied
        return float(room.clamp(0, 1).mean())

    def metrics(self) -> dict[str, float]:
        """`R@1`, `R@5`, `R@10` as shares in [0, 1]; `MedR`, `MeanR` as ranks from 1."""
        ranks = self.ranks().numpy()
        recalls = {f"R@{depth}": self.recall(depth) for depth in RECALL_DEPTHS}
        return {**recalls, "MedR": float(np.median(ranks)), "MeanR": float(np.mean(ranks))}


def rank_counts(similarity: Array, targets: Array | None = None) -> RankCounts:
    """Count, for each query, the gallery entries above and level with the right one.

    Args:
        similarity: (Nq, Ng) float32 or float64, higher is better; a row is a query. Half precision is
            refused: it ties entries that differ.
        targets: (Nq,) integers in [0, Ng), the right entry of each query; None puts it on the diagonal of a
            square matrix.

    Returns:
        The counts.

    Raises:
        ValueError: If the shapes, dtype or targets do not fit, or a score is NaN or infinite.
    """
    scores = torch.as_tensor(similarity).detach()
    if scores.ndim != 2 or 0 in scores.shape:
        raise ValueError(f"similarity must be (Nq, Ng) and not empty, got {tuple(scores.shape)}")
    if scores.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"similarity must be float32 or float64, got {scores.dtype}")
    num_queries, num_gallery = scores.shape
    places = _check_targets(targets, num_queries, num_gallery).to(scores.device)
    return RankCounts(*_count(scores, places, first_row=0))


def retrieval_ranks(similarity: Array, targets: Array | None = None) -> torch.Tensor:
    """Expected rank of the right entry for each query.

    Args:
        similarity: As for `rank_counts`.
        targets: As for `rank_counts`.

    Returns:
        (Nq,) float64, 1 = best; halves arise from ties.

    Raises:
        ValueError: As for `rank_counts`.

    Example:
        >>> retrieval_ranks(torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.3, 0.1], [0.7, 0.8, 0.6]]))
        tensor([1.0000, 1.5000, 3.0000], dtype=torch.float64)
    """
    return rank_counts(similarity, targets).ranks()


def retrieval_metrics(similarity: Array, targets: Array | None = None) -> dict[str, float]:
    """Recall at 1, 5 and 10, median and mean rank.

    Args:
        similarity: As for `rank_counts`.
        targets: As for `rank_counts`.

    Returns:
        `{"R@1", "R@5", "R@10"}` as shares in [0, 1], `{"MedR", "MeanR"}` as ranks from 1.

    Raises:
        ValueError: As for `rank_counts`.

    Example:
        Chance on a gallery of 100, from a model that cannot tell anything apart:

        >>> metrics = retrieval_metrics(torch.zeros(100, 100))
        >>> {name: round(value, 3) for name, value in metrics.items()}
        {'R@1': 0.01, 'R@5': 0.05, 'R@10': 0.1, 'MedR': 50.5, 'MeanR': 50.5}
    """
    return rank_counts(similarity, targets).metrics()


def chance_metrics(gallery_size: int) -> dict[str, float]:
    """What a model that scores everything alike is expected to reach.

    Args:
        gallery_size: Gallery entries, one of them right for each query.

    Returns:
        As `retrieval_metrics`.

    Raises:
        ValueError: If the gallery is empty.

    Example:
        >>> chance_metrics(20)
        {'R@1': 0.05, 'R@5': 0.25, 'R@10': 0.5, 'MedR': 10.5, 'MeanR': 10.5}
    """
    if gallery_size < 1:
        raise ValueError(f"gallery_size must be at least 1, got {gallery_size}")
    return RankCounts(torch.tensor([0]), torch.tensor([gallery_size])).metrics()


def rank_counts_from_embeddings(
    queries: Array, gallery: Array, *, similarity: Similarity = "dot", targets: Array | None = None
) -> RankCounts:
    """The counts of `rank_counts` without ever holding the whole similarity matrix.

    Products are taken in float64 and rounded to float32 before they are compared, so that equal gallery
    vectors tie wherever they stand and the result does not depend on how the work is cut.

    Args:
        queries: (Nq, D) floating point.
        gallery: (Ng, D) floating point.
        similarity: "dot", or "cosine" to L2-normalise both sides first (a zero vector stays zero).
        targets: As for `rank_counts`.

    Returns:
        The counts.

    Raises:
        ValueError: If shapes or targets do not fit, or a value or score is NaN or infinite.
    """
    query_rows = _check_embeddings("queries", queries)
    gallery_rows = _check_embeddings("gallery", gallery)
    if query_rows.shape[1] != gallery_rows.shape[1]:
        raise ValueError(
            "queries and gallery must have one width D, "
            f"got {query_rows.shape[1]} and {gallery_rows.shape[1]}"
        )
    if similarity not in ("dot", "cosine"):
        raise ValueError(f"similarity must be 'dot' or 'cosine', got {similarity!r}")
    if similarity == "cosine":
        query_rows = torch.nn.functional.normalize(query_rows, dim=1)
        gallery_rows = torch.nn.functional.normalize(gallery_rows, dim=1)
    num_queries, num_gallery = len(query_rows), len(gallery_rows)
    places = _check_targets(targets, num_queries, num_gallery).to(query_rows.device)

    rows = max(1, BLOCK_SCORES // num_gallery)
    counts = [
        _count((query_rows[start : start + rows] @ gallery_rows.T).float(), part, first_row=start)
        for start, part in zip(range(0, num_queries, rows), torch.split(places, rows), strict=True)
    ]
    return RankCounts(*(torch.cat(parts) for parts in zip(*counts, strict=True)))


def retrieval_metrics_from_embeddings(
    queries: Array, gallery: Array, *, similarity: Similarity = "dot", targets: Array | None = None
) -> dict[str, float]:
    """The metrics of `retrieval_metrics` from embeddings, without holding the similarity matrix.

    Args:
        queries: (Nq, D) floating point.
        gallery: (Ng, D) floating point.
        similarity: "dot" or "cosine".
        targets: As for `rank_counts`.

    Returns:
        As `retrieval_metrics`.

    Raises:
        ValueError: As for `rank_counts_from_embeddings`.
    """
    return rank_counts_from_embeddings(queries, gallery, similarity=similarity, targets=targets).metrics()


def _count(
    scores: torch.Tensor, targets: torch.Tensor, *, first_row: int
) -> tuple[torch.Tensor, torch.Tensor]:
    rows = max(1, CACHED_SCORES // scores.shape[1])
    better, tied = [], []
    for start in range(0, len(scores), rows):
        piece = scores[start : start + rows]
        _check_finite("similarity", piece, first_row=first_row + start)
        right = piece.gather(1, targets[start : start + rows, None])
        better.append((piece > right).sum(dim=1))
        tied.append((piece == right).sum(dim=1))
    return torch.cat(better).cpu(), torch.cat(tied).cpu()


def _check_targets(targets: Array | None, num_queries: int, num_gallery: int) -> torch.Tensor:
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
            f"targets must be ({num_queries},) integers, got {tuple(places.shape)} {places.dtype}"
        )
    outside = ((places < 0) | (places >= num_gallery)).nonzero()
    if len(outside):
        first = int(outside[0])
        raise ValueError(f"targets[{first}] is {int(places[first])}, outside [0, {num_gallery})")
    return places.long()


def _check_embeddings(name: str, embeddings: Array) -> torch.Tensor:
    rows = torch.as_tensor(embeddings).detach()
    if rows.ndim != 2 or 0 in rows.shape or not rows.dtype.is_floating_point:
        raise ValueError(
            f"{name} must be (N, D) floating point and not empty, got {tuple(rows.shape)} {rows.dtype}"
        )
    _check_finite(name, rows, first_row=0)
    return rows.double()


def _check_finite(name: str, values: torch.Tensor, *, first_row: int) -> None:
    lowest, highest = torch.aminmax(values)  # both NaN if any value is; far cheaper than isfinite of each
    if lowest.isfinite() and highest.isfinite():
        return
    row, column = (int(place) for place in (~values.isfinite()).nonzero()[0])
    raise ValueError(f"{name}[{first_row + row}, {column}] must be finite, got {float(values[row, column])}")
