"""What CPD's two recipes share: a list of clips in, one clip of each drawn per epoch, a model out."""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import Field, asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

import torch
from torch import nn

from narravid import distributed
from narravid.bad_items import BAD_ITEMS_NAME, BadItems
from narravid.batches import CaptionedBatch, LabelledBatch
from narravid.config import to_dict
from narravid.data.drawing import ClipDataset
from narravid.data.loader import LoadingReport, clip_loader
from narravid.data.order import BatchOrder
from narravid.data.sources import ClipSource, FileClips, MemoryClips
from narravid.errors import ConfigError
from narravid.files import read_json
from narravid.models.hub import load, save_model
from narravid.protocols import Model, PixelDualEncoder
from narravid.recipes.beginning import bad_items_named, begin_run, refuse_frozen_noise
from narravid.recipes.clip_config import ClipDataConfig
from narravid.recipes.corpus import CORPUS_NAME
from narravid.recipes.devices import pick_device
from narravid.recipes.processes import joined_run
from narravid.recipes.starting_point import INITIAL_FOLDER
from narravid.tasks.task import Task
from narravid.training.config import Evaluation, Precision, TrainerConfig, TrainingData, TrainingResult
from narravid.training.optim_config import OptimConfig
from narravid.training.run import refuse_existing_run
from narravid.training.trainer import Trainer
from narravid.types import ClipSpec
from narravid.video.watched import WatchedDecoder

__all__ = ["ClipRecipe"]

GIBIBYTE = 1024**3
MAX_NAMED_VIDEOS = 3

_log = logging.getLogger(__name__)


class Sample(Protocol):
    """A clip to learn from: a part of a video, and what is known of it; a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def path(self) -> Path:
        """The video."""


class Found(Protocol):
    """What a list of samples gave."""

    @property
    def missing(self) -> Sequence[tuple[str, str]]:
        """(path, reason) of the videos that are not there."""

    @property
    def samples(self) -> Sequence[Sample]:
        """Those to learn from, whose videos are there."""


FoundT = TypeVar("FoundT", bound=Found)
BatchT = TypeVar("BatchT", CaptionedBatch, LabelledBatch)


class ClipRecipe(ABC, Generic[FoundT, BatchT]):
    """A training run on clips that are drawn one by one; subclasses are frozen dataclasses.

    A subclass says where the samples are, what the model is and what it minimises. The folder of a run keeps
    the model that it began with, so that it goes on wherever that came from.
    """

    name: ClassVar[str]
    data: ClipDataConfig
    optim: OptimConfig
    trainer: TrainerConfig
    init: str | None
    seed: int
    device: str
    dtype: Precision
    workers: int

    @abstractmethod
    def _with_paths(self) -> Self:
        """The same with absolute paths; toy worlds that are not there yet are drawn."""

    @abstractmethod
    def _find(self) -> FoundT:
        """The samples; `NarravidError` where their list has a fault."""

    @abstractmethod
    def _new_model(self, found: FoundT, device: torch.device) -> nn.Module:
        """The model as the run begins with it."""

    @abstractmethod
    def _dataset(
        self, found: FoundT, model: nn.Module, source: ClipSource, spec: ClipSpec
    ) -> ClipDataset[Any, BatchT]:
        """The samples as a model wants to see them."""

    @abstractmethod
    def _task(self, found: FoundT, model: nn.Module) -> Task[BatchT]:
        """The model and what it minimises."""

    @abstractmethod
    def _evaluation(self, found: FoundT, model: nn.Module) -> Evaluation | None:
        """How the model is judged."""

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
        refuse_frozen_noise(self.trainer, init=self.init)
        device = pick_device(self.device)
        with joined_run(device, run, resume=resume) as resumed:
            if not resumed:
                refuse_existing_run(run)
            bad = BadItems()  # of a resumed run too: the checkpoint knows how often each was met until then
            recipe = self._with_paths()
            with bad_items_named(run, bad):
                found = recipe._find()
                _count_missing(found, bad, max_bad_share=recipe.data.max_bad_share)
                return recipe._train_on(found, run, device=device, resume=resumed, bad=bad)

    def _train_on(
        self, found: FoundT, run: Path, *, device: torch.device, resume: bool, bad: BadItems
    ) -> TrainingResult:
        self._check_size(found)
        described = _describe(found.samples)
        if resume:
            _refuse_other_samples(run, described)
            model = cast(nn.Module, load(run / INITIAL_FOLDER, device=device))
        else:
            model = self._new_model(found, device)
        report = LoadingReport(bad=bad, max_bad_share=self.data.max_bad_share, table=run / BAD_ITEMS_NAME)
        spec = replace(cast(PixelDualEncoder, model).clip_spec, crop=self.data.crop)
        source = self._source(found, spec)
        with closing(self._dataset(found, model, source, spec)) as dataset:
            trainer = self._trainer(found, model, dataset, run=run, report=report)
            if not resume:
                begin_run(
                    run,
                    recipe=self.name,
                    config=to_dict(self),
                    corpus=described,
                    save_start=lambda folder: save_model(cast(Model, model), folder / INITIAL_FOLDER),
                )
            result = trainer.fit(seed=self.seed, dtype=self.dtype, resume=resume)
        if distributed.rank() == 0 and (bad or report.num_padded_clips):
            _log.warning(report.summary())
        return result

    def _check_size(self, found: FoundT) -> None:
        if self.data.batch_size > len(found.samples):
            raise ConfigError(
                f"data.batch_size is {self.data.batch_size} clips, but there are only {len(found.samples)} to"
                f" learn from; set --data.batch-size to {len(found.samples)} or less",
                key="data.batch_size",
            )

    def _source(self, found: FoundT, spec: ClipSpec) -> ClipSource:
        decoder = WatchedDecoder(self.workers) if self.workers else None
        if self.data.storage == "files":
            return FileClips(decoder)
        with decoder or nullcontext():
            return MemoryClips(
                [sample.path for sample in found.samples],
                spec,
                max_bytes=int(self.data.max_memory_gib * GIBIBYTE),
                num_threads=max(1, self.workers),
                decoder=decoder,
            )

    def _trainer(
        self,
        found: FoundT,
        model: nn.Module,
        dataset: ClipDataset[Any, BatchT],
        *,
        run: Path,
        report: LoadingReport,
    ) -> Trainer[BatchT]:
        task = self._task(found, model).to(next(model.parameters()).device)
        order = BatchOrder(
            len(dataset),
            self.data.batch_size,
            self.seed,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
        )

        def batches(epoch: int, start_batch: int) -> Iterator[BatchT]:
            return clip_loader(
                dataset,
                order,
                epoch=epoch,
                start_batch=start_batch,
                num_workers=self.workers,
                pin_memory=next(model.parameters()).is_cuda,
                report=report,
            )

        config = self.trainer
        if self.optim.schedule == "plateau" and config.evaluate_every_steps is None:
            config = replace(config, evaluate_every_steps=order.num_batches)
        return Trainer(
            task,
            self.optim,
            config=config,
            data=TrainingData(batches, order.num_batches, report),
            run=run,
            evaluation=self._evaluation(found, model),
            export=lambda folder: save_model(cast(Model, model), folder),
        )


def _count_missing(found: Found, bad: BadItems, *, max_bad_share: float) -> None:
    """Say which videos are not there, and stop where they are too many."""
    total = len(found.samples) + len(found.missing)
    for path, reason in found.missing:
        bad.add(path, reason)
    if not found.samples:
        named = "; ".join(f"{path}: {reason}" for path, reason in found.missing[:MAX_NAMED_VIDEOS])
        raise ConfigError(f"there is nothing to learn from: none of {total} videos is there ({named})")
    if found.missing:
        _log.warning("%d of %d videos are left out: %s", len(found.missing), total, bad.summary())
    bad.check_share(total, num_expected=total, max_share=max_bad_share)


def _describe(samples: Sequence[Sample]) -> dict[str, object]:
    """What the batches of a run depend on besides its configuration, wherever the videos lie."""
    digest = sha256()
    for sample in samples:
        content = {**asdict(sample), "path": sample.path.name}
        digest.update(json.dumps(content, ensure_ascii=False, sort_keys=True).encode() + b"\n")
    return {"num_samples": len(samples), "sha256": digest.hexdigest()}


def _refuse_other_samples(run: Path, now: dict[str, object]) -> None:
    path = run / CORPUS_NAME
    if not path.is_file():
        raise ConfigError(f"{path}, which says what the run is trained on, is gone; put it back")
    begun = read_json(path)
    if begun != now:
        raise ConfigError(
            f"the samples have changed since {run} began ({begun['num_samples']} then,"
            f" {now['num_samples']} now); put the former list back, or start a new run"
        )
