"""Zero-shot classification on UCF101, HMDB51, Kinetics-400 and labelled videos of one's own.

Soomro et al. 2012, arXiv 1212.0402; Kuehne et al., ICCV 2011; Kay et al. 2017, arXiv 1705.06950.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from narravid.evaluation.benchmarks.action_lists import Dataset
from narravid.evaluation.benchmarks.action_measurement import OwnVideos, ThreeSplits
from narravid.evaluation.benchmarks.action_sources import find_kinetics
from narravid.evaluation.benchmarks.zero_shot_protocol import ZeroShotProtocol
from narravid.evaluation.result import BenchmarkResult
from narravid.evaluation.session import EvaluationSession

__all__ = ["Hmdb51ZeroShot", "Kinetics400ZeroShot", "OwnZeroShot", "Ucf101ZeroShot"]


@dataclass(frozen=True, kw_only=True)
class Ucf101ZeroShot(ThreeSplits, ZeroShotProtocol):
    """Zero-shot classification on UCF101 by the names of its 101 classes."""

    dataset: ClassVar[Dataset] = "ucf101"
    name: ClassVar[str] = "ucf101-zeroshot"


@dataclass(frozen=True, kw_only=True)
class Hmdb51ZeroShot(ThreeSplits, ZeroShotProtocol):
    """Zero-shot classification on HMDB51 by the names of its 51 classes."""

    dataset: ClassVar[Dataset] = "hmdb51"
    name: ClassVar[str] = "hmdb51-zeroshot"


@dataclass(frozen=True, kw_only=True)
class Kinetics400ZeroShot(ZeroShotProtocol):
    """Zero-shot classification of the validation videos of Kinetics-400 by the names of its classes.

    Attributes:
        videos: Folder of the cut clips, as for `k400`.
        annotations: Table of validation, `label,youtube_id,time_start,time_end,split`; looked for under its
            published names in the videos' folder and beside it when absent.
    """

    name: ClassVar[str] = "k400-zeroshot"

    videos: Path
    annotations: Path | None = None

    def run(self, session: EvaluationSession) -> BenchmarkResult:
        """Measure the session's model; see `Benchmark.run`."""
        actions, data = find_kinetics(
            self.name, videos=self.videos, annotations=self.annotations, train=None, needs_train=False
        )
        return self.judge(session, actions, data=data)


@dataclass(frozen=True, kw_only=True)
class OwnZeroShot(OwnVideos, ZeroShotProtocol):
    """Zero-shot classification of the test videos of a list of your own by the names of its classes."""

    name: ClassVar[str] = "zeroshot"
