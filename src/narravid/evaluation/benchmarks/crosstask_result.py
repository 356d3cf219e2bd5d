"""CrossTask's result: both measures with their intervals, a table per task, timelines, examples."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from narravid.errors import NarravidError
from narravid.evaluation.benchmarks.crosstask_data import ListedVideo
from narravid.evaluation.benchmarks.crosstask_examples import step_examples, timelines
from narravid.evaluation.benchmarks.crosstask_scores import FoundVideo, JudgedSegment, ScoredVideo
from narravid.evaluation.benchmarks.protocol_card import protocol_card
from narravid.evaluation.published import PUBLISHED
from narravid.evaluation.result import BenchmarkResult, Coverage, Measure, MissingItem
from narravid.evaluation.session import EvaluationSession
from narravid.files import file_sha256
from narravid.metrics.outcomes import Outcomes, statistic
from narravid.metrics.placement_chance import random_placements

__all__ = ["CrossTaskFindings", "crosstask_result"]

AVERAGE_RECALL = "crosstask_average_recall"
SEGMENT_ACCURACY = "crosstask_segment_accuracy"


@dataclass(eq=False)
class CrossTaskFindings:
    """What was found out about the videos.

    Attributes:
        listed: All annotated videos, whether their files are there or not.
        videos: Those whose file is there.
        scored: Those whose steps were placed.
        segments: The intervals that were judged.
        galleries: The steps from which an interval of each task's number chooses.
        reasons: What is wrong with a file, by its path.
    """

    listed: tuple[ListedVideo, ...]
    videos: tuple[FoundVideo, ...]
    scored: list[ScoredVideo] = field(default_factory=list)
    segments: list[JudgedSegment] = field(default_factory=list)
    galleries: Mapping[str, Sequence[str]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def add_reasons(self, reasons: Mapping[str, str]) -> None:
        """Note what is wrong with files; what is known already stays."""
        self.reasons = {**reasons, **self.reasons}


@dataclass(frozen=True, slots=True)
class _Item:
    """One step of a video or one interval: its share of a hit, what chance has of it, and whose it is."""

    value: float
    chance: float
    unit: str
    task: str


def crosstask_result(
    session: EvaluationSession,
    findings: CrossTaskFindings,
    *,
    missing: Sequence[MissingItem],
    source: Path,
    card: Mapping[str, Any],
) -> BenchmarkResult:
    """Put together everything that is to be told.

    Args:
        session: The run.
        findings: What was found out; at least one video or interval.
        missing: Videos that are not there, or not annotated.
        source: The annotations.
        card: What the numbers depend on.

    Returns:
        The result. Its coverage counts the videos that every measure has as a whole; how much each measure
        is about is on the card.

    Raises:
        NarravidError: If no annotated step can be measured.
    """
    parts = {
        AVERAGE_RECALL: list(_step_items(findings.scored)),
        SEGMENT_ACCURACY: list(_segment_items(findings)),
    }
    parts = {name: items for name, items in parts.items() if items}
    if not parts:
        raise NarravidError(
            f"none of {len(findings.scored)} videos that were scored has an interval of a step longer "
            f"than 0 s; see the annotations of {source}"
        )
    best, worst = step_examples(findings.scored)
    bad = [MissingItem(path, reason) for path, reason in findings.reasons.items()]
    return BenchmarkResult(
        benchmark="crosstask",
        title="CrossTask",
        measures=tuple(_measure(name, items, session.seed) for name, items in parts.items()),
        further=_by_task(parts, session.seed),
        card=protocol_card(
            session,
            "crosstask",
            files=_files(source),
            **_release_card(source),
            **_counts(findings),
            **card,
        ),
        coverage=Coverage(
            unit="videos",
            num_expected=len(findings.videos) + len(missing),
            num_measured=sum(video.path not in findings.reasons for video in findings.videos),
            missing=(*missing, *bad),
        ),
        published=PUBLISHED.get("crosstask", ()),
        plots=timelines(findings.scored),
        best=best,
        worst=worst,
    )


def _measure(name: str, items: Sequence[_Item], seed: int) -> Measure:
    def outcomes(values: Iterable[float]) -> Outcomes:
        return Outcomes(
            "mean",
            np.array(list(values)),
            tuple(item.unit for item in items),
            groups=tuple(item.task for item in items),
        )

    chance = statistic(outcomes(item.chance for item in items))
    return Measure.of(name, outcomes(item.value for item in items), kind="share", chance=chance, seed=seed)


def _by_task(parts: Mapping[str, Sequence[_Item]], seed: int) -> dict[str, tuple[Measure, ...]]:
    """The same measures of each task alone, tasks in the order of their names."""
    tasks = sorted({item.task for items in parts.values() for item in items})
    found = {}
    for task in tasks:
        own = {name: [item for item in items if item.task == task] for name, items in parts.items()}
        found[task] = tuple(_measure(name, items, seed) for name, items in own.items() if items)
    return found


def _step_items(scored: Sequence[ScoredVideo]) -> Iterable[_Item]:
    for one in scored:
        is_annotated = one.placed.is_annotated
        chance = (random_placements(*is_annotated.shape) * is_annotated).sum(dim=0).tolist()
        task = one.video.listed.task.title
        for step, found in enumerate(one.placed.found.tolist()):
            if not math.isnan(found):
                yield _Item(found, chance[step], one.video.listed.name, task)


def _segment_items(findings: CrossTaskFindings) -> Iterable[_Item]:
    for segment in findings.segments:
        listed = segment.video.listed
        chance = 1 / len(findings.galleries[listed.task.task_id])
        yield _Item(segment.hit, chance, listed.name, listed.task.title)


def _files(source: Path) -> dict[str, Path]:
    """The files of the annotations that are hashed one by one: of the release its lists."""
    if source.is_file():
        return {"annotations": source}
    return {name: source / name for name in ("tasks_primary.txt", "videos_val.csv")}


def _release_card(source: Path) -> dict[str, Any]:
    """Where the release lies, and one hash over the files of its intervals, their names and contents."""
    if source.is_file():
        return {}
    files = sorted((source / "annotations").glob("*.csv"))
    digest = hashlib.sha256("".join(f"{file_sha256(path)}  {path.name}\n" for path in files).encode())
    return {"release": {"path": str(source), "annotated": len(files), "sha256": digest.hexdigest()}}


def _counts(findings: CrossTaskFindings) -> dict[str, Any]:
    """How much each measure is about, and how much there would be of it."""
    counts: dict[str, Any] = {"num_test_videos": len(findings.videos)}
    steps_of = [{step for step, _ in video.annotations} for video in findings.listed]
    expected = {"videos_expected": len(findings.listed)}
    if findings.scored:
        counts["average_recall_of"] = {
            "tasks": len({one.video.listed.task.task_id for one in findings.scored}),
            "videos": len(findings.scored),
            **expected,
            "steps": sum(one.num_steps for one in findings.scored),
            "steps_expected": sum(map(len, steps_of)),
            "steps_behind_the_end": sum(int(one.placed.is_lost.sum()) for one in findings.scored),
        }
    if findings.segments:
        counts["segment_accuracy_of"] = {
            "tasks": len({one.video.listed.task.task_id for one in findings.segments}),
            "videos": len({one.video.listed.name for one in findings.segments}),
            **expected,
            "intervals": len(findings.segments),
            "intervals_expected": sum(len(video.annotations) for video in findings.listed),
            "gallery_sizes": {task: len(texts) for task, texts in findings.galleries.items()},
        }
    return counts
