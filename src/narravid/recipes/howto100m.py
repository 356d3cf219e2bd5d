"""HowTo100M: a joint embedding of extracted features and text, from narrated videos or fine-tuned on pairs.

Miech et al., HowTo100M: Learning a Text-Video Embedding by Watching Hundred Million Narrated Video Clips,
ICCV 2019, arXiv 1906.03327. The defaults are the published setting: 64 clips of each of 32 videos, Adam at
1e-4, falling by a tenth with each of 15 epochs, margin 0.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self, cast

import torch

from narravid.bad_items import BadItems
from narravid.batches import FeatureBatch
from narravid.data.feature_clips import (
    FeaturePair,
    FeaturePairsDataset,
    MergedSampling,
    NarratedFeaturesDataset,
)
from narravid.data.feature_corpus import FeaturedVideo, find_featured_videos
from narravid.errors import CheckpointError
from narravid.evaluation.feature_retrieval import evaluate_feature_retrieval
from narravid.models.gated_embedding import GatedDualEncoder, GatedDualEncoderConfig
from narravid.models.hub import load
from narravid.recipes.feature_data import FeatureData, build_words, existing, usable_videos
from narravid.recipes.feature_pairs import FeatureFiles, read_feature_pairs
from narravid.recipes.feature_recipe import FeatureRecipe
from narravid.recipes.howto100m_config import FeatureEvaluationConfig, FeatureModelConfig, FeaturesDataConfig
from narravid.synthetic.features import APPEARANCE_DIM, MOVEMENT_DIM
from narravid.tasks.contrastive import FeatureContrastiveTask
from narravid.tasks.objectives import ObjectiveConfig, build_objective
from narravid.text.word_vectors import WordVectors, load_word_vectors, read_word2vec
from narravid.text.words import WordTokenizer
from narravid.training.config import Evaluation, Precision, TrainerConfig
from narravid.training.optim_config import OptimConfig
from narravid.types import FeatureSpec

__all__ = ["RECIPE_NAME", "HowTo100MRecipe"]

RECIPE_NAME = "howto100m"
TINY_WORLD = Path("toy:tiny")


@dataclass(frozen=True)
class HowTo100MRecipe(FeatureRecipe[FeatureBatch]):
    """A training run of the feature dual encoder.

    Attributes:
        data: Which clips are trained on.
        model: The dual encoder; its shape and words have no effect where init brings them.
        objective: What is minimised.
        optim: Optimiser and schedule.
        trainer: Length of the run and what to keep.
        evaluation: Retrieval while training.
        init: Weights to start from, with their own network and words: a published name such as howto100m, a
            checkpoint, a model folder or a run folder. None starts from random ones.
        seed: Seed of weights, order and draws.
        device: Where to train: cpu, cuda, cuda:1 and so on; auto takes a GPU when there is one.
        dtype: Type of the forward pass; the weights stay float32.
        workers: Threads that read features ahead; 0 reads them when they are needed.
    """

    name: ClassVar[str] = RECIPE_NAME

    data: FeaturesDataConfig = field(default_factory=FeaturesDataConfig)
    model: FeatureModelConfig = field(default_factory=FeatureModelConfig)
    objective: ObjectiveConfig = field(default_factory=lambda: ObjectiveConfig(loss="max-margin"))
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(lr=1e-4, schedule="exponential", factor=0.9, warmup_steps=0)
    )
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(num_epochs=15))
    evaluation: FeatureEvaluationConfig = field(default_factory=FeatureEvaluationConfig)
    init: str | None = None
    seed: int = 0
    device: str = "auto"
    dtype: Precision = "float32"
    workers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.objective.check_sampling(clips_per_video=self.data.clips_per_item, num_candidates=1)

    @classmethod
    def presets(cls) -> Mapping[str, Callable[[], Self]]:
        """Whole recipes by name."""
        return {"tiny": cls._tiny}

    @classmethod
    def _tiny(cls) -> Self:
        """Features of a toy world on a CPU, in half a minute."""
        return cls(
            data=FeaturesDataConfig(
                features=FeatureFiles(TINY_WORLD, TINY_WORLD),
                captions=TINY_WORLD,
                batch_size=16,
                sampling=MergedSampling(pairs_per_video=8, min_seconds=0.0),
            ),
            model=FeatureModelConfig(
                features=FeatureSpec(("toy-appearance", "toy-movement"), (APPEARANCE_DIM, MOVEMENT_DIM)),
                embed_dim=128,
                word_dim=64,
                lower_case=True,
            ),
            optim=OptimConfig(lr=2e-3, schedule="exponential", factor=0.98, warmup_steps=0),
            trainer=TrainerConfig(num_steps=300, checkpoint_every_steps=100, evaluate_at_start=True),
            evaluation=FeatureEvaluationConfig(pairs=TINY_WORLD),
            device="cpu",
            workers=0,
        )

    def with_paths(self) -> Self:
        """The same with absolute paths; toy worlds that are not there yet are drawn."""
        return replace(
            self,
            data=self.data.with_paths(),
            model=self.model.with_paths(),
            evaluation=self.evaluation.with_paths(),
        )

    def find_data(self, bad: BadItems) -> FeatureData:
        """Narrated videos, or pairs; what cannot be used goes to `bad`."""
        config, spec = self.data, self.model.features
        if config.kind != "howto100m":
            return read_feature_pairs(
                existing(config.pairs, "data.pairs"),
                config.kind,
                subset=config.subset,
                files=config.features,
                spec=spec,
                key="data.features",
            )
        tracks = config.features.tracks(spec, key="data.features")
        found = find_featured_videos(
            tracks, existing(config.captions, "data.captions"), video_list=config.video_list
        )
        return FeatureData(usable_videos(found, bad, max_bad_share=config.max_bad_share), tracks)

    def first_model(self, data: FeatureData) -> GatedDualEncoder:
        """The model that a new run begins with, on the CPU."""
        if self.init is not None:
            return _loaded(self.init, self.model.features)
        config = self.model
        words = self._words(data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = GatedDualEncoder(
                GatedDualEncoderConfig(
                    feature_spec=config.features,
                    word_dim=words.table.shape[1],
                    sentence_dim=config.sentence_dim or config.embed_dim,
                    embed_dim=config.embed_dim,
                    max_words=config.max_words,
                    lower_case=config.lower_case,
                )
            )
        model.attach_words(words)
        return model

    def open_data(
        self, data: FeatureData, model: GatedDualEncoder
    ) -> NarratedFeaturesDataset | FeaturePairsDataset:
        """The clips with the words of the model."""
        tokenizer = cast(WordTokenizer, model.tokenizer)
        if self.data.kind == "howto100m":
            videos = cast(list[FeaturedVideo], data.items)
            return NarratedFeaturesDataset(
                videos, data.tracks, tokenizer=tokenizer, sampling=self.data.sampling
            )
        return FeaturePairsDataset(cast(list[FeaturePair], data.items), data.tracks, tokenizer=tokenizer)

    def build_task(self, data: FeatureData, model: GatedDualEncoder) -> FeatureContrastiveTask:
        """The dual encoder and the loss."""
        similarity = self.objective.similarity
        return FeatureContrastiveTask(
            model,
            build_objective(self.objective, clips_per_video=self.data.clips_per_item),
            similarity=None if similarity == "model" else similarity,
            temperature=self.objective.temperature,
        )

    def _words(self, data: FeatureData) -> WordVectors:
        config = self.model
        vocabulary = build_words(config.vocabulary, data, lower_case=config.lower_case)
        path = config.word_vectors
        if path is None:
            generator = torch.Generator().manual_seed(self.seed)
            table = torch.randn(vocabulary.num_embeddings, config.word_dim, generator=generator)
            return WordVectors(vocabulary, table)
        if path.name.endswith((".bin", ".bin.gz")):
            return read_word2vec(path, vocabulary)
        return WordVectors(vocabulary, load_word_vectors(path, vocabulary))

    def build_evaluation(self, data: FeatureData, model: GatedDualEncoder) -> Evaluation | None:
        """Retrieval among clips with features, where there is a list of them."""
        config = self.evaluation
        if config.pairs is None:
            return None
        files = config.features
        if files.features_2d is None and files.features_3d is None:
            files = self.data.features
        held_out = read_feature_pairs(
            existing(config.pairs, "evaluation.pairs"),
            config.kind,
            subset=config.subset,
            files=files,
            spec=model.feature_spec,
            key="evaluation.features",
        )
        pairs = cast(list[FeaturePair], held_out.items)

        def measure() -> dict[str, float]:
            found = evaluate_feature_retrieval(model, pairs, held_out.tracks, batch_size=config.batch_size)
            return found.text_to_video

        return Evaluation(measure, metric="R@10")


def _loaded(init: str, spec: FeatureSpec) -> GatedDualEncoder:
    model = load(init)
    if not isinstance(model, GatedDualEncoder):
        raise CheckpointError(
            init, f"holds a {type(model).__name__}, and a feature dual encoder is trained here"
        )
    if model.feature_spec.dims != spec.dims:
        raise CheckpointError(
            init,
            f"takes features of {list(model.feature_spec.dims)}, and model.features says {list(spec.dims)}",
        )
    if model.vocabulary is None:
        raise CheckpointError(
            init,
            "has no words: put GoogleNews-vectors-negative300.bin, or dict.npy and word2vec.pth, beside it",
        )
    return model
