"""What all recipes on narrated videos share: clips and captions in, a dual encoder of pixels and words out.

A recipe adds its published defaults. Data, model, objective, optimiser and schedule can be recombined freely.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

from torch import nn

from narravid.bad_items import BadItems
from narravid.batches import NarratedBatch
from narravid.data.corpus import NarratedVideo
from narravid.data.narrated import NarratedDataset
from narravid.errors import ConfigError
from narravid.recipes.beginning import warn_of_unused_model
from narravid.recipes.corpus import describe_corpus, find_corpus
from narravid.recipes.narrated import (
    TrainableDualEncoder,
    build_dataset,
    build_evaluation,
    build_model,
    build_task,
    build_vocabulary,
    load_trainable,
    set_clips,
)
from narravid.recipes.narrated_config import EvaluationConfig, NarratedDataConfig, NarratedModelConfig
from narravid.recipes.toy_data import is_toy, toy_files
from narravid.recipes.training_recipe import TrainingRecipe
from narravid.tasks.contrastive import ContrastiveTask
from narravid.tasks.objectives import ObjectiveConfig, build_objective
from narravid.text.words import Vocabulary
from narravid.training.config import Evaluation, Precision, TrainerConfig
from narravid.training.optim_config import OptimConfig

__all__ = ["NarratedRecipe"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NarratedRecipe(TrainingRecipe[Sequence[NarratedVideo], NarratedBatch]):
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
        keep_clips: Whether init's own frames, rate and size are kept; otherwise they are model.clip_spec's.
        seed: Seed of weights, order and draws.
        device: Where to train: cpu, cuda, cuda:1 and so on; auto takes a GPU when there is one.
        dtype: Type of the forward pass; the weights stay float32.
        workers: Watched decoding processes: a file that crashes or stalls one costs that file. 0 decodes in
            the training process: a file that crashes the decoder ends the run.
    """

    toy_captions: ClassVar[Literal["true_captions", "aligned_captions"]] = "true_captions"

    data: NarratedDataConfig
    model: NarratedModelConfig = field(default_factory=NarratedModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    init: str | None = None
    keep_clips: bool = True
    seed: int = 0
    device: str = "auto"
    dtype: Precision = "float32"
    workers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model.word_vectors is not None and self.data.vocabulary is None:
            raise ValueError("model.word_vectors needs the vocabulary they belong to: set data.vocabulary")
        sampling = self.data.sampling
        self.objective.check_sampling(
            clips_per_video=sampling.clips_per_video, num_candidates=sampling.num_candidates
        )

    def with_paths(self) -> Self:
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

    def find_data(self, bad: BadItems) -> Sequence[NarratedVideo]:
        """The videos to train on, with their captions, in an order that is always the same.

        A recipe of one's own may read them from elsewhere.

        Args:
            bad: Takes those that cannot be used, with a reason each.

        Raises:
            NarravidError: As `find_corpus`.
        """
        return find_corpus(self.data, bad=bad)

    def describe_data(self, data: Sequence[NarratedVideo]) -> Mapping[str, object]:
        """See `describe_corpus`."""
        return describe_corpus(data)

    def build_network(self, vocabulary: Vocabulary) -> TrainableDualEncoder:
        """A dual encoder with random weights, made of `model` and `seed`; a recipe may build one of its own.

        Args:
            vocabulary: Its words.
        """
        return build_model(self.model, vocabulary, seed=self.seed)

    def build_loss(self) -> nn.Module:
        """What maps video (G, D) and text (G, P, D) of the global batch to the loss, made of `objective`.

        The embeddings have been gathered from all processes, normalised and scaled; a recipe may have a loss
        of its own.
        """
        return build_objective(self.objective, clips_per_video=self.data.sampling.clips_per_video)

    def first_model(self, data: Sequence[NarratedVideo]) -> TrainableDualEncoder:
        """What `init` names, or random weights for the words of the captions."""
        if self.init is None:
            words = build_vocabulary(self.data, data, lower_case=self.model.lower_case)
            return self.build_network(words)
        warn_of_unused_model(self, but_for_clips=not self.keep_clips)
        if self.data.vocabulary is not None:
            _log.warning("init brings its own words: data.vocabulary has no effect")
        model = load_trainable(self.init)
        if not self.keep_clips:
            try:
                set_clips(model, self.model.clip_spec)
            except ValueError as error:
                raise ConfigError(
                    f"{self.init} cannot take model.clip_spec: {error}; set --keep-clips for its own",
                    key="keep_clips",
                ) from error
        return model

    def open_data(self, data: Sequence[NarratedVideo], model: TrainableDualEncoder) -> NarratedDataset:
        """The clips and captions as a model wants to see them."""
        return build_dataset(self.data, data, model, num_workers=self.workers)

    def build_task(self, data: Sequence[NarratedVideo], model: TrainableDualEncoder) -> ContrastiveTask:
        """The dual encoder and the loss."""
        return build_task(model, self.build_loss(), self.objective)

    def build_evaluation(
        self, data: Sequence[NarratedVideo], model: TrainableDualEncoder
    ) -> Evaluation | None:
        """Text-to-video retrieval, where there is a list of pairs."""
        return build_evaluation(self.evaluation, model)
