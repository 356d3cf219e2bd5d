"""Retrieval metrics of a similarity matrix, in one direction or both.

Ranks are counted, never sorted; ties are settled as `narravid.metrics.ranking` says.
"""

from __future__ import annotations

import torch

from narravid.metrics.ranking import (
    Array,
    RankCounts,
    RankTally,
    check_scores,
    check_targets,
    count_rows,
    count_tiles,
    row_tally,
)

__all__ = [
    "bidirectional_rank_counts",
    "bidirectional_retrieval_metrics",
    "chance_metrics",
    "rank_counts",
    "retrieval_metrics",
    "retrieval_ranks",
]


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
    scores = check_scores("similarity", similarity, axes="(Nq, Ng)")
    return count_rows(scores, check_targets(targets, *scores.shape), name="similarity")


def bidirectional_rank_counts(
    similarity: Array, *, video_of_text: Array | None = None, text_of_video: Array | None = None
) -> tuple[RankCounts, RankCounts]:
    """The counts of both directions from one pass over the matrix.

    Args:
        similarity: (N texts, V videos), otherwise as for `rank_counts`.
        video_of_text: (N,) the right video of each text; None: the diagonal.
        text_of_video: (V,) the right text of each video; None: the diagonal.

    Returns:
        Text to video (N queries), then video to text (V queries).

    Raises:
        ValueError: As for `rank_counts`.
    """
    scores = check_scores("similarity", similarity, axes="(N texts, V videos)")
    num_texts, num_videos = scores.shape
    rows = row_tally(scores, check_targets(video_of_text, num_texts, num_videos))
    texts = check_targets(text_of_video, num_videos, num_texts).to(scores.device)
    columns = RankTally(scores.gather(0, texts[None])[0], axis=1, targets=texts)
    count_tiles(scores, [rows, columns], name="similarity")
    return rows.counts(), columns.counts()


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


def bidirectional_retrieval_metrics(
    similarity: Array, *, video_of_text: Array | None = None, text_of_video: Array | None = None
) -> dict[str, dict[str, float]]:
    """The metrics of finding videos by texts and texts by videos.

    Args:
        similarity: As for `bidirectional_rank_counts`.
        video_of_text: As for `bidirectional_rank_counts`.
        text_of_video: As for `bidirectional_rank_counts`.

    Returns:
        `{"text_to_video": ..., "video_to_text": ...}`, each as from `retrieval_metrics`.

    Raises:
        ValueError: As for `rank_counts`.

    Example:
        Each text finds its video, but both videos prefer the second text:

        >>> metrics = bidirectional_retrieval_metrics(torch.tensor([[0.2, 0.1], [0.3, 0.4]]))
        >>> metrics["text_to_video"]["R@1"], metrics["video_to_text"]["R@1"]
        (1.0, 0.5)
    """
    text_to_video, video_to_text = bidirectional_rank_counts(
        similarity, video_of_text=video_of_text, text_of_video=text_of_video
    )
    return {"text_to_video": text_to_video.metrics(), "video_to_text": video_to_text.metrics()}


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
