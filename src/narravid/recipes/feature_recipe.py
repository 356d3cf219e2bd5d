"""What the recipes on extracted features share: a run folder, a model to begin with, a trainer."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch

from narravid import distributed
from narravid.bad_items import BAD_ITEMS_NAME, BadItems
from narravid.config import check_choices, to_dict
from narravid.data.feature_drawing import FeatureDataset, feature_loader
from narravid.data.loader import LoadingReport
from narravid.data.order import BatchOrder
from narravid.errors import ConfigError
from narravid.models.hub import load, save_model
from narravid.protocols import Model
from narravid.recipes.beginning import bad_items_named, begin_run
from narravid.recipes.corpus import refuse_another_corpus
from narravid.recipes.devices import pick_device
from narravid.recipes.feature_data import FeatureData
from narravid.recipes.processes import joined_run
from narravid.recipes.starting_point import INITIAL_FOLDER
from narravid.tasks.task import Task
from narravid.training.config import Evaluation, Precision, TrainerConfig, TrainingData, TrainingResult
from narravid.training.optim_config import OptimConfig
from narravid.training.run import refuse_existing_run
from narravid.training.trainer import Trainer

__all__ = ["FeatureRecipe", "FeatureRun"]

_log = logging.getLogger(__name__)

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class FeatureRun(Generic[BatchT]):
    """The parts of a run, put together.

    Attributes:
        task: The model and what is minimised.
        dataset: What is trained on.
        batch_size: Items in a batch of all processes together.
        max_bad_share: Share of the items of an epoch that may meet bad features.
        evaluation: How the model is judged, if at all.
    """

    task: Task[BatchT]
    dataset: FeatureDataset[Any, BatchT]
    batch_size: int
    max_bad_share: float
    evaluation: Evaluation | None


@dataclass(frozen=True)
class FeatureRecipe(ABC, Generic[BatchT]):
    """A training run on extracted features; recipes add data, model and objective.

    Attributes:
        optim: Optimiser and schedule.
        trainer: Length of the run and what to keep.
        init: Weights to start from, with their own network and words: a published name, a checkpoint, a model
            folder or a run folder. None starts from random ones.
        seed: Seed of weights, order and draws.
        device: Where to train: cpu, cuda, cuda:1 and so on; auto takes a GPU when there is one.
        dtype: Type of the forward pass; the weights stay float32.
        workers: Threads that read features ahead; 0 reads them when they are needed.
    """

    name: ClassVar[str]

    optim: OptimConfig
    trainer: TrainerConfig
    init: str | None
    seed: int
    device: str
    dtype: Precision
    workers: int

    def __post_init__(self) -> None:
        check_choices(self)
        if self.seed < 0 or self.workers < 0:
            raise ValueError(f"seed and workers must not be negative, got {self.seed} and {self.workers}")

    @classmethod
    @abstractmethod
    def presets(cls) -> Mapping[str, Callable[[], Self]]:
        """Whole recipes by name."""

    @abstractmethod
    def with_paths(self) -> Self:
        """The same with absolute paths; toy worlds that are not there yet are drawn."""

    @abstractmethod
    def find_data(self, bad: BadItems) -> FeatureData:
        """What is trained on; what cannot be used goes to `bad`."""

    @abstractmethod
    def first_model(self, data: FeatureData) -> Model:
        """The model that a new run begins with, on the CPU."""

    @abstractmethod
    def build(self, model: Any, data: FeatureData) -> FeatureRun[BatchT]:  # noqa: ANN401 - each its own kind
        """The parts of the run around a model that `first_model` made."""

    def train(self, run: Path, *, resume: bool = False) -> TrainingResult:
        """Train from the first step to the last, or from where an interrupted run stands.

        Args:
            run: The run folder: new for a new run, the run's own when resuming.
            resume: Go on with the run in the folder.

        Returns:
            What came of it; the folder holds log, curves, checkpoints and the model.

        Raises:
            NarravidError: If anything needed is absent or does not fit; as a rule before the work begins.
        """
        device = pick_device(self.device)
        with joined_run(device, run, resume=resume) as resumed:
            if not resumed:
                refuse_existing_run(run)
            recipe, bad = self.with_paths(), BadItems()
            with bad_items_named(run, bad):
                return recipe._train(run, device=device, resume=resumed, bad=bad)

    def _train(self, run: Path, *, device: torch.device, resume: bool, bad: BadItems) -> TrainingResult:
        data = self.find_data(bad)
        if resume:
            refuse_another_corpus(run, data.describe())
            model: Any = load(run / INITIAL_FOLDER, device=device)
        else:
            model = self.first_model(data)
            model.to(device)
        parts = self.build(model, data)
        report = LoadingReport(bad=bad, max_bad_share=parts.max_bad_share, table=run / BAD_ITEMS_NAME)
        trainer: Trainer[Any] = Trainer(
            parts.task,
            self.optim,
            config=self.trainer,
            data=self._batches(parts, report),
            run=run,
            evaluation=parts.evaluation,
            export=lambda folder: save_model(model, folder),
        )
        if not resume:
            begin_run(
                run,
                recipe=self.name,
                config=to_dict(self),
                corpus=data.describe(),
                save_start=lambda folder: save_model(model, folder / INITIAL_FOLDER),
            )
        result = trainer.fit(seed=self.seed, dtype=self.dtype, resume=resume)
        if distributed.rank() == 0 and bad:
            _log.warning(report.summary())
        return result

    def _batches(self, parts: FeatureRun[BatchT], report: LoadingReport) -> TrainingData[Any]:
        num_items = len(parts.dataset)
        if parts.batch_size > num_items:
            raise ConfigError(
                f"data.batch_size is {parts.batch_size}, but there are only {num_items} to draw from; set"
                f" --data.batch-size to {num_items} or less",
                key="data.batch_size",
            )
        order = BatchOrder(
            num_items,
            parts.batch_size,
            self.seed,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
        )

        def batches(epoch: int, start_batch: int) -> Iterator[BatchT]:
            return feature_loader(
                parts.dataset,
                order,
                epoch=epoch,
                start_batch=start_batch,
                num_workers=self.workers,
                report=report,
            )

        return TrainingData(batches, order.num_batches, report)
