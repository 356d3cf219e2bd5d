"""TAN: the temporal alignment network on features of long videos and sentences of their speech, two stages.

Han et al., Temporal Alignment Networks for Long-term Video, CVPR 2022, arXiv 2204.02968. The defaults are
the published setting: windows of 64 s, batches of 128, AdamW at 1e-4 with a decay of 1e-5, 1,000 steps of
warm-up, cosine, 20 epochs for each stage. The second starts from the first, keeps an average of the weights
and trains on the better half of the sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal, Self, cast

import torch

from narravid.bad_items import BadItems
from narravid.batches import WindowBatch
from narravid.data.annotations.htm_align import read_htm_align
from narravid.data.annotations.video_lists import read_video_ids
from narravid.data.feature_corpus import FeaturedVideo, find_featured_videos
from narravid.data.feature_files import FeatureFolder, FolderTracks
from narravid.data.feature_windows import WindowSampling, WindowsDataset
from narravid.errors import CheckpointError, ConfigError
from narravid.evaluation.alignment import AlignmentProtocol, evaluate_alignment
from narravid.losses.temporal_alignment import TemporalAlignmentLoss
from narravid.models.aligner import TemporalAligner
from narravid.models.aligner_config import TemporalAlignerConfig
from narravid.models.dual_encoder import S3DDualEncoder
from narravid.models.hub import load
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.recipes.feature_data import FeatureData, build_words, existing, usable_videos
from narravid.recipes.feature_recipe import FeatureRecipe
from narravid.recipes.tan_config import (
    AlignerModelConfig,
    AlignmentEvaluationConfig,
    AlignmentObjectiveConfig,
    WindowsDataConfig,
)
from narravid.synthetic.features import APPEARANCE_DIM, MOVEMENT_DIM
from narravid.tasks.alignment import AlignmentTask
from narravid.training.config import Evaluation, Precision, TrainerConfig
from narravid.training.optim_config import OptimConfig
from narravid.types import FeatureSpec

__all__ = ["RECIPE_NAME", "TanRecipe"]

RECIPE_NAME = "tan"
TINY_WORLD = Path("toy:tiny")
TINY_FEATURES = FeatureSpec(("toy-seconds",), (APPEARANCE_DIM + MOVEMENT_DIM,))


@dataclass(frozen=True)
class TanRecipe(FeatureRecipe[WindowBatch]):
    """A training run of the temporal aligner.

    Attributes:
        data: Which windows are trained on.
        model: The aligner; its shape and words have no effect where init brings them.
        objective: What is minimised.
        stage: 1 begins; 2 goes on from the weights of a first stage, which init names.
        optim: Optimiser and schedule.
        trainer: Length of the run and what to keep.
        evaluation: Alignment while training.
        init: Weights to start from, with their own network and words: a published name such as tan-htm370k, a
            checkpoint, a model folder or a run folder. None starts from random ones.
        seed: Seed of weights, order and draws.
        device: Where to train: cpu, cuda, cuda:1 and so on; auto takes a GPU when there is one.
        dtype: Type of the forward pass; the weights stay float32.
        workers: Threads that read features ahead; 0 reads them when they are needed.
    """

    name: ClassVar[str] = RECIPE_NAME

    data: WindowsDataConfig = field(default_factory=WindowsDataConfig)
    model: AlignerModelConfig = field(default_factory=AlignerModelConfig)
    objective: AlignmentObjectiveConfig = field(default_factory=AlignmentObjectiveConfig)
    stage: Literal[1, 2] = 1
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(name="adamw", lr=1e-4, weight_decay=1e-5, warmup_steps=1000)
    )
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(num_epochs=20))
    evaluation: AlignmentEvaluationConfig = field(default_factory=AlignmentEvaluationConfig)
    init: str | None = None
    seed: int = 0
    device: str = "auto"
    dtype: Precision = "float32"
    workers: int = 2

    @classmethod
    def presets(cls) -> Mapping[str, Callable[[], Self]]:
        """Whole recipes by name."""
        return {"tiny": cls._tiny, "tiny-stage2": cls._tiny_stage_two}

    @classmethod
    def _tiny(cls) -> Self:
        """The first stage on features of a toy world on a CPU, in about a minute."""
        return cls(
            data=WindowsDataConfig(
                features=TINY_WORLD,
                captions=TINY_WORLD,
                min_video_seconds=0.0,
                batch_size=16,
                sampling=WindowSampling(window_seconds=24, rule="complete"),
            ),
            model=AlignerModelConfig(
                sentences_from=None,
                features=TINY_FEATURES,
                word_dim=64,
                hidden_dim=128,
                sentence_dim=64,
                embed_dim=64,
                num_encoder_layers=2,
                num_joint_layers=2,
                num_heads=4,
                max_positions=64,
                max_words=12,
            ),
            optim=OptimConfig(name="adamw", lr=2e-3, weight_decay=1e-3),
            trainer=TrainerConfig(num_steps=200, checkpoint_every_steps=100, evaluate_at_start=True),
            evaluation=AlignmentEvaluationConfig(
                annotations=TINY_WORLD, protocol=AlignmentProtocol(view="global")
            ),
            device="cpu",
            workers=0,
        )

    @classmethod
    def _tiny_stage_two(cls) -> Self:
        """The second stage on the same; --init names the folder of a tiny run of the first."""
        first = cls._tiny()
        return replace(
            first,
            stage=2,
            # The videos are longer than the windows, and measured whole: all positions must stay in use.
            objective=AlignmentObjectiveConfig(agreement="keep", momentum=0.98, random_positions=True),
            optim=replace(first.optim, lr=3e-4),
            trainer=replace(first.trainer, num_steps=100),
        )

    def with_paths(self) -> Self:
        """The same with absolute paths; toy worlds that are not there yet are drawn."""
        return replace(self, data=self.data.with_paths(), evaluation=self.evaluation.with_paths())

    def find_data(self, bad: BadItems) -> FeatureData:
        """The videos with features and sentences; what cannot be used goes to `bad`."""
        if self.stage == 2 and self.init is None:
            raise ConfigError(
                "stage 2 goes on from a first stage: set --init to its run folder or a checkpoint", key="init"
            )
        config = self.data
        held_out = () if config.held_out is None else read_video_ids(config.held_out)
        tracks = self._tracks(existing(config.features, "data.features"))
        found = find_featured_videos(
            tracks,
            existing(config.captions, "data.captions"),
            video_list=config.video_list,
            held_out=held_out,
            durations=config.durations,
        )
        return FeatureData(usable_videos(found, bad, max_bad_share=config.max_bad_share), tracks)

    def first_model(self, data: FeatureData) -> TemporalAligner:
        """The aligner that a new run begins with, on the CPU."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            if self.init is None:
                model = self._new_model(data)
            else:
                model = _loaded(self.init, with_head=self.objective.use_alignability_head)
        if model.feature_spec.dims != self.model.features.dims:
            raise CheckpointError(
                str(self.init),
                f"takes features of {list(model.feature_spec.dims)}, and model.features says "
                f"{list(self.model.features.dims)}",
            )
        return model

    def open_data(self, data: FeatureData, model: TemporalAligner) -> WindowsDataset:
        """The windows with the words of the aligner."""
        self._refuse_long_windows(model)
        return WindowsDataset(
            cast(list[FeaturedVideo], data.items),
            data.tracks,
            tokenizer=model.tokenizer,
            sampling=self.data.sampling,
        )

    def build_task(self, data: FeatureData, model: TemporalAligner) -> AlignmentTask:
        """The aligner and what its stage minimises."""
        if self.model.freeze_sentences:
            model.text.requires_grad_(False)
        random_positions = self.objective.random_positions
        return AlignmentTask(
            model,
            TemporalAlignmentLoss(
                self.objective.loss_config(stage=self.stage, alignability_layer=model.alignability_layer)
            ),
            random_positions=self.stage == 1 if random_positions is None else random_positions,
            momentum=self.objective.momentum if self.stage == 2 else None,
        )

    def _refuse_long_windows(self, model: TemporalAligner) -> None:
        seconds = self.data.sampling.window_seconds
        if seconds > model.max_positions:
            raise ConfigError(
                f"data.sampling.window_seconds is {seconds}, and the aligner has positions for"
                f" {model.max_positions} seconds; shorten the windows, or raise model.max_positions of a new"
                " aligner",
                key="data.sampling.window_seconds",
            )

    def _tracks(self, folder: Path) -> FolderTracks:
        dim = self.model.features.feature_dim
        return FolderTracks([FeatureFolder(folder, dim=dim, steps_per_second=1.0)])

    def _new_model(self, data: FeatureData) -> TemporalAligner:
        config = self.model
        if config.sentences_from is None:
            source = None
            vocabulary = build_words(None, data, lower_case=True)
            text = SentenceTowerConfig(
                vocabulary.num_embeddings,
                word_dim=config.word_dim,
                hidden_dim=config.hidden_dim,
                embed_dim=config.sentence_dim,
                freeze_words=False,
            )
        else:
            source = _sentence_source(config.sentences_from)
            vocabulary, text = source.vocabulary, source.config.text
        model = TemporalAligner(self._shape(text), vocabulary)
        if source is not None:
            model.text.load_state_dict(source.text.state_dict())
        return model

    def _shape(self, text: SentenceTowerConfig) -> TemporalAlignerConfig:
        config = self.model
        return TemporalAlignerConfig(
            text=text,
            feature_spec=config.features,
            embed_dim=config.embed_dim,
            num_encoder_layers=config.num_encoder_layers,
            num_joint_layers=config.num_joint_layers,
            num_heads=config.num_heads,
            max_positions=config.max_positions,
            positions=config.positions,
            text_positions=config.text_positions,
            alignability_head=config.alignability_head or self.objective.use_alignability_head,
            alignability_layer=config.alignability_layer,
            max_words=config.max_words,
        )

    def build_evaluation(self, data: FeatureData, model: TemporalAligner) -> Evaluation | None:
        """Alignment of annotated videos, where there is a list of them."""
        config = self.evaluation
        if config.annotations is None:
            return None
        videos = read_htm_align(existing(config.annotations, "evaluation.annotations"))
        tracks = self._tracks(existing(config.features or self.data.features, "evaluation.features"))

        def measure() -> dict[str, float]:
            return evaluate_alignment(model, videos, tracks, protocol=config.protocol).to_dict()

        return Evaluation(measure, metric="R@1")


def _sentence_source(name: str) -> S3DDualEncoder:
    source = load(name)
    if not isinstance(source, S3DDualEncoder):
        raise CheckpointError(
            name, f"holds a {type(source).__name__}, and model.sentences_from needs an S3D dual encoder"
        )
    return source


def _loaded(init: str, *, with_head: bool) -> TemporalAligner:
    """The aligner of a checkpoint, with a new alignability head if one is wanted and it has none."""
    model = load(init)
    if not isinstance(model, TemporalAligner):
        raise CheckpointError(init, f"holds a {type(model).__name__}, and an aligner is trained here")
    if not with_head or model.config.alignability_head:
        return model
    fresh = TemporalAligner(replace(model.config, alignability_head=True), model.vocabulary)
    heads = {name: tensor for name, tensor in fresh.state_dict().items() if "alignability_head" in name}
    fresh.load_state_dict({**model.state_dict(), **heads})
    return fresh
