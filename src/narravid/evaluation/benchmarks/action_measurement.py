"""What measurements of action recognition share: where videos come from, apart from how they are judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from narravid.evaluation.benchmarks.action_lists import ActionSet, Dataset
from narravid.evaluation.benchmarks.action_result import ActionData
from narravid.evaluation.benchmarks.action_sources import Split, check_splits, find_own, find_published
from narravid.evaluation.result import BenchmarkResult
from narravid.evaluation.session import EvaluationSession

__all__ = ["ActionMeasurement", "OwnVideos", "ThreeSplits"]


class ActionMeasurement(ABC):
    """A way of judging a model on labelled videos, wherever they come from."""

    name: ClassVar[str]

    def __post_init__(self) -> None:  # noqa: B027 - the end of a chain has nothing to do
        """End of the chain of checks, so that those of places and of protocols can be combined."""

    @abstractmethod
    def judge(self, session: EvaluationSession, actions: ActionSet, *, data: ActionData) -> BenchmarkResult:
        """Judge the session's model.

        Args:
            session: The run.
            actions: Videos, classes and splits.
            data: What the result is about.

        Returns:
            The result.
        """


@dataclass(frozen=True, kw_only=True)
class ThreeSplits(ActionMeasurement):
    """A data set of three splits.

    Attributes:
        videos: Folder of the videos, in folders of their classes or not.
        annotations: Table `video_id,label,split1,split2,split3`, or one split as CPD's JSON; looked for under
            its published names in the videos' folder and beside it when absent.
        splits: Which splits; the result is their mean.
    """

    dataset: ClassVar[Dataset]

    videos: Path
    annotations: Path | None = None
    splits: tuple[Split, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_splits(self.splits)

    def run(self, session: EvaluationSession) -> BenchmarkResult:
        """Measure the session's model; see `Benchmark.run`."""
        actions, data = find_published(
            self.dataset,
            self.name,
            videos=self.videos,
            annotations=self.annotations,
            splits=self.splits,
        )
        return self.judge(session, actions, data=data)


@dataclass(frozen=True, kw_only=True)
class OwnVideos(ActionMeasurement):
    """Labelled videos of one's own.

    Attributes:
        labels: CSV file `video_path,label,split[,start_seconds,end_seconds]`; split is train or test, paths
            start at its folder.
    """

    labels: Path

    def run(self, session: EvaluationSession) -> BenchmarkResult:
        """Measure the session's model; see `Benchmark.run`."""
        actions, data = find_own(self.labels, self.name)
        return self.judge(session, actions, data=data)
