"""An action recognition result: measures, confusion matrix, examples, what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from narravid.errors import NarravidError
from narravid.evaluation.benchmarks.action_lists import ActionSet
from narravid.evaluation.benchmarks.action_scores import (
    SplitScores,
    action_examples,
    action_measures,
    confusions,
)
from narravid.evaluation.benchmarks.action_vectors import action_coverage
from narravid.evaluation.benchmarks.protocol_card import protocol_card
from narravid.evaluation.pictures import confusion_matrix
from narravid.evaluation.published import PUBLISHED
from narravid.evaluation.result import BenchmarkResult, Measure, PublishedRow
from narravid.evaluation.session import EvaluationSession

__all__ = ["ActionData", "Judged", "action_result"]

NUM_EXAMPLES = 8
NUMBERS = {1: "one", 3: "three"}


@dataclass(frozen=True, slots=True)
class ActionData:
    """What an action recognition result is about.

    Attributes:
        benchmark: Its name.
        title: Its name for people.
        files: Annotation files by what they are.
        folder: Where the videos lie.
        num_published_splits: Over how many splits published numbers are means.
    """

    benchmark: str
    title: str
    files: Mapping[str, Path]
    folder: Path
    num_published_splits: int = 1

    @property
    def source(self) -> Path:
        """The list of what is judged."""
        return next(iter(self.files.values()))

    def published(self, num_splits: int) -> tuple[PublishedRow, ...]:
        """What papers report, beside a result on so many splits."""
        rows = PUBLISHED.get(self.benchmark, ())
        if num_splits == self.num_published_splits:
            return rows
        said = f"mean of {NUMBERS[self.num_published_splits]} splits"
        return tuple(replace(row, note=f"{row.note}; {said}" if row.note else said) for row in rows)


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of the videos.

    Attributes:
        splits: The scores of each split's test.
        reasons: Why videos could not be used, by their numbers.
        wanted: All test videos.

    Raises:
        NarravidError: If a split has no video that could be judged.
    """

    splits: tuple[SplitScores, ...]
    reasons: dict[int, str]
    wanted: tuple[int, ...]

    def __post_init__(self) -> None:
        for split in self.splits:
            if not split.numbers:
                raise NarravidError(f"none of the test videos of {split.name} could be read")


def action_result(
    session: EvaluationSession,
    actions: ActionSet,
    judged: Judged,
    *,
    data: ActionData,
    card: Mapping[str, Any],
    measures: tuple[Measure, ...] | None = None,
    further: Mapping[str, tuple[Measure, ...]] | None = None,
) -> BenchmarkResult:
    """Put together everything that is to be told.

    Args:
        session: The run.
        actions: The videos and their classes.
        judged: Their scores.
        data: What the result is about.
        card: What the scores depend on.
        measures: The main ones, where they are known already.
        further: Measures to be told apart from the main ones, such as baselines.

    Returns:
        The result.
    """
    if measures is None:
        measures = action_measures(actions, judged.splits, seed=session.seed)
    by_split = {
        split.name: action_measures(actions, [split], seed=session.seed)
        for split in judged.splits
        if len(judged.splits) > 1
    }
    best, worst = action_examples(actions, judged.splits, count=NUM_EXAMPLES)
    return BenchmarkResult(
        benchmark=data.benchmark,
        title=data.title,
        measures=measures,
        further=dict(further or {}) | by_split,
        card=protocol_card(
            session,
            data.benchmark,
            files=data.files,
            classes=len(actions.labels),
            splits=[
                {"name": split.name, "train": len(split.train), "test": len(split.test)}
                for split in actions.splits
            ],
            **card,
        ),
        coverage=action_coverage(actions, judged.reasons, numbers=judged.wanted, unit="test videos"),
        published=data.published(len(judged.splits)),
        plots={"confusions": confusion_matrix(confusions(actions, judged.splits), labels=actions.labels)},
        best=best,
        worst=worst,
    )
