"""HTM-Align's result: R@1 and ROC-AUC of each view with their intervals, timelines, examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from narravid.errors import NarravidError
from narravid.evaluation.benchmarks.htm_align_examples import sentence_examples, timelines
from narravid.evaluation.benchmarks.htm_align_view import AlignedView
from narravid.evaluation.benchmarks.protocol_card import protocol_card
from narravid.evaluation.published import PUBLISHED
from narravid.evaluation.result import BenchmarkResult, Coverage, Measure, MissingItem
from narravid.evaluation.session import EvaluationSession
from narravid.metrics import roc_auc
from narravid.metrics.outcomes import Outcomes, statistic

__all__ = ["htm_align_result"]


def htm_align_result(
    session: EvaluationSession,
    views: Sequence[AlignedView],
    *,
    missing: Sequence[MissingItem],
    annotations: Path,
    card: Mapping[str, Any],
) -> BenchmarkResult:
    """Put together everything that is to be told.

    Args:
        session: The run.
        views: The same videos in each view; at least one video.
        missing: Videos that are not there or cannot be read.
        annotations: The annotation file.
        card: What the numbers depend on.

    Returns:
        The result.

    Raises:
        NarravidError: If no sentence is alignable.
    """
    measures = tuple(measure for view in views for measure in _measures(view, session.seed))
    if not measures:
        raise NarravidError("no video that could be measured has an alignable sentence")
    num_videos = len(views[0].videos)
    best, worst = sentence_examples(views[0])
    return BenchmarkResult(
        benchmark="htm-align",
        title="HTM-Align",
        measures=measures,
        further={},
        card=protocol_card(
            session,
            "htm-align",
            files={"annotations": annotations},
            num_test_videos=num_videos,
            sentences={view.name: view.counts() for view in views},
            **card,
        ),
        coverage=Coverage(
            unit="videos",
            num_expected=num_videos + len(missing),
            num_measured=num_videos,
            missing=tuple(missing),
        ),
        published=PUBLISHED.get("htm-align", ()),
        plots=timelines(views[0]),
        best=best,
        worst=worst,
    )


def _measures(view: AlignedView, seed: int) -> list[Measure]:
    units = np.array([one.name for one in view.videos for _ in one.aligned.spans])
    hits = np.concatenate([one.outcomes.hits for one in view.videos])
    is_alignable = ~np.isnan(hits)
    measures = []
    if is_alignable.any():
        chance = np.concatenate([one.chance_hits for one in view.videos])
        own = tuple(units[is_alignable].tolist())
        measures.append(
            Measure.of(
                f"R@1 {view.name}",
                Outcomes("mean", hits[is_alignable], own),
                kind="share",
                chance=statistic(Outcomes("mean", chance[is_alignable], own)),
                seed=seed,
            )
        )
        area = Outcomes("roc_auc", view.finite_scores(), tuple(units.tolist()), labels=is_alignable)
        reason = roc_auc(area.values, is_alignable).reason or ""
        name = f"ROC-AUC {view.name}"
        measures.append(Measure.of(name, area, kind="share", chance=0.5, seed=seed, reason=reason))
    return measures
