"""Fine-tuned classifiers on UCF101, HMDB51 and labelled videos of one's own.

Soomro et al. 2012, arXiv 1212.0402; Kuehne et al., ICCV 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from narravid.evaluation.benchmarks.action_lists import ActionSet, Dataset
from narravid.evaluation.benchmarks.action_measurement import OwnVideos
from narravid.evaluation.benchmarks.action_result import ActionData
from narravid.evaluation.benchmarks.action_sources import Split, check_splits, find_published
from narravid.evaluation.benchmarks.classifier_protocol import ClassifierProtocol, classifier_result
from narravid.evaluation.result import BenchmarkResult
from narravid.evaluation.session import EvaluationSession

__all__ = ["Hmdb51Finetuned", "OwnClassifier", "Ucf101Finetuned"]


@dataclass(frozen=True, kw_only=True)
class _PublishedFinetuned(ClassifierProtocol):
    """A fine-tuned classifier on a data set of three splits.

    Attributes:
        videos: Folder of the videos, in folders of their classes or not.
        annotations: Table `video_id,label,split1,split2,split3`, or one split as CPD's JSON; looked for under
            its published names in the videos' folder and beside it when absent.
        split: The split on which the model was fine-tuned.
        models_of_splits_2_and_3: With the model of split 1 as the model, those of the other two: the result
            is the mean of three splits then.
    """

    dataset: ClassVar[Dataset]
    name: ClassVar[str]

    videos: Path
    annotations: Path | None = None
    split: Split = 1
    models_of_splits_2_and_3: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_splits((self.split,))
        if self.models_of_splits_2_and_3 and (self.split, len(self.models_of_splits_2_and_3)) != (1, 2):
            raise ValueError(
                "for the mean of three splits give the model of split 1 as the model, and two models of "
                f"splits 2 and 3; got split {self.split} and {len(self.models_of_splits_2_and_3)} more"
            )

    def run(self, session: EvaluationSession) -> BenchmarkResult:
        """Measure the session's model; see `Benchmark.run`."""
        actions, data = find_published(
            self.dataset,
            self.name,
            videos=self.videos,
            annotations=self.annotations,
            splits=(1, 2, 3) if self.models_of_splits_2_and_3 else (self.split,),
            remedy="leave out --models-of-splits-2-and-3",
        )
        return self.judge(session, actions, data=data)

    def judge(self, session: EvaluationSession, actions: ActionSet, *, data: ActionData) -> BenchmarkResult:
        """Judge the session's model, and those of the other splits where there are any."""
        return classifier_result(session, self, actions, models=self.models_of_splits_2_and_3, data=data)


@dataclass(frozen=True, kw_only=True)
class Ucf101Finetuned(_PublishedFinetuned):
    """A classifier fine-tuned on UCF101, by ten temporal and three spatial crops."""

    dataset: ClassVar[Dataset] = "ucf101"
    name: ClassVar[str] = "ucf101-finetuned"


@dataclass(frozen=True, kw_only=True)
class Hmdb51Finetuned(_PublishedFinetuned):
    """A classifier fine-tuned on HMDB51, by ten temporal and three spatial crops."""

    dataset: ClassVar[Dataset] = "hmdb51"
    name: ClassVar[str] = "hmdb51-finetuned"


@dataclass(frozen=True, kw_only=True)
class OwnClassifier(OwnVideos, ClassifierProtocol):
    """A fine-tuned classifier on the test videos of a list of your own.

    Attributes:
        labels: CSV file `video_path,label,split[,start_seconds,end_seconds]`; split is train or test, paths
            start at its folder. Where the model knows the names of its classes, those of the list must be
            among them; else they must be as many, and are numbered by name.
    """

    name: ClassVar[str] = "classify"

    def judge(self, session: EvaluationSession, actions: ActionSet, *, data: ActionData) -> BenchmarkResult:
        """Judge the session's model, which may know more classes than the list has."""
        return classifier_result(session, self, actions, models=(), data=data, has_all_classes=False)
