"""The parts of a run on narrated videos: vocabulary, model, batches, evaluation.

Recipes put these together; each part is a function of plain configuration and of the parts before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Protocol, cast, runtime_checkable

import torch
from torch import nn

from narravid import distributed
from narravid.batches import NarratedBatch
from narravid.data.corpus import NarratedVideo
from narravid.data.loader import LoadingReport, clip_loader
from narravid.data.narrated import NarratedDataset, Tokenizer
from narravid.data.order import BatchOrder
from narravid.data.packed_clips import PackedClips
from narravid.data.packs import PackVideos
from narravid.data.sources import ClipSource, FileClips, MemoryClips
from narravid.errors import ConfigError
from narravid.evaluation.pairs import RetrievalPair, read_pairs_csv
from narravid.evaluation.retrieval import evaluate_pairs
from narravid.inference.embedder import Embedder
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.protocols import PixelDualEncoder
from narravid.recipes.corpus import refuse_clips_not_packed
from narravid.recipes.narrated_config import EvaluationConfig, NarratedDataConfig, NarratedModelConfig
from narravid.tasks.contrastive import ContrastiveTask
from narravid.tasks.objectives import ObjectiveConfig
from narravid.text.word_vectors import load_word_vectors
from narravid.text.words import Vocabulary
from narravid.training.config import Evaluation, TrainingData
from narravid.types import ClipSpec
from narravid.video.watched import WatchedDecoder

__all__ = [
    "TrainableDualEncoder",
    "build_dataset",
    "build_evaluation",
    "build_model",
    "build_task",
    "build_vocabulary",
    "narrated_training_data",
    "retrieval_of",
]

GIBIBYTE = 1024**3


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
    device: torch.device | str = "cpu",
    model_class: type[S3DDualEncoder] = S3DDualEncoder,
) -> S3DDualEncoder:
    """A new dual encoder with random weights.

    Args:
        config: Its shape.
        vocabulary: Its words.
        seed: Seed of the weights; the caller's own random state is left as it was.
        device: Where to put it.
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
    return model.to(device)


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
    return NarratedDataset(
        videos,
        _build_source(config, videos, spec, num_workers=num_workers) if source is None else source,
        spec=spec,
        tokenizer=model.tokenizer,
        sampling=config.sampling,
        augmentation=config.augmentation,
    )


def _build_source(
    config: NarratedDataConfig, videos: Sequence[NarratedVideo], spec: ClipSpec, *, num_workers: int
) -> ClipSource:
    decoder = WatchedDecoder(num_workers) if num_workers else None
    if isinstance(videos, PackVideos):
        refuse_clips_not_packed(videos.pack, spec, config.sampling)
        return PackedClips(videos.pack, decoder)
    if config.storage == "files":
        return FileClips(decoder)
    with decoder or nullcontext():
        return MemoryClips(
            [video.path for video in videos],
            spec,
            max_bytes=int(config.max_memory_gib * GIBIBYTE),
            num_threads=max(1, num_workers),
            decoder=decoder,
        )


def narrated_training_data(
    dataset: NarratedDataset,
    *,
    batch_size: int,
    seed: int,
    num_workers: int = 0,
    pin_memory: bool = False,
    report: LoadingReport | None = None,
) -> TrainingData[NarratedBatch]:
    """The batches of a corpus, reachable from any position; they depend on seed, epoch and position only.

    Args:
        dataset: The corpus.
        batch_size: Videos per batch, those of all processes of a run together.
        seed: Seed of order and draws.
        num_workers: Threads that load ahead; 0 loads batches when they are asked for.
        pin_memory: Whether batches go to a CUDA device.
        report: Counts what was replaced and padded; kept in the checkpoints, its table written beside them.
    """
    order = BatchOrder(
        len(dataset), batch_size, seed, rank=distributed.rank(), world_size=distributed.world_size()
    )

    def batches(epoch: int, start_batch: int) -> Iterator[NarratedBatch]:
        return clip_loader(
            dataset,
            order,
            epoch=epoch,
            start_batch=start_batch,
            num_workers=num_workers,
            pin_memory=pin_memory,
            report=report,
        )

    return TrainingData(batches, order.num_batches, report)


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
