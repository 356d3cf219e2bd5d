"""Measures of quality as pure functions."""

from narravid.metrics.retrieval import (
    RankCounts,
    chance_metrics,
    rank_counts,
    rank_counts_from_embeddings,
    retrieval_metrics,
    retrieval_metrics_from_embeddings,
    retrieval_ranks,
)

__all__ = [
    "RankCounts",
    "chance_metrics",
    "rank_counts",
    "rank_counts_from_embeddings",
    "retrieval_metrics",
    "retrieval_metrics_from_embeddings",
    "retrieval_ranks",
]
