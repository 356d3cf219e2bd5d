"""A small result of a made-up benchmark, for tests of what is done with results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from narravid.evaluation.result import (
    BenchmarkResult,
    Coverage,
    Example,
    Measure,
    MissingItem,
    PublishedRow,
    Shown,
)
from narravid.metrics.bootstrap import Outcomes
from narravid.types import Span


def make_result(
    *,
    hits: Sequence[float] = (1, 0, 0, 1, 0, 0, 0, 1),
    folder: Path | str = "videos",
    plots: dict[str, bytes] | None = None,
    benchmark: str = "msrvtt",
    **card: Any,
) -> BenchmarkResult:
    """Eight of ten clips were measured, by default three of them found."""
    names = tuple(f"{folder}/{number}.mp4" for number in range(len(hits)))
    found = np.array(hits, dtype=float)
    ranks = np.where(found > 0, 1.0, np.arange(len(found)) + 2.0)
    measures = (
        Measure.of("R@1", Outcomes("mean", found, names), kind="share", chance=1 / len(hits)),
        Measure.of("MedR", Outcomes("median", ranks, names), kind="rank", chance=(len(hits) + 1) / 2),
    )
    return BenchmarkResult(
        benchmark=benchmark,
        title="MSR-VTT 1k-A",
        measures=measures,
        further={"video to text": measures[:1]},
        card={"benchmark": benchmark, "model": "a model", "num_windows": 10, "clip": {"fps": 10.0}, **card},
        coverage=Coverage(
            "pairs",
            len(hits) + 2,
            len(hits),
            tuple(MissingItem(f"{folder}/{name}.mp4", "no such file") for name in ("x", "y")),
        ),
        published=(
            PublishedRow("MIL-NCE S3D", {"R@1": 0.099, "MedR": 29.5}, "Miech et al. 2020", "batch 8192"),
        ),
        plots=plots or {},
        best=(Example("a red wall", "rank 1", True, (Shown(names[0], None, "place 1", True),)),),
        worst=(
            Example(
                "a blue <wall>",
                "rank 9",
                False,
                (
                    Shown(names[1], Span(1.0, 2.0), "place 1", False),
                    Shown(f"{folder}/x.mp4", None, "its clip, place 9", True),
                ),
            ),
        ),
    )
