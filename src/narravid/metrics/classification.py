"""Classification metrics: top-k accuracy, hit@k over videos, class scores of a video from those of its clips.

Ties are settled by expectation, as in `narravid.metrics.ranking`: a label that shares its score with others
counts with the share of the orders of these that put it among the first k, so no order of the classes and no
sorting routine can change a result.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from narravid.metrics.ranking import Array, check_finite, check_scores, check_targets, count_rows

__all__ = ["HitRate", "VideoScores", "average_clip_scores", "hit_at_k", "top_k_accuracy"]

Video = TypeVar("Video", bound=Hashable)


def top_k_accuracy(scores: Array, labels: Array, *, ks: Iterable[int] = (1, 5)) -> dict[str, float]:
    """Share of samples whose label is among the k classes of highest score.

    Args:
        scores: (B, C) float32 or float64 of any memory layout, higher is better; logits, decision values and
            probabilities rank alike.
        labels: (B,) integers in [0, C).
        ks: Depths, each at least 1; one beyond C counts all classes.

    Returns:
        `{"top1": ..., "top5": ...}` with one entry for each k, shares in [0, 1].

    Raises:
        ValueError: If shapes, labels or depths do not fit, or a score is NaN or infinite.

    Example:
        >>> scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.4, 0.4, 0.2]])
        >>> top_k_accuracy(scores, torch.tensor([1, 2, 0]), ks=(1, 2))
        {'top1': 0.5, 'top2': 0.6666666666666666}
    """
    depths = _check_depths(ks)
    matrix = check_scores("scores", scores, axes="(B, C)")
    counts = count_rows(matrix, check_targets(labels, *matrix.shape, name="labels"), name="scores")
    return {f"top{depth}": counts.recall(depth) for depth in depths}


@dataclass(frozen=True, slots=True)
class HitRate:
    """Hits over a set of videos.

    Attributes:
        hits: `hit@k` for each k: share in [0, 1] of all labelled videos.
        num_videos: Labelled videos, the denominator.
        missing: Those without a prediction, which count as misses, in the order of the labels.
    """

    hits: dict[str, float]
    num_videos: int
    missing: tuple[Hashable, ...]


def hit_at_k(
    scores: Mapping[Video, Array], labels: Mapping[Video, int], *, ks: Iterable[int] = (1, 5)
) -> HitRate:
    """Share of videos whose label is among the k classes of highest score; a video without scores is a miss.

    Args:
        scores: For each video that has a prediction its (C,) float32 or float64 class scores.
        labels: For each video of the set its label, an integer in [0, C).
        ks: Depths, each at least 1.

    Returns:
        The shares, and which videos had no prediction.

    Raises:
        ValueError: If there is no label, a prediction has none, or shapes, labels or scores do not fit.

    Example:
        >>> result = hit_at_k({"a": torch.tensor([0.1, 0.9])}, {"a": 1, "b": 0}, ks=(1,))
        >>> result.hits, result.missing
        ({'hit@1': 0.5}, ('b',))
    """
    depths = _check_depths(ks)
    if not labels:
        raise ValueError("labels must name at least one video")
    unknown = [video for video in scores if video not in labels]
    if unknown:
        raise ValueError(f"video {unknown[0]!r} has scores but no label ({len(unknown)} such videos)")
    missing = tuple(video for video in labels if video not in scores)
    shares = dict.fromkeys(depths, 0.0)
    predicted = [video for video in labels if video in scores]
    if predicted:
        rows = [_class_scores(video, scores[video]) for video in predicted]
        widths = sorted({len(row) for row in rows})
        if len(widths) > 1:
            raise ValueError(f"all videos must have scores of the same classes, got {widths} of them")
        places = [_label(video, labels[video], widths[0]) for video in predicted]
        counts = count_rows(torch.stack(rows), torch.tensor(places), name="scores")
        shares = {depth: counts.recall(depth) * len(predicted) / len(labels) for depth in depths}
    return HitRate({f"hit@{depth}": share for depth, share in shares.items()}, len(labels), missing)


@dataclass(frozen=True, slots=True)
class VideoScores:
    """Class scores of videos.

    Attributes:
        videos: (V,) the videos, in the order in which their first clips came.
        scores: (V, C) float64 mean of each one's clip scores.
        num_clips: (V,) int64 clips of each.
    """

    videos: tuple[Hashable, ...]
    scores: torch.Tensor
    num_clips: torch.Tensor

    def best(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(V,) int64 class of highest score, the first of equal ones, and its (V,) float64 score."""
        values, _ = self.scores.max(dim=1)
        return torch.from_numpy(np.argmax(self.scores.numpy(), axis=1)), values  # NumPy promises the first


def average_clip_scores(clip_scores: Array, videos: Sequence[Hashable]) -> VideoScores:
    """Class scores of each video: the mean of its clips' raw scores, not of their softmax.

    Args:
        clip_scores: (n, C) floating point, one row for each clip of any video, in any order.
        videos: (n,) the video of each clip.

    Returns:
        One row for each video.

    Raises:
        ValueError: If the shapes do not fit, there is no clip, or a score is NaN or infinite.

    Example:
        >>> clips = torch.tensor([[1.0, 3.0], [4.0, 0.0], [2.0, 2.0]])
        >>> result = average_clip_scores(clips, ["a", "b", "a"])
        >>> result.videos, result.scores.tolist(), result.best()[0].tolist()
        (('a', 'b'), [[1.5, 2.5], [4.0, 0.0]], [1, 0])
    """
    scores = torch.as_tensor(clip_scores).detach()
    if scores.ndim != 2 or 0 in scores.shape or not scores.dtype.is_floating_point:
        raise ValueError(
            "clip_scores must be (n, C) floating point and not empty, "
            f"got {tuple(scores.shape)} {scores.dtype}"
        )
    check_finite("clip_scores", scores)
    if len(videos) != len(scores):
        raise ValueError(f"videos must name the video of each of {len(scores)} clips, got {len(videos)}")
    numbers = {video: number for number, video in enumerate(dict.fromkeys(videos))}
    places = torch.tensor([numbers[video] for video in videos])
    sums = torch.zeros(len(numbers), scores.shape[1], dtype=torch.float64)
    sums.index_add_(0, places, scores.double().cpu())
    num_clips = torch.bincount(places, minlength=len(numbers))
    return VideoScores(tuple(numbers), sums / num_clips[:, None], num_clips)


def _check_depths(ks: Iterable[int]) -> list[int]:
    depths = list(ks)
    if not depths or min(depths) < 1:
        raise ValueError(f"ks must be at least one depth of at least 1, got {depths}")
    return depths


def _class_scores(video: Hashable, scores: Array) -> torch.Tensor:
    row = torch.as_tensor(scores).detach().cpu()
    if row.ndim != 1 or not len(row) or row.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"scores of video {video!r} must be (C,) float32 or float64, got {tuple(row.shape)} {row.dtype}"
        )
    check_finite(f"scores of video {video!r}", row[None])
    return row.double()


def _label(video: Hashable, label: int, num_classes: int) -> int:
    if not 0 <= label < num_classes:
        raise ValueError(f"label of video {video!r} is {label}, outside [0, {num_classes})")
    return label
