"""CPD: a 3-D ResNet and DistilBERT that tell every captioned video of a data set from all others.

Li & Wang, Learning Spatiotemporal Features via Video and Text Pair Discrimination, arXiv 2001.05691. The
defaults are the published setting: Instagram-300k, clips of 8 frames of 224 pixels, every fourth at 30 fps,
SGD at 0.1 for 300 epochs, the text encoder frozen until epoch 150.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self, cast

import torch
from torch import nn

from narravid.batches import CaptionedBatch
from narravid.data.annotations.subsets import Subset
from narravid.data.captioned import CaptionedClip, CaptionedDataset, FoundCaptions, instagram_clips
from narravid.data.sources import ClipSource
from narravid.errors import ConfigError
from narravid.evaluation.pairs import RetrievalPair, read_pairs_csv
from narravid.losses import MemoryBank
from narravid.models.cpd import GREY_MEAN, GREY_STD
from narravid.models.cpd_text import DistilBERTTowerConfig
from narravid.models.resnet3d import ResNet3DConfig
from narravid.recipes.beginning import warn_of_unused_model
from narravid.recipes.clip_recipe import ClipRecipe
from narravid.recipes.cpd_config import CaptionedDataConfig, CPDModelConfig, InstanceConfig
from narravid.recipes.cpd_model import build_cpd_model
from narravid.recipes.narrated import TrainableDualEncoder, load_trainable, retrieval_of
from narravid.recipes.narrated_config import EvaluationConfig
from narravid.recipes.tiny import TINY_WORLD, tiny_evaluation, tiny_trainer
from narravid.recipes.toy_data import is_toy, toy_files
from narravid.tasks.instance import InstanceTask
from narravid.training.config import Evaluation, Precision, TrainerConfig
from narravid.training.optim_config import OptimConfig, ParameterGroup
from narravid.types import ClipSpec
from narravid.video.transforms import Augmentation

__all__ = ["RECIPE_NAME", "CPDRecipe"]

RECIPE_NAME = "cpd"

_log = logging.getLogger(__name__)

TEXT_ENCODER = ParameterGroup("model.text.encoder", lr=3e-5, first_epoch=150, schedule="constant")
"""First only the rest learns, then the pre-trained text encoder is fine-tuned with it."""

PUBLISHED_OPTIM = OptimConfig(
    name="sgd",
    lr=0.1,
    weight_decay=1e-4,
    decay="all",
    schedule="step",
    milestones=(100, 201, 250),
    warmup_steps=0,
    max_grad_norm=20.0,
    groups=(TEXT_ENCODER,),
)


@dataclass(frozen=True)
class CPDRecipe(ClipRecipe[FoundCaptions, CaptionedBatch]):
    """A run of CPD's pre-training.

    Attributes:
        data: Which captioned clips, and how they are drawn.
        model: The dual encoder; without effect where init brings one.
        objective: How samples are told apart.
        optim: Optimiser and schedule.
        trainer: Length of the run and what to keep.
        evaluation: Retrieval while training; without a list of pairs, that of the validation videos of
            Instagram-300k.
        init: Weights to start from, with their own network, words and clips: a published name, a checkpoint,
            a model folder or a run folder of any pixel dual encoder. None starts from random ones.
        seed: Seed of weights, order and draws.
        device: Where to train: cpu, cuda, cuda:1 and so on; auto takes a GPU when there is one.
        dtype: Type of the forward pass; the weights stay float32.
        workers: Watched decoding processes: a file that crashes or stalls one costs that file. 0 decodes in
            the training process: a file that crashes the decoder ends the run.
    """

    name: ClassVar[str] = RECIPE_NAME

    data: CaptionedDataConfig = field(default_factory=CaptionedDataConfig)
    model: CPDModelConfig = field(default_factory=CPDModelConfig)
    objective: InstanceConfig = field(default_factory=InstanceConfig)
    optim: OptimConfig = PUBLISHED_OPTIM
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    init: str | None = None
    seed: int = 0
    device: str = "auto"
    dtype: Precision = "float32"
    workers: int = 2

    @classmethod
    def presets(cls) -> Mapping[str, Callable[[], Self]]:
        """Whole recipes by name."""
        return {"tiny": cls._tiny}

    @classmethod
    def _tiny(cls) -> Self:
        """A toy world on a CPU, in about a minute."""
        return cls(
            data=CaptionedDataConfig(
                batch_size=32,
                zoom=None,
                crop="center",
                augmentation=Augmentation(flip_probability=0.0, brightness=0.15, shift_pixels=4),
                storage="memory",
                pairs=Path(TINY_WORLD),
            ),
            model=CPDModelConfig(
                video=ResNet3DConfig(depth=10, stem_channels=16),
                text=DistilBERTTowerConfig(
                    max_positions=16,
                    hidden_dim=64,
                    feedforward_dim=128,
                    num_layers=1,
                    num_heads=4,
                    head_dim=64,
                    embed_dim=64,
                    attention_mask=True,
                ),
                clip_spec=ClipSpec(num_frames=8, fps=4.0, size_pixels=32, mean=GREY_MEAN, std=GREY_STD),
                max_tokens=16,
            ),
            objective=InstanceConfig(num_negatives=256),
            # From random weights and in few steps; the text encoder, which is random too, learns at once.
            optim=OptimConfig(name="adamw", lr=3e-3, weight_decay=1e-3, max_grad_norm=20.0),
            trainer=tiny_trainer(240),
            evaluation=tiny_evaluation(),
            device="cpu",
            workers=0,
        )

    def with_paths(self) -> Self:
        """The same with absolute paths; toy worlds that are not there yet are drawn."""
        data, evaluation = self.data, self.evaluation
        if data.pairs is not None and is_toy(data.pairs):
            data = replace(data, pairs=toy_files(data.pairs).train_pairs)
        if evaluation.pairs is not None and is_toy(evaluation.pairs):
            evaluation = replace(evaluation, pairs=toy_files(evaluation.pairs).test_pairs)
        return replace(
            self, data=data.absolute(), model=self.model.absolute(), evaluation=evaluation.absolute()
        )

    def read_samples(self) -> FoundCaptions:
        """The captioned clips to learn from."""
        found = self._read("train")
        if self.objective.num_negatives >= len(found.samples) > 0:
            raise ConfigError(
                f"objective.num_negatives is {self.objective.num_negatives}, drawn from only"
                f" {len(found.samples)} samples; set --objective.num-negatives below that, as published about"
                " one for 18 samples",
                key="objective.num_negatives",
            )
        return found

    def _read(self, subset: Subset) -> FoundCaptions:
        """The samples to learn from, or to judge by."""
        data = self.data
        if data.instagram is not None and data.root is not None:
            return instagram_clips(data.instagram, data.root, subset=subset)
        if data.pairs is None:
            raise ConfigError(
                "there is nothing to learn from: set data.pairs, or data.instagram and data.root"
            )
        pairs = read_pairs_csv(data.pairs)
        return FoundCaptions(tuple(CaptionedClip(Path(pair.path), pair.text, pair.span) for pair in pairs))

    def first_model(self, data: FoundCaptions) -> TrainableDualEncoder:
        """What `init` names, or random weights but for those of a published text encoder."""
        if self.init is not None:
            warn_of_unused_model(self)
            return load_trainable(self.init)
        if self.model.text_init is None:
            self._refuse_frozen_noise()
        captions = (clip.text for clip in data.samples)
        return build_cpd_model(self.model, captions, seed=self.seed)

    def _refuse_frozen_noise(self) -> None:
        """Random weights of the text encoder must learn from the start: frozen, they say nothing for long."""
        for group in self.optim.groups:
            if group.first_epoch and group.takes(TEXT_ENCODER.prefix):
                raise ConfigError(
                    f"optim.groups freezes {group.prefix} until epoch {group.first_epoch}, and its weights"
                    " would be random: set model.text_init to published ones (hf:distilbert/"
                    "distilbert-base-uncased fetches them), or its first_epoch to 0",
                    key="model.text_init",
                )

    def open_samples(
        self, found: FoundCaptions, source: ClipSource, *, spec: ClipSpec, model: TrainableDualEncoder
    ) -> CaptionedDataset:
        """The clips with the words of the model."""
        return CaptionedDataset(
            found.samples,
            source,
            spec=spec,
            tokenizer=model.tokenizer,
            zoom=self.data.zoom,
            augmentation=self.data.augmentation,
        )

    def build_task(self, data: FoundCaptions, model: TrainableDualEncoder) -> InstanceTask:
        """The dual encoder and a memory bank of all samples."""
        bank = MemoryBank(
            len(data.samples),
            model.embed_dim,
            generator=torch.Generator().manual_seed(self.seed),
            momentum=self.objective.bank_momentum,
        )
        return InstanceTask(
            cast(nn.Module, model),
            bank,
            num_negatives=self.objective.num_negatives,
            temperature=self.objective.temperature,
        )

    def build_evaluation(self, data: FoundCaptions, model: TrainableDualEncoder) -> Evaluation | None:
        """Text-to-video retrieval among the pairs that are named, or the validation videos of Instagram."""
        if self.evaluation.pairs is not None:
            pairs = read_pairs_csv(self.evaluation.pairs)
        elif self.data.instagram is not None:
            pairs = self._held_out_pairs()
        else:
            return None
        return retrieval_of(pairs, self.evaluation, model) if pairs else None

    def _held_out_pairs(self) -> list[RetrievalPair]:
        held_out = self._read("validation")
        if held_out.missing:
            path, reason = held_out.missing[0]
            _log.warning(
                "the model is judged without %d of %d validation videos; the first, %s: %s",
                len(held_out.missing),
                len(held_out.missing) + len(held_out.samples),
                path,
                reason,
            )
        return [RetrievalPair(str(clip.path), clip.text, clip.span) for clip in held_out.samples]
