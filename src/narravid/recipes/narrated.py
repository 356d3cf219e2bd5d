"""The parts of a run on narrated videos: vocabulary, model, batches, evaluation.

Recipes put these together; each part is a function of plain configuration and of the parts before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import nn

from narravid.data.corpus import NarratedVideo
from narravid.data.narrated import NarratedDataset, Tokenizer
from narravid.data.packed_clips import PackedClips
from narravid.data.packs import PackVideos
from narravid.data.sources import ClipSource
from narravid.errors import CheckpointError, ConfigError
from narravid.evaluation.pairs import RetrievalPair, read_pairs_csv
from narravid.evaluation.retrieval import evaluate_pairs
from narravid.inference.embedder import Embedder
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.kinds import load_pixel_dual_encoder, normalised_as
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.protocols import PixelDualEncoder
from narravid.recipes.clip_source import open_clip_source
from narravid.recipes.corpus import refuse_clips_not_packed
from narravid.recipes.narrated_config import EvaluationConfig, NarratedDataConfig, NarratedModelConfig
from narravid.tasks.contrastive import ContrastiveTask
from narravid.tasks.objectives import ObjectiveConfig
from narravid.text.word_vectors import load_word_vectors
from narravid.text.words import Vocabulary
from narravid.training.config import Evaluation
from narravid.types import ClipSpec
from narravid.video.watched import WatchedDecoder

__all__ = [
    "TrainableDualEncoder",
    "build_dataset",
    "build_evaluation",
    "build_model",
    "build_task",
    "build_vocabulary",
    "load_trainable",
    "retrieval_of",
    "set_clips",
]


@runtime_checkable
class TrainableDualEncoder(PixelDualEncoder, Protocol):
    """A pixel dual encoder that learns from clips and tokenized captions: S3D, CPD, ViCLIP, or one's own.

    It is a `torch.nn.Module` and a `narravid.protocols.Model` besides.
    """

    @property
    def tokenizer(self) -> Tokenizer:
        """Turns captions into the ids that the text tower reads."""

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """(..., L) int64 as the tokenizer gives them to (..., D) float32."""


def load_trainable(name: str | Path) -> TrainableDualEncoder:
    """What `narravid.load` gives for a name or path.

    Raises:
        CheckpointError: If it gives no dual encoder of pixels that can be trained.
    """
    model = load_pixel_dual_encoder(name)
    if not isinstance(model, TrainableDualEncoder) or not isinstance(model, nn.Module):
        raise CheckpointError(
            name,
            f"a {type(model).__name__} cannot learn from captions: it lacks tokenizer or encode_tokens",
        )
    return model


def set_clips(model: TrainableDualEncoder, spec: ClipSpec) -> None:
    """Give a model clips of other frames, rate and size; how pixels become numbers stays its own.

    Raises:
        ValueError: If its network cannot take them.
    """
    whole: Any = model
    whole.config = replace(whole.config, clip_spec=normalised_as(model, spec))
    whole.clip_spec = whole.config.clip_spec


def build_vocabulary(
    config: NarratedDataConfig, videos: Iterable[NarratedVideo], *, lower_case: bool
) -> Vocabulary:
    """The vocabulary that the configuration names, or one of the words of the captions.

    Raises:
        AnnotationError: If the file is no word list.
        ConfigError: If the captions hold no word often enough.
    """
    if config.vocabulary is not None:
        return Vocabulary.load(config.vocabulary)
    texts = (text for video in videos for text in video.track.texts)
    try:
        return Vocabulary.from_captions(
            texts,
            min_count=config.min_word_count,
            max_words=config.max_vocabulary_words,
            lower_case=lower_case,
        )
    except ValueError as error:
        raise ConfigError(f"no vocabulary can be built from the captions: {error}") from error


def build_model(
    config: NarratedModelConfig,
    vocabulary: Vocabulary,
    *,
    seed: int,
    model_class: type[S3DDualEncoder] = S3DDualEncoder,
) -> S3DDualEncoder:
    """A new dual encoder with random weights.

    Args:
        config: Its shape.
        vocabulary: Its words.
        seed: Seed of the weights; the caller's own random state is left as it was.
        model_class: What to build; a class of one's own may have another video tower.

    Raises:
        ValueError: If the word vectors do not fit the vocabulary.
    """
    vectors = None if config.word_vectors is None else load_word_vectors(config.word_vectors, vocabulary)
    text = SentenceTowerConfig(
        num_embeddings=vocabulary.num_embeddings,
        word_dim=config.word_dim if vectors is None else vectors.shape[1],
        hidden_dim=config.hidden_dim,
        embed_dim=config.video.embed_dim,
        freeze_words=vectors is not None,
    )
    whole = S3DDualEncoderConfig(
        video=config.video,
        text=text,
        clip_spec=config.clip_spec,
        max_words=config.max_words,
        lower_case=config.lower_case,
        similarity=config.similarity,
        temperature=config.temperature,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(whole, vocabulary)
    if vectors is not None:
        with torch.no_grad():
            model.text.word_embedding.weight.copy_(vectors)
    return model


def build_dataset(
    config: NarratedDataConfig,
    videos: Sequence[NarratedVideo],
    model: TrainableDualEncoder,
    *,
    num_workers: int = 0,
    source: ClipSource | None = None,
) -> NarratedDataset:
    """The clips of a corpus as a model wants to see them.

    Args:
        config: How clips are drawn and where they are kept.
        videos: The corpus.
        model: Gives tokenizer and clip specification.
        num_workers: Watched processes that decode, which closing the dataset ends; 0 decodes in this process.
        source: Where clips come from; None makes the one that the configuration names.

    Raises:
        ConfigError: If the videos are those of a pack that is made for other clips.
        ValueError: If the videos do not fit into the memory that they may take.
    """
    spec = replace(model.clip_spec, crop=config.crop)
    if source is not None:
        chosen = source
    elif isinstance(videos, PackVideos):
        refuse_clips_not_packed(videos.pack, spec, config.sampling)
        chosen = PackedClips(videos.pack, WatchedDecoder(num_workers) if num_workers else None)
    else:
        paths = (video.path for video in videos)
        chosen = open_clip_source(paths, spec, config=config, num_workers=num_workers)
    return NarratedDataset(
        videos,
        chosen,
        spec=spec,
        tokenizer=model.tokenizer,
        sampling=config.sampling,
        augmentation=config.augmentation,
    )


def build_task(model: TrainableDualEncoder, loss: nn.Module, config: ObjectiveConfig) -> ContrastiveTask:
    """The model and what it is to minimise.

    Args:
        model: The dual encoder.
        loss: Maps video (G, D) and text (G, P, D) of the global batch to a scalar.
        config: How embeddings are compared in it.
    """
    return ContrastiveTask(
        cast(nn.Module, model),
        loss,
        similarity=None if config.similarity == "model" else config.similarity,
        temperature=config.temperature,
    )


def build_evaluation(config: EvaluationConfig, model: TrainableDualEncoder) -> Evaluation | None:
    """Text-to-video retrieval of the model as it is, judged by R@10; None when there is no list of pairs.

    Raises:
        AnnotationError: If the list of pairs has a fault.
    """
    return None if config.pairs is None else retrieval_of(read_pairs_csv(config.pairs), config, model)


def retrieval_of(
    pairs: Sequence[RetrievalPair], config: EvaluationConfig, model: TrainableDualEncoder
) -> Evaluation:
    """Text-to-video retrieval among given pairs, judged by R@10; the pairs of `config` do not count."""

    def measure() -> dict[str, float]:
        embedder = Embedder(
            model,
            device=model.device,
            batch_size=config.batch_size,
            similarity=None if config.similarity == "model" else config.similarity,
        )
        with WatchedDecoder() as decoder:
            result = evaluate_pairs(embedder, pairs, num_windows=config.num_windows, decoder=decoder)
        return result.text_to_video

    return Evaluation(measure, metric="R@10")
