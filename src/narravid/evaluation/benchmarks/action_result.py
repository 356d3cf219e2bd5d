"""An action recognition result: measures, confusion matrix, examples, what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from narravid.evaluation.result import BenchmarkResult, Measure
from narravid.evaluation.session import EvaluationSession

__all__ = ["ActionData", "Judged", "action_result"]

NUM_EXAMPLES = 8


@dataclass(frozen=True, slots=True)
class ActionData:
    """What an action recognition result is about.

    Attributes:
        benchmark: Its name.
        title: Its name for people.
        files: Annotation files by what they are.
        folder: Where the videos lie.
    """

    benchmark: str
    title: str
    files: Mapping[str, Path]
    folder: Path


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of the videos.

    Attributes:
        splits: The scores of each split's test.
        reasons: Why videos could not be used, by their numbers.
        wanted: All videos that were asked for.
    """

    splits: tuple[SplitScores, ...]
    reasons: dict[int, str]
    wanted: tuple[int, ...]


def action_result(
    session: EvaluationSession,
    actions: ActionSet,
    judged: Judged,
    *,
    data: ActionData,
    card: Mapping[str, Any],
    further: Mapping[str, tuple[Measure, ...]] | None = None,
) -> BenchmarkResult:
    """Put together everything that is to be told.

    Args:
        session: The run.
        actions: The videos and their classes.
        judged: Their scores.
        data: What the result is about.
        card: What the scores depend on.
        further: Measures to be told apart from the main ones, such as baselines.

    Returns:
        The result.

    Raises:
        NarravidError: If a split has no video that could be judged.
    """
    for split in judged.splits:
        if not split.numbers:
            raise NarravidError(f"{data.benchmark}: none of the test videos of {split.name} could be read")
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
        coverage=action_coverage(actions, judged.reasons, numbers=judged.wanted, unit="videos"),
        published=PUBLISHED.get(data.benchmark, ()),
        plots={"confusions": confusion_matrix(confusions(actions, judged.splits), labels=actions.labels)},
        best=best,
        worst=worst,
    )
