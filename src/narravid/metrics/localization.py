"""CrossTask: where the steps of a task happen in a video (Zhukov et al., CVPR 2019, arXiv 1903.08225).

Two measures go by similar names. `crosstask_average_recall` is the benchmark's own; MIL-NCE's tables call it
CTR. `crosstask_segment_accuracy` is the one of VT-TWINS, which gives the segments away and asks for their
step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from narravid.metrics.placement import place_steps
from narravid.metrics.ranking import Array, check_scores, check_targets, count_rows
from narravid.types import Span

__all__ = [
    "PlacedSteps",
    "SegmentAccuracy",
    "StepRecall",
    "StepVideo",
    "crosstask_average_recall",
    "crosstask_segment_accuracy",
    "find_steps",
]


@dataclass(frozen=True, slots=True)
class StepVideo:
    """One video of a task with ordered steps.

    Attributes:
        name: What messages call it.
        task: The task that it shows.
        scores: (T, K) floating point score of each whole second for each step of the task, higher is better;
            second t covers [t, t + 1).
        annotations: (step, span) of each annotated interval; a step counts from 0 and may come several times
            or never.
    """

    name: str
    task: str
    scores: Array
    annotations: Sequence[tuple[int, Span]]


@dataclass(frozen=True, slots=True)
class PlacedSteps:
    """Where the steps of one video were placed, and which were found.

    Attributes:
        shares: (T, K) float64, see `place_steps`.
        is_annotated: (T, K) bool, which seconds lie in an interval of which step.
        found: (K,) float64 share of the best placements that find a step: 0 for one that is lost, NaN for one
            that is not annotated.
        is_lost: (K,) bool, which steps are annotated behind the last second only, as in a video of which a
            part was downloaded.
    """

    shares: torch.Tensor
    is_annotated: torch.Tensor
    found: torch.Tensor
    is_lost: torch.Tensor


def find_steps(video: StepVideo) -> PlacedSteps:
    """Place the steps of one video and look which are found, by the rule of `crosstask_average_recall`.

    Raises:
        ValueError: If the video has fewer seconds than steps, or a score is NaN or infinite.
    """
    shares = _placed(video)
    is_annotated, is_wanted = _annotated_seconds(video, *shares.shape)
    found = torch.where(is_annotated, shares, 0.0).sum(dim=0)
    is_lost = is_wanted & ~is_annotated.any(dim=0)
    return PlacedSteps(shares, is_annotated, found.masked_fill(~is_wanted, math.nan), is_lost)


@dataclass(frozen=True, slots=True)
class StepRecall:
    """Recall of steps.

    Attributes:
        average_recall: Mean over the tasks, in [0, 1].
        task_recalls: For each task the share of its annotated steps that were found, over all its videos.
        num_steps: For each task how many those are.
        num_videos: Videos of all tasks.
    """

    average_recall: float
    task_recalls: dict[str, float]
    num_steps: dict[str, int]
    num_videos: int


def crosstask_average_recall(videos: Iterable[StepVideo]) -> StepRecall:
    """The measure of the CrossTask benchmark: recall of steps placed in the whole video, mean over tasks.

    For each video `place_steps` chooses one second for each step of its task, annotated or not. A step of a
    video is found if its second lies in one of its intervals, of which each covers the whole seconds from
    floor(start) to before ceil(end). The recall of a task is the share of the annotated steps of all its
    videos that are found, a step of several intervals counting once in a video; the result is the mean over
    tasks (18 in the benchmark). A step whose intervals lie behind the last second is a miss: what a video has
    lost makes no model better.

    Args:
        videos: Any number for each task.

    Returns:
        The recall, expected over equally good placements.

    Raises:
        ValueError: If there is no video, a video has fewer seconds than steps, a score is NaN or infinite,
            the videos of a task differ in their number of steps, or a task has no annotated step.

    Example:
        >>> scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.7]])
        >>> video = StepVideo("v", "cake", scores, [(0, Span(0.0, 0.5)), (1, Span(0.2, 1.8))])
        >>> crosstask_average_recall([video]).average_recall
        0.5
    """
    found: dict[str, float] = {}
    num_annotated: dict[str, int] = {}
    widths: dict[str, int] = {}
    num_videos = 0
    for video in videos:
        placed = find_steps(video)
        num_videos += 1
        width = widths.setdefault(video.task, len(placed.found))
        if width != len(placed.found):
            raise ValueError(
                f"video {video.name!r} has scores for {len(placed.found)} steps, "
                f"others of task {video.task!r} for {width}"
            )
        found[video.task] = found.get(video.task, 0.0) + float(placed.found.nansum())
        num_steps = int((~placed.found.isnan()).sum())
        num_annotated[video.task] = num_annotated.get(video.task, 0) + num_steps
    if not found:
        raise ValueError("there are no videos to average over")
    empty = [task for task, number in num_annotated.items() if not number]
    if empty:
        raise ValueError(f"no video of task {empty[0]!r} has an annotated step; leave the task out")
    recalls = {task: found[task] / number for task, number in num_annotated.items()}
    return StepRecall(sum(recalls.values()) / len(recalls), recalls, num_annotated, num_videos)


@dataclass(frozen=True, slots=True)
class SegmentAccuracy:
    """Accuracy over given segments.

    Attributes:
        average_accuracy: Mean over the tasks, in [0, 1].
        pooled_accuracy: Mean over the segments of all tasks, in [0, 1].
        task_accuracies: For each task the share of its segments that rank their right entry first.
        num_segments: For each task how many it has.
    """

    average_accuracy: float
    pooled_accuracy: float
    task_accuracies: dict[str, float]
    num_segments: dict[str, int]


def crosstask_segment_accuracy(
    similarities: Mapping[str, Array], targets: Mapping[str, Array] | None = None
) -> SegmentAccuracy:
    """The measure of VT-TWINS: how often a ground-truth segment ranks its own entry first within its task.

    Not the benchmark's measure and much easier: where the segments lie is given. A tie counts with its share,
    1 / t among t best entries, so the same text written twice in a gallery halves a hit: give each step once
    and `targets`, or rank in the published way, segment by segment.

    Args:
        similarities: For each task (S, G) float32 or float64 scores of its S segments for the G entries of
            its gallery, higher is better.
        targets: For each task (S,) the right entry of each segment; None: the diagonal.

    Returns:
        The accuracies.

    Raises:
        ValueError: If there is no task, the tasks of the two differ, shapes or targets do not fit, or a score
            is NaN or infinite.

    Example:
        >>> result = crosstask_segment_accuracy({"cake": torch.eye(2), "tea": torch.zeros(4, 4)})
        >>> result.task_accuracies, result.average_accuracy, result.pooled_accuracy
        ({'cake': 1.0, 'tea': 0.25}, 0.625, 0.5)
    """
    if not similarities:
        raise ValueError("there are no tasks to average over")
    if targets is not None and targets.keys() != similarities.keys():
        different = sorted(targets.keys() ^ similarities.keys())
        raise ValueError(
            f"similarities and targets must be of the same tasks, {different[0]!r} is in one only"
        )
    accuracies, sizes = {}, {}
    for task, similarity in similarities.items():
        scores = check_scores(f"similarities[{task!r}]", similarity, axes="(S, G)")
        places = None if targets is None else targets[task]
        right = check_targets(places, *scores.shape, name=f"targets[{task!r}]")
        accuracies[task] = count_rows(scores, right, name=f"similarities[{task!r}]").recall(1)
        sizes[task] = len(scores)
    hits = sum(accuracies[task] * size for task, size in sizes.items())
    average = sum(accuracies.values()) / len(accuracies)
    return SegmentAccuracy(average, hits / sum(sizes.values()), accuracies, sizes)


def _placed(video: StepVideo) -> torch.Tensor:
    try:
        return place_steps(video.scores)
    except ValueError as error:
        raise ValueError(f"video {video.name!r}: {error}") from error


def _annotated_seconds(
    video: StepVideo, num_seconds: int, num_steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(T, K) bool, which seconds lie in an interval of which step; (K,) bool, which steps have intervals."""
    is_annotated = torch.zeros(num_seconds, num_steps, dtype=torch.bool)
    is_wanted = torch.zeros(num_steps, dtype=torch.bool)
    for step, span in video.annotations:
        if not 0 <= step < num_steps:
            raise ValueError(f"video {video.name!r}: annotated step {step} is outside [0, {num_steps})")
        first, end = math.floor(span.start_seconds), math.ceil(span.end_seconds)
        is_annotated[max(0, first) : max(0, end), step] = True
        is_wanted[step] |= end > max(0, first)
    return is_annotated, is_wanted
