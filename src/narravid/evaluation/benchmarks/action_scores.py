"""Class scores of videos as measures, a confusion matrix and examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from narravid.evaluation.benchmarks.action_lists import ActionSet
from narravid.evaluation.result import Example, Measure, Shown
from narravid.metrics.bootstrap import Outcomes
from narravid.metrics.ranking import count_rows

__all__ = ["SplitScores", "action_examples", "action_measures", "confusions"]

DoubleArray = npt.NDArray[np.float64]

DEPTHS = (1, 5)


@dataclass(frozen=True, slots=True, eq=False)
class SplitScores:
    """What the videos of one split's test scored.

    Attributes:
        name: Of the split.
        numbers: The V items that could be judged, by their numbers.
        scores: (V, C) float64, finite, higher is better.
    """

    name: str
    numbers: tuple[int, ...]
    scores: DoubleArray


def action_measures(
    actions: ActionSet, splits: Sequence[SplitScores], *, seed: int = 0
) -> tuple[Measure, ...]:
    """Top-1 and top-5: shares of each split, averaged over the splits; equal scores by expectation.

    Args:
        actions: The videos and their classes.
        splits: Their scores, at least one video in all.
        seed: Of the resampling for intervals.

    Returns:
        `top-1`, and `top-5` where there are more than five classes.
    """
    judged = [split for split in splits if split.numbers]
    # Parts of one video are resampled together: they are no evidence apart.
    units = tuple(actions.names[number] for split in judged for number in split.numbers)
    groups = tuple(split.name for split in judged for _ in split.numbers) if len(judged) > 1 else None
    counts = [
        count_rows(torch.from_numpy(split.scores), _classes(actions, split), name=split.name)
        for split in judged
    ]
    num_classes = len(actions.labels)
    measures = []
    for depth in DEPTHS:
        if depth > 1 and depth >= num_classes:
            continue
        values = np.concatenate([count.hits(depth).numpy() for count in counts])
        outcomes = Outcomes(statistic="mean", values=values, units=units, groups=groups)
        chance = min(1.0, depth / num_classes)
        measures.append(Measure.of(f"top-{depth}", outcomes, kind="share", chance=chance, seed=seed))
    return tuple(measures)


def confusions(actions: ActionSet, splits: Sequence[SplitScores]) -> npt.NDArray[np.int64]:
    """(C, C): how many videos of each class (row) scored highest in each class (column), over all splits."""
    num_classes = len(actions.labels)
    matrix = np.zeros((num_classes, num_classes), dtype=np.int64)
    for split in splits:
        np.add.at(matrix, (_classes(actions, split).numpy(), split.scores.argmax(axis=1)), 1)
    return matrix


def action_examples(
    actions: ActionSet, splits: Sequence[SplitScores], *, count: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The videos about which the model was most sure, rightly and wrongly.

    Sure is the distance of the true class from the best of the others, in deviations of the scores of the
    split, so that splits compare.

    Args:
        actions: The videos.
        splits: Their scores; a video that several splits judge counts in the first.
        count: At most so many of each.

    Returns:
        (best, worst); the worst are wrong, the best right.
    """
    found: dict[int, tuple[float, int]] = {}
    for split in splits:
        if not split.numbers:
            continue
        classes = _classes(actions, split).numpy()
        rows = np.arange(len(classes))
        others = split.scores.copy()
        others[rows, classes] = -np.inf
        deviation = split.scores.std() or 1.0
        margins = (split.scores[rows, classes] - others.max(axis=1)) / deviation
        for number, margin, rival in zip(split.numbers, margins, others.argmax(axis=1), strict=True):
            found.setdefault(number, (float(margin), int(rival)))
    ordered = sorted(found, key=lambda number: -found[number][0])
    best = [number for number in ordered if found[number][0] > 0][:count]
    worst = [number for number in reversed(ordered) if found[number][0] <= 0][:count]
    return (
        tuple(_example(actions, number, *found[number], good=True) for number in best),
        tuple(_example(actions, number, *found[number], good=False) for number in worst),
    )


def _example(actions: ActionSet, number: int, margin: float, rival: int, *, good: bool) -> Example:
    item, label = actions.items[number], actions.labels[actions.classes[number]]
    other = actions.labels[rival]
    return Example(
        title=label if good else f"{label}, taken for {other}",
        note=f"{'ahead of' if good else 'behind'} {other} by {abs(margin):.2f} deviations of the scores",
        good=good,
        shown=(Shown(item.path, item.span, label, is_right=good),),
    )


def _classes(actions: ActionSet, split: SplitScores) -> torch.Tensor:
    return torch.tensor([actions.classes[number] for number in split.numbers], dtype=torch.int64)
