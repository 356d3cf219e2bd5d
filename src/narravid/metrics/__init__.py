"""Measures of quality as pure functions."""

from narravid.metrics.ranking import RankCounts
from narravid.metrics.retrieval import (
    bidirectional_rank_counts,
    bidirectional_retrieval_metrics,
    chance_metrics,
    rank_counts,
    retrieval_metrics,
    retrieval_ranks,
)
from narravid.metrics.retrieval_embeddings import (
    bidirectional_rank_counts_from_embeddings,
    bidirectional_retrieval_metrics_from_embeddings,
    rank_counts_from_embeddings,
    retrieval_metrics_from_embeddings,
)

__all__ = [
    "RankCounts",
    "bidirectional_rank_counts",
    "bidirectional_rank_counts_from_embeddings",
    "bidirectional_retrieval_metrics",
    "bidirectional_retrieval_metrics_from_embeddings",
    "chance_metrics",
    "rank_counts",
    "rank_counts_from_embeddings",
    "retrieval_metrics",
    "retrieval_metrics_from_embeddings",
    "retrieval_ranks",
]
