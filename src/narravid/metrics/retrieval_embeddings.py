"""Retrieval metrics straight from embeddings: the similarity matrix never exists as a whole."""

from __future__ import annotations

from narravid.metrics.embedding_pairs import EmbeddingPairs
from narravid.metrics.ranking import Array, RankCounts, check_targets
from narravid.types import Similarity

__all__ = [
    "bidirectional_rank_counts_from_embeddings",
    "bidirectional_retrieval_metrics_from_embeddings",
    "rank_counts_from_embeddings",
    "retrieval_metrics_from_embeddings",
]


def rank_counts_from_embeddings(
    queries: Array, gallery: Array, *, similarity: Similarity = "dot", targets: Array | None = None
) -> RankCounts:
    """The counts of `rank_counts` without ever holding the whole similarity matrix.

    Scores are products in float64, told apart if they differ by more than 2^-30 of the query's length times
    the greatest length in the gallery; so equal gallery vectors tie wherever they stand and the result does
    not depend on how the work is cut.

    Args:
        queries: (Nq, D) floating point.
        gallery: (Ng, D) floating point.
        similarity: "dot", or "cosine" to L2-normalise both sides first (a zero vector stays zero).
        targets: As for `rank_counts`.

    Returns:
        The counts.

    Raises:
        ValueError: If shapes or targets do not fit, a value is NaN or infinite, or, for "dot", the square of
            a vector's length is beyond float64.
    """
    pairs = EmbeddingPairs(queries, gallery, similarity, names=("queries", "gallery"))
    return pairs.count(gallery_of_query=check_targets(targets, *pairs.shape))[0]


def bidirectional_rank_counts_from_embeddings(
    text: Array,
    video: Array,
    *,
    similarity: Similarity = "dot",
    video_of_text: Array | None = None,
    text_of_video: Array | None = None,
) -> tuple[RankCounts, RankCounts]:
    """The counts of both directions from one product.

    Args:
        text: (N, D) floating point.
        video: (V, D) floating point.
        similarity: "dot" or "cosine".
        video_of_text: (N,) the right video of each text; None: that of the same row.
        text_of_video: (V,) the right text of each video; None: that of the same row.

    Returns:
        Text to video (N queries), then video to text (V queries).

    Raises:
        ValueError: As for `rank_counts_from_embeddings`.
    """
    pairs = EmbeddingPairs(text, video, similarity, names=("text", "video"))
    num_texts, num_videos = pairs.shape
    text_to_video, video_to_text = pairs.count(
        gallery_of_query=check_targets(video_of_text, num_texts, num_videos),
        query_of_gallery=check_targets(text_of_video, num_videos, num_texts),
    )
    return text_to_video, video_to_text


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


def bidirectional_retrieval_metrics_from_embeddings(
    text: Array,
    video: Array,
    *,
    similarity: Similarity = "dot",
    video_of_text: Array | None = None,
    text_of_video: Array | None = None,
) -> dict[str, dict[str, float]]:
    """The metrics of both directions from embeddings, without holding the similarity matrix.

    Args:
        text: As for `bidirectional_rank_counts_from_embeddings`; so are the others.
        video: (V, D) floating point.
        similarity: "dot" or "cosine".
        video_of_text: (N,) the right video of each text.
        text_of_video: (V,) the right text of each video.

    Returns:
        `{"text_to_video": ..., "video_to_text": ...}`, each as from `retrieval_metrics`.

    Raises:
        ValueError: As for `rank_counts_from_embeddings`.

    Example:
        >>> import torch
        >>> text, video = torch.eye(20), torch.eye(20).roll(1, dims=0)
        >>> metrics = bidirectional_retrieval_metrics_from_embeddings(text, video)
        >>> metrics["text_to_video"]["R@1"], metrics["video_to_text"]["MedR"]
        (0.0, 11.0)
    """
    text_to_video, video_to_text = bidirectional_rank_counts_from_embeddings(
        text, video, similarity=similarity, video_of_text=video_of_text, text_of_video=text_of_video
    )
    return {"text_to_video": text_to_video.metrics(), "video_to_text": video_to_text.metrics()}
