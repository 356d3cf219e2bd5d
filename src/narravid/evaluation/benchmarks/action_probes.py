"""Linear probes on UCF101, HMDB51, Kinetics-400 and labelled videos of one's own.

Soomro et al. 2012, arXiv 1212.0402; Kuehne et al., ICCV 2011; Kay et al. 2017, arXiv 1705.06950.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from narravid.evaluation.benchmarks.action_lists import Dataset
from narravid.evaluation.benchmarks.action_measurement import OwnVideos, ThreeSplits
from narravid.evaluation.benchmarks.action_sources import find_kinetics
from narravid.evaluation.benchmarks.probe_protocol import ProbeProtocol
from narravid.evaluation.probe_solvers import Solver
from narravid.evaluation.result import BenchmarkResult
from narravid.evaluation.session import EvaluationSession

__all__ = ["Hmdb51", "Kinetics400", "OwnProbe", "Ucf101"]


@dataclass(frozen=True, kw_only=True)
class Ucf101(ThreeSplits, ProbeProtocol):
    """A linear probe on UCF101: 101 actions, 13,320 videos, three splits."""

    dataset: ClassVar[Dataset] = "ucf101"
    name: ClassVar[str] = "ucf101"


@dataclass(frozen=True, kw_only=True)
class Hmdb51(ThreeSplits, ProbeProtocol):
    """A linear probe on HMDB51: 51 actions, 6,766 videos, three splits."""

    dataset: ClassVar[Dataset] = "hmdb51"
    name: ClassVar[str] = "hmdb51"


@dataclass(frozen=True, kw_only=True)
class Kinetics400(ProbeProtocol):
    """A linear probe on Kinetics-400: learnt on the training videos, judged by those of validation.

    Attributes:
        videos: Folder of the cut clips, `YOUTUBEID_SSSSSS_EEEEEE.mp4`, below `train` and `val` or not, in
            folders of their classes or not.
        annotations: Table of validation, `label,youtube_id,time_start,time_end,split`; looked for under its
            published names in the videos' folder and beside it when absent.
        train_annotations: Table of the training videos, likewise.
        solver: What fits the probe: the whole training part is more than liblinear takes (2**31 numbers, some
            32 bytes for each); lbfgs finds the same minimum in little more than the features themselves.
    """

    name: ClassVar[str] = "k400"

    videos: Path
    annotations: Path | None = None
    train_annotations: Path | None = None
    solver: Solver = "lbfgs"

    def run(self, session: EvaluationSession) -> BenchmarkResult:
        """Measure the session's model; see `Benchmark.run`."""
        actions, data = find_kinetics(
            self.name,
            videos=self.videos,
            annotations=self.annotations,
            train=self.train_annotations,
            needs_train=True,
        )
        return self.judge(session, actions, data=data)


@dataclass(frozen=True, kw_only=True)
class OwnProbe(OwnVideos, ProbeProtocol):
    """A linear probe on labelled videos of your own."""

    name: ClassVar[str] = "probe"
