"""HTM-Align: whether a text is placed where it is shown, and whether it is shown at all.

Protocol of Han et al., Temporal Alignment Networks for Long-term Video, CVPR 2022, arXiv 2204.02968. Seconds
of equal score are settled by expectation, as in `narravid.metrics.ranking`; what no window saw is a miss.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from narravid.metrics.ranking import Array
from narravid.types import Span

__all__ = [
    "AlignedVideo",
    "AlignmentMetrics",
    "RocAuc",
    "TextOutcomes",
    "htm_align_metrics",
    "roc_auc",
    "text_outcomes",
]


@dataclass(frozen=True, slots=True)
class RocAuc:
    """Area under the receiver operating characteristic curve.

    Attributes:
        value: In [0, 1]; NaN where it is not defined.
        reason: Why it is not defined; None where it is.
    """

    value: float
    reason: str | None = None


def roc_auc(scores: Array, labels: Array) -> RocAuc:
    """The chance that a positive scores above a negative, ties counting half.

    Args:
        scores: (n,) floating point, higher means positive.
        labels: (n,) bool, or integers 0 and 1.

    Returns:
        The area; NaN with the reason if all labels are equal or there are none.

    Raises:
        ValueError: If shapes or labels do not fit, or a score is NaN or infinite.

    Example:
        >>> roc_auc(torch.tensor([0.9, 0.4, 0.4, 0.1]), torch.tensor([1, 1, 0, 0])).value
        0.875
        >>> roc_auc(torch.tensor([0.9, 0.4]), torch.tensor([1, 1]))
        RocAuc(value=nan, reason='all 2 labels are positive')
    """
    values = torch.as_tensor(scores).detach()
    if values.ndim != 1 or not values.dtype.is_floating_point:
        raise ValueError(f"scores must be (n,) floating point, got {tuple(values.shape)} {values.dtype}")
    truth = torch.as_tensor(labels)
    if truth.shape != values.shape or not ((truth == 0) | (truth == 1)).all():
        raise ValueError(f"labels must be {tuple(values.shape)} of 0 and 1, got {tuple(truth.shape)}")
    wrong = (~values.isfinite()).nonzero()
    if len(wrong):
        place = int(wrong[0])
        raise ValueError(f"scores[{place}] must be finite, got {float(values[place])}")
    return _roc_auc(values.double().cpu().numpy(), truth.bool().cpu().numpy())


@dataclass(frozen=True, slots=True)
class AlignedVideo:
    """What an aligner says of one video, and the truth.

    Attributes:
        name: What messages call it.
        similarity: (N, T) floating point similarity of each text and each whole second.
        spans: (N,) where each text is shown; of one that is not alignable, when it is spoken.
        is_alignable: (N,) whether the text is shown at all.
        is_covered: (N, T) bool, which similarities mean anything; None: all. The others are not looked at.
        alignability: (N,) floating point score of being alignable; None: the greatest covered similarity.
    """

    name: str
    similarity: Array
    spans: Sequence[Span]
    is_alignable: Sequence[bool]
    is_covered: Array | None = None
    alignability: Array | None = None


@dataclass(frozen=True, slots=True)
class AlignmentMetrics:
    """Results over all texts of all videos.

    Attributes:
        recall: R@1 in [0, 1] of the alignable texts; NaN if there are none.
        roc_auc: Of alignability, over all texts.
        num_videos: Videos.
        num_texts: Texts.
        num_alignable: Those that are alignable.
        num_uncovered: Texts that no window saw: a miss if alignable, and the lowest score of alignability.
        text_coverage: Share of the texts that a window saw, in [0, 1].
    """

    recall: float
    roc_auc: RocAuc
    num_videos: int
    num_texts: int
    num_alignable: int
    num_uncovered: int
    text_coverage: float


@dataclass(frozen=True, slots=True, eq=False)
class TextOutcomes:
    """What became of the texts of one video.

    Attributes:
        hits: (N,) float64 share of the best seconds that are right; NaN for a text that is not alignable.
        scores: (N,) float64 score of being alignable; -inf for a text that no window saw.
        is_covered: (N,) bool, whether a window saw the text.
    """

    hits: np.ndarray
    scores: np.ndarray
    is_covered: np.ndarray


def text_outcomes(video: AlignedVideo) -> TextOutcomes:
    """Look at each text of a video by itself, by the rules of `htm_align_metrics`.

    Raises:
        ValueError: If shapes do not fit, or a covered value is NaN or infinite.
    """
    similarity, is_covered = _check_video(video)
    given = None if video.alignability is None else _check_alignability(video, len(similarity))
    hits = np.full(len(similarity), math.nan)
    scores = np.full(len(similarity), -math.inf)
    for text, (row, covered) in enumerate(zip(similarity, is_covered, strict=True)):
        best = float(row[covered].max()) if covered.any() else -math.inf
        if covered.any():
            scores[text] = best if given is None else given[text]
        if video.is_alignable[text]:
            hits[text] = _share_inside(np.flatnonzero(covered & (row == best)), video.spans[text])
    return TextOutcomes(hits, scores, np.asarray(is_covered.any(axis=1)))


def htm_align_metrics(videos: Iterable[AlignedVideo]) -> AlignmentMetrics:
    """R@1 of placing texts and ROC-AUC of telling which can be placed, pooled over the texts of all videos.

    An alignable text is a hit if its second of greatest similarity lies in [floor(start), ceil(end)], both
    included; of several such seconds, the share that does.

    Args:
        videos: At least one, with at least one text in all.

    Returns:
        The metrics with the coverage.

    Raises:
        ValueError: If there is no text, shapes do not fit, or a covered value is NaN or infinite.

    Example:
        >>> similarity = torch.tensor([[0.1, 0.2, 0.9], [0.3, 0.3, 0.1]])
        >>> video = AlignedVideo("v", similarity, [Span(1.5, 1.9), Span(0.0, 3.0)], [True, False])
        >>> metrics = htm_align_metrics([video])
        >>> metrics.recall, metrics.roc_auc.value
        (1.0, 1.0)
    """
    outcomes: list[TextOutcomes] = []
    labels: list[bool] = []
    for video in videos:
        outcomes.append(text_outcomes(video))
        labels += map(bool, video.is_alignable)
    if not labels:
        raise ValueError("there are no texts to align")
    is_alignable = np.array(labels)
    hits = np.concatenate([one.hits for one in outcomes])[is_alignable]
    num_uncovered = sum(int((~one.is_covered).sum()) for one in outcomes)
    return AlignmentMetrics(
        recall=float(np.mean(hits)) if len(hits) else math.nan,
        roc_auc=_roc_auc(np.concatenate([one.scores for one in outcomes]), is_alignable),
        num_videos=len(outcomes),
        num_texts=len(labels),
        num_alignable=len(hits),
        num_uncovered=num_uncovered,
        text_coverage=1 - num_uncovered / len(labels),
    )


def _roc_auc(scores: np.ndarray, labels: np.ndarray) -> RocAuc:
    positives, negatives = scores[labels], np.sort(scores[~labels])
    if not len(positives) or not len(negatives):
        kind = "positive" if len(positives) else "negative"
        return RocAuc(
            math.nan, f"all {len(labels)} labels are {kind}" if len(labels) else "there are no labels"
        )
    below = np.searchsorted(negatives, positives, side="left")
    level = np.searchsorted(negatives, positives, side="right") - below
    return RocAuc(float((below + level / 2).sum() / (len(positives) * len(negatives))))


def _share_inside(seconds: np.ndarray, span: Span) -> float:
    if not len(seconds):
        return 0.0
    first, last = math.floor(span.start_seconds), math.ceil(span.end_seconds)
    return float(np.mean((seconds >= first) & (seconds <= last)))


def _check_video(video: AlignedVideo) -> tuple[np.ndarray, np.ndarray]:
    """(N, T) float64 similarity and (N, T) bool coverage."""
    similarity = torch.as_tensor(video.similarity).detach()
    if similarity.ndim != 2 or 0 in similarity.shape or not similarity.dtype.is_floating_point:
        raise ValueError(
            f"video {video.name!r}: similarity must be (N, T) floating point and not empty, "
            f"got {tuple(similarity.shape)} {similarity.dtype}"
        )
    num_texts = len(similarity)
    if not len(video.spans) == len(video.is_alignable) == num_texts:
        raise ValueError(
            f"video {video.name!r}: similarity of {num_texts} texts, {len(video.spans)} spans, "
            f"{len(video.is_alignable)} entries of is_alignable"
        )
    covered = torch.ones(similarity.shape, dtype=torch.bool)
    if video.is_covered is not None:
        covered = torch.as_tensor(video.is_covered).cpu()
        if covered.shape != similarity.shape or covered.dtype != torch.bool:
            raise ValueError(
                f"video {video.name!r}: is_covered must be {tuple(similarity.shape)} bool, "
                f"got {tuple(covered.shape)} {covered.dtype}"
            )
    values = similarity.double().cpu()
    wrong = (covered & ~values.isfinite()).nonzero()
    if len(wrong):
        text, second = (int(place) for place in wrong[0])
        raise ValueError(
            f"video {video.name!r}: similarity[{text}, {second}] must be finite, "
            f"got {float(values[text, second])}"
        )
    return values.numpy(), covered.numpy()


def _check_alignability(video: AlignedVideo, num_texts: int) -> np.ndarray:
    scores = torch.as_tensor(video.alignability).detach().double().cpu()
    if scores.shape != (num_texts,) or not scores.isfinite().all():
        raise ValueError(
            f"video {video.name!r}: alignability must be ({num_texts},) and finite, got {tuple(scores.shape)}"
        )
    return scores.numpy()
