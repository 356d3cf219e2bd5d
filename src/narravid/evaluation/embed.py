"""Embedding clips and the sentences that describe them, the first half of every retrieval evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from narravid.evaluation.pairs import RetrievalPair
from narravid.evaluation.sentences import TextSettings, encode_sentences
from narravid.evaluation.windows import PlanRule, WindowItem, encode_windows, spread_windows
from narravid.inference.embedder import Embedder
from narravid.types import Similarity
from narravid.video.watched import WatchedDecoder

if TYPE_CHECKING:
    from narravid.evaluation.embedding_cache import EmbeddingCache

__all__ = ["EmbeddedPairs", "MissingPair", "embed_pairs"]


@dataclass(frozen=True, slots=True)
class MissingPair:
    """A pair that could not be evaluated.

    Attributes:
        pair: The pair.
        reason: What was wrong with its video.
    """

    pair: RetrievalPair
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPairs:
    """Embeddings of clips and sentences, and which belongs to which.

    Attributes:
        pairs: The N pairs whose clip could be read, in the order given.
        video: (C, D) float32, one row for each distinct clip: the mean over its windows.
        text: (N, D) float32, one row for each pair.
        clip_of_text: (N,) int64 row of `video` that each sentence describes; 0, 1, 2 ... where no clip has
            two sentences.
        missing: The pairs whose clip could not be read.
    """

    pairs: tuple[RetrievalPair, ...]
    video: npt.NDArray[np.float32]
    text: npt.NDArray[np.float32]
    clip_of_text: npt.NDArray[np.int64]
    missing: tuple[MissingPair, ...]


def embed_pairs(
    embedder: Embedder,
    pairs: Sequence[RetrievalPair],
    *,
    windows: int | PlanRule,
    decoder: WatchedDecoder,
    max_bad_share: float = 1.0,
    cache: EmbeddingCache | None = None,
    text: TextSettings | None = None,
) -> EmbeddedPairs:
    """Embed the sentences and, over windows spread evenly, the clips of some pairs.

    A clip that several pairs share is embedded once. The mean is taken over window embeddings as the
    embedder gives them: L2-normalised for models that compare by cosine, raw for others. Frames are cropped
    at the centre, also for a model that was trained on random crops.

    Args:
        embedder: The model.
        pairs: Clips and sentences.
        windows: Windows per clip, S, each as the model wants it; fewer are decoded where a clip is too short
            to hold different ones. Or what windows are and where they lie.
        decoder: Reads the videos, ahead of the model.
        max_bad_share: Share of the clips that may be bad; 1 never stops.
        cache: Keeps the embeddings of windows; what it knows is not decoded. None keeps nothing.
        text: How sentences are read; None as the model says.

    Returns:
        The embeddings and the pairs that had to be left out. C and N are 0 if no video could be read.

    Raises:
        TooManyBadItemsError: If more clips cannot be read.
        ValueError: If there is to be no window.
    """
    moments = list(dict.fromkeys(map(_moment, pairs)))
    encoded = encode_windows(
        embedder.clip_encoder,
        moments,
        spread_windows(embedder.clip_spec, windows) if isinstance(windows, int) else windows,
        decoder=decoder,
        batch_size=embedder.batch_size,
        cache=cache,
        max_bad_share=max_bad_share,
    )
    reasons = {moments[number]: reason for number, reason in encoded.reasons.items()}
    readable = [moment for moment in moments if moment not in reasons]
    row_of_moment = {moment: row for row, moment in enumerate(readable)}
    kept = tuple(pair for pair in pairs if _moment(pair) in row_of_moment)
    means = [
        _mean_of_windows(vectors, embedder.similarity) for vectors in encoded.vectors if vectors is not None
    ]
    return EmbeddedPairs(
        pairs=kept,
        video=np.stack(means) if means else np.zeros((0, embedder.clip_encoder.dim), dtype=np.float32),
        text=_sentences(embedder, [pair.text for pair in kept], text),
        clip_of_text=np.array([row_of_moment[_moment(pair)] for pair in kept], dtype=np.int64),
        missing=tuple(
            MissingPair(pair, reasons[_moment(pair)]) for pair in pairs if _moment(pair) in reasons
        ),
    )


def _sentences(
    embedder: Embedder, sentences: Sequence[str], settings: TextSettings | None
) -> npt.NDArray[np.float32]:
    vectors = encode_sentences(embedder.model, sentences, settings=settings, dtype=embedder.dtype)
    return _compared(vectors, embedder.similarity)


def _moment(pair: RetrievalPair) -> WindowItem:
    return WindowItem(pair.path, pair.span)


def _mean_of_windows(vectors: npt.NDArray[np.float32], similarity: Similarity) -> npt.NDArray[np.float32]:
    """(S, D) to (D,): the mean of what is compared, which for cosine are unit vectors."""
    compared = _compared(vectors, similarity)
    mean: npt.NDArray[np.float32] = compared.astype(np.float64).mean(axis=0).astype(np.float32)
    return mean


def _compared(vectors: npt.NDArray[np.float32], similarity: Similarity) -> npt.NDArray[np.float32]:
    """(N, D) as they are, or for cosine L2-normalised."""
    if similarity != "cosine":
        return vectors
    unit: npt.NDArray[np.float32] = F.normalize(torch.from_numpy(vectors), dim=-1).numpy()
    return unit
