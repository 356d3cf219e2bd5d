"""What all recipes share: how a run begins, trains, and goes on; each recipe fills in the parts."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch

from narravid import distributed
from narravid.bad_items import BAD_ITEMS_NAME, BadItems
from narravid.config import check_choices, to_dict
from narravid.data.drawing import DrawnDataset
from narravid.data.loader import load_batches
from narravid.data.loading_report import LoadingReport
from narravid.data.order import BatchOrder
from narravid.models.hub import save_model
from narravid.recipes.beginning import (
    INITIAL_FOLDER,
    bad_items_named,
    begin_run,
    load_initial_model,
    refuse_frozen_noise,
    refuse_large_batch,
)
from narravid.recipes.corpus import refuse_another_corpus
from narravid.recipes.devices import pick_device
from narravid.recipes.processes import joined_run
from narravid.tasks.task import Task
from narravid.training.config import (
    Evaluation,
    Precision,
    TrainableBatch,
    TrainerConfig,
    TrainingData,
    TrainingResult,
)
from narravid.training.optim_config import OptimConfig
from narravid.training.run import refuse_existing_run
from narravid.training.trainer import Trainer

__all__ = ["DrawingConfig", "TrainingRecipe"]

_log = logging.getLogger(__name__)


class DrawingConfig(Protocol):
    """What every configuration of data says."""

    @property
    def batch_size(self) -> int:
        """Items in a batch of all processes together."""

    @property
    def max_bad_share(self) -> float:
        """Share of the items of an epoch that may be bad before the run stops."""


DataT = TypeVar("DataT")
BatchT = TypeVar("BatchT", bound=TrainableBatch)


class TrainingRecipe(ABC, Generic[DataT, BatchT]):
    """A training run from a configuration; recipes are frozen dataclasses with the fields named here.

    A recipe says what is trained on, what the model is, what it minimises and how it is judged. The folder of
    a run keeps what the run began with, so that it goes on wherever that came from.
    """

    name: ClassVar[str]
    has_batch_norm: ClassVar[bool] = True
    """Whether its networks have batch normalisation."""

    data: DrawingConfig
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
    def presets(cls) -> Mapping[str, Callable[[], Self]]:
        """Whole recipes by name."""
        return {}

    @abstractmethod
    def with_paths(self) -> Self:
        """The same with absolute paths; toy worlds that are not there yet are drawn."""

    @abstractmethod
    def find_data(self, bad: BadItems) -> DataT:
        """What is trained on, in an order that is always the same.

        Args:
            bad: Takes what cannot be used, with a reason each.

        Raises:
            NarravidError: If nothing is there, too much of it is bad, or a list of it has a fault.
        """

    @abstractmethod
    def describe_data(self, data: DataT) -> Mapping[str, object]:
        """What the batches depend on besides the configuration: counts, and a fingerprint."""

    @abstractmethod
    def first_model(self, data: DataT) -> Any:  # noqa: ANN401 - each recipe its own kind
        """The model that a new run begins with, on the CPU."""

    @abstractmethod
    def open_data(self, data: DataT, model: Any) -> DrawnDataset[Any, BatchT]:  # noqa: ANN401
        """The data as a model wants to see them."""

    @abstractmethod
    def build_task(self, data: DataT, model: Any) -> Task[BatchT]:  # noqa: ANN401
        """The model and what it minimises."""

    @abstractmethod
    def build_evaluation(self, data: DataT, model: Any) -> Evaluation | None:  # noqa: ANN401
        """How the model is judged while it trains, if at all."""

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
        if self.has_batch_norm and not resume:
            refuse_frozen_noise(self.trainer, init=self.init)
        device = pick_device(self.device)
        with joined_run(device, run, resume=resume) as resumed:
            if not resumed:
                refuse_existing_run(run)
            recipe = self.with_paths()
            bad = BadItems()  # of a resumed run too: the checkpoint knows how often each was met until then
            with bad_items_named(run, bad):
                return recipe._train(run, device=device, resume=resumed, bad=bad)

    def _train(self, run: Path, *, device: torch.device, resume: bool, bad: BadItems) -> TrainingResult:
        data = self.find_data(bad)
        described = self.describe_data(data)
        if resume:
            refuse_another_corpus(run, described)
            model: Any = load_initial_model(run, device=device)
        else:
            model = self.first_model(data).to(device)
        report = LoadingReport(bad=bad, max_bad_share=self.data.max_bad_share, table=run / BAD_ITEMS_NAME)
        with closing(self.open_data(data, model)) as dataset:
            batches = self._batches(dataset, report, pin_memory=device.type == "cuda")
            trainer = Trainer(
                self.build_task(data, model).to(device),
                self.optim,
                config=self.trainer,
                data=batches,
                run=run,
                evaluation=self.build_evaluation(data, model),
                export=lambda folder: save_model(model, folder),
            )
            if not resume:
                begin_run(
                    run,
                    recipe=self.name,
                    config=to_dict(self),
                    corpus=described,
                    save_start=lambda folder: save_model(model, folder / INITIAL_FOLDER),
                )
            result = trainer.fit(seed=self.seed, dtype=self.dtype, resume=resume)
        if distributed.rank() == 0 and (bad or report.num_padded_clips):
            _log.warning(report.summary())
        return result

    def _batches(
        self, dataset: DrawnDataset[Any, BatchT], report: LoadingReport, *, pin_memory: bool
    ) -> TrainingData[BatchT]:
        refuse_large_batch(self.data.batch_size, len(dataset))
        order = BatchOrder(
            len(dataset),
            self.data.batch_size,
            self.seed,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
        )

        def batches(epoch: int, start_batch: int) -> Iterator[BatchT]:
            return load_batches(
                dataset,
                order,
                epoch=epoch,
                start_batch=start_batch,
                num_workers=self.workers,
                pin_memory=pin_memory,
                report=report,
            )

        return TrainingData(batches, order.num_batches, report)
