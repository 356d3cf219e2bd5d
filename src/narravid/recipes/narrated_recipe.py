"""What all recipes on narrated videos share: clips and captions in, a dual encoder of pixels and words out.

A recipe adds its published defaults. Data, model, objective, optimiser and schedule can be recombined freely.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar, Literal, Self, cast

import torch
from torch import nn

from narravid import distributed
from narravid.bad_items import BAD_ITEMS_NAME, BadItems
from narravid.batches import NarratedBatch
from narravid.config import check_choices, to_dict
from narravid.data.corpus import NarratedVideo
from narravid.data.loader import LoadingReport
from narravid.data.narrated import NarratedDataset
from narravid.errors import ConfigError
from narravid.models.hub import save_model
from narravid.protocols import Model
from narravid.recipes.beginning import bad_items_named, begin_run, refuse_frozen_noise
from narravid.recipes.corpus import describe_corpus, find_corpus, refuse_another_corpus
from narravid.recipes.devices import pick_device
from narravid.recipes.narrated import (
    TrainableDualEncoder,
    build_dataset,
    build_evaluation,
    build_model,
    build_task,
    build_vocabulary,
    narrated_training_data,
)
from narravid.recipes.narrated_config import EvaluationConfig, NarratedDataConfig, NarratedModelConfig
from narravid.recipes.processes import joined_run
from narravid.recipes.starting_point import StartingPoint
from narravid.recipes.toy_data import is_toy, toy_files
from narravid.tasks.objectives import ObjectiveConfig, build_objective
from narravid.text.words import Vocabulary
from narravid.training.config import Precision, TrainerConfig, TrainingResult
from narravid.training.optim_config import OptimConfig
from narravid.training.run import refuse_existing_run
from narravid.training.trainer import Trainer

__all__ = ["NarratedRecipe"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NarratedRecipe:
    """A training run on narrated videos.

    Attributes:
        data: Which videos, and how clips and captions are drawn.
        model: The dual encoder; its shape has no effect where init brings one.
        objective: What is minimised.
        optim: Optimiser and schedule.
        trainer: Length of the run and what to keep.
        evaluation: Retrieval while training.
        init: Weights to start from, with their own network, words and clips: a published name, a checkpoint,
            a model folder or a run folder of any pixel dual encoder. None starts from random ones.
        seed: Seed of weights, order and draws.
        device: Where to train: cpu, cuda, cuda:1 and so on; auto takes a GPU when there is one.
        dtype: Type of the forward pass; the weights stay float32.
        workers: Watched decoding processes: a file that crashes or stalls one costs that file. 0 decodes in
            the training process: a file that crashes the decoder ends the run.
    """

    name: ClassVar[str]
    toy_captions: ClassVar[Literal["true_captions", "aligned_captions"]] = "true_captions"

    data: NarratedDataConfig
    model: NarratedModelConfig = field(default_factory=NarratedModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    init: str | None = None
    seed: int = 0
    device: str = "auto"
    dtype: Precision = "float32"
    workers: int = 2

    def __post_init__(self) -> None:
        check_choices(self)
        if self.seed < 0 or self.workers < 0:
            raise ValueError(f"seed and workers must not be negative, got {self.seed} and {self.workers}")
        if self.model.word_vectors is not None and self.data.vocabulary is None:
            raise ValueError("model.word_vectors needs the vocabulary they belong to: set data.vocabulary")
        sampling = self.data.sampling
        self.objective.check_sampling(
            clips_per_video=sampling.clips_per_video, num_candidates=sampling.num_candidates
        )

    @classmethod
    def presets(cls) -> Mapping[str, Callable[[], Self]]:
        """Whole recipes by name."""
        return {}

    def find_videos(self, bad: BadItems) -> Sequence[NarratedVideo]:
        """The videos to train on, with their captions, in an order that is always the same.

        A recipe of one's own may read them from elsewhere.

        Args:
            bad: Takes those that cannot be used, with a reason each.

        Raises:
            NarravidError: As `find_corpus`.
        """
        return find_corpus(self.data, bad=bad)

    def build_network(self, vocabulary: Vocabulary, device: torch.device) -> TrainableDualEncoder:
        """A dual encoder with random weights, made of `model` and `seed`; a recipe may build one of its own.

        Args:
            vocabulary: Its words.
            device: Where to put it.
        """
        return build_model(self.model, vocabulary, seed=self.seed, device=device)

    def build_loss(self) -> nn.Module:
        """What maps video (G, D) and text (G, P, D) of the global batch to the loss, made of `objective`.

        The embeddings have been gathered from all processes, normalised and scaled; a recipe may have a loss
        of its own.
        """
        return build_objective(self.objective, clips_per_video=self.data.sampling.clips_per_video)

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
                videos = recipe.find_videos(bad)
                return recipe._train_on(videos, run, device=device, resume=resumed, bad=bad)

    def _with_paths(self) -> Self:
        """The same with absolute paths; toy worlds that are not there yet are drawn."""
        data, evaluation = self.data, self.evaluation
        if not data.root:
            raise ConfigError(
                "data.root is not set: name the folder of the videos, a pack of them, or toy:tiny",
                key="data.root",
            )
        if data.captions is not None and is_toy(data.captions):
            data = replace(data, captions=getattr(toy_files(data.captions), self.toy_captions))
        if is_toy(data.root):
            data = replace(data, root=str(toy_files(data.root).train))
        if evaluation.pairs is not None and is_toy(evaluation.pairs):
            evaluation = replace(evaluation, pairs=toy_files(evaluation.pairs).test_pairs)
        return replace(
            self, data=data.absolute(), model=self.model.absolute(), evaluation=evaluation.absolute()
        )

    def _train_on(
        self,
        videos: Sequence[NarratedVideo],
        run: Path,
        *,
        device: torch.device,
        resume: bool,
        bad: BadItems,
    ) -> TrainingResult:
        if resume:
            refuse_another_corpus(run, describe_corpus(videos))
        start = self._starting_point(videos, run, device=device, resume=resume)
        report = LoadingReport(bad=bad, max_bad_share=self.data.max_bad_share, table=run / BAD_ITEMS_NAME)
        with closing(build_dataset(self.data, videos, start.model, num_workers=self.workers)) as dataset:
            trainer = self._trainer(start, dataset, run, report)
            if not resume:
                begin_run(
                    run,
                    recipe=self.name,
                    config=to_dict(self),
                    corpus=describe_corpus(videos),
                    save_start=start.save,
                )
            result = trainer.fit(seed=self.seed, dtype=self.dtype, resume=resume)
        if distributed.rank() == 0 and (bad or report.num_padded_clips):
            _log.warning(report.summary())
        return result

    def _starting_point(
        self, videos: Sequence[NarratedVideo], run: Path, *, device: torch.device, resume: bool
    ) -> StartingPoint:
        """The model as the run begins with it; that of a run to resume comes from its folder."""
        if resume:
            return StartingPoint.of_run(run, self._network_on(device), init=self.init, device=device)
        if self.init is None:
            words = build_vocabulary(self.data, videos, lower_case=self.model.lower_case)
            return StartingPoint.random(words, self._network_on(device))
        [default] = [part.default_factory for part in fields(self) if part.name == "model"]
        if self.model != default() or self.data.vocabulary is not None:  # type: ignore[operator]
            _log.warning(
                "init brings its own network, words and clips: the options of model, and data.vocabulary,"
                " have no effect"
            )
        return StartingPoint.of_weights(self.init, device=device)

    def _network_on(self, device: torch.device) -> Callable[[Vocabulary], TrainableDualEncoder]:
        return lambda vocabulary: self.build_network(vocabulary, device)

    def _trainer(
        self, start: StartingPoint, dataset: NarratedDataset, run: Path, report: LoadingReport
    ) -> Trainer[NarratedBatch]:
        model = start.model
        data = narrated_training_data(
            dataset,
            batch_size=self.data.batch_size,
            seed=self.seed,
            num_workers=self.workers,
            pin_memory=model.device.type == "cuda",
            report=report,
        )
        return Trainer(
            build_task(model, self.build_loss(), self.objective),
            self.optim,
            config=self.trainer,
            data=data,
            run=run,
            evaluation=build_evaluation(self.evaluation, model),
            export=lambda folder: save_model(cast(Model, model), folder),
        )
