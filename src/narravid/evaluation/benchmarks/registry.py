"""The benchmarks by name."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Protocol

from narravid.evaluation.benchmarks.action_classifiers import (
    Hmdb51Finetuned,
    OwnClassifier,
    Ucf101Finetuned,
)
from narravid.evaluation.benchmarks.action_probes import Hmdb51, Kinetics400, OwnProbe, Ucf101
from narravid.evaluation.benchmarks.action_zero_shots import (
    Hmdb51ZeroShot,
    Kinetics400ZeroShot,
    OwnZeroShot,
    Ucf101ZeroShot,
)
from narravid.evaluation.benchmarks.crosstask import CrossTask
from narravid.evaluation.benchmarks.htm_align import HtmAlign
from narravid.evaluation.benchmarks.lsmdc import Lsmdc
from narravid.evaluation.benchmarks.msrvtt import Msrvtt
from narravid.evaluation.benchmarks.own_retrieval import OwnRetrieval
from narravid.evaluation.benchmarks.youcook2 import Youcook2
from narravid.evaluation.result import BenchmarkResult
from narravid.evaluation.session import EvaluationSession

__all__ = ["BENCHMARKS", "Benchmark"]


class Benchmark(Protocol):
    """A frozen dataclass whose fields say where the data is and how the protocol goes.

    The class's documentation is the help of its command, the documentation of its attributes that of its
    options.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    name: ClassVar[str]

    def run(self, session: EvaluationSession) -> BenchmarkResult:
        """Measure the session's model.

        Raises:
            CheckpointError: If the model is of a kind that this benchmark cannot judge.
            AnnotationError: If an annotation file is absent or has a fault.
            TooManyBadItemsError: If more videos are unreadable than the session allows.
            NarravidError: If nothing at all could be read.
        """


BENCHMARKS: dict[str, type[Benchmark]] = {
    Msrvtt.name: Msrvtt,
    Youcook2.name: Youcook2,
    Lsmdc.name: Lsmdc,
    CrossTask.name: CrossTask,
    HtmAlign.name: HtmAlign,
    Ucf101.name: Ucf101,
    Hmdb51.name: Hmdb51,
    Kinetics400.name: Kinetics400,
    Ucf101Finetuned.name: Ucf101Finetuned,
    Hmdb51Finetuned.name: Hmdb51Finetuned,
    Ucf101ZeroShot.name: Ucf101ZeroShot,
    Hmdb51ZeroShot.name: Hmdb51ZeroShot,
    Kinetics400ZeroShot.name: Kinetics400ZeroShot,
    OwnRetrieval.name: OwnRetrieval,
    OwnProbe.name: OwnProbe,
    OwnZeroShot.name: OwnZeroShot,
    OwnClassifier.name: OwnClassifier,
}
