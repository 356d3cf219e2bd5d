"""Retrieval of clips by sentences and of sentences by clips, with a card that says how it was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from narravid.bad_items import BadItems
from narravid.errors import NarravidError
from narravid.evaluation.cards import RULES, windows_card
from narravid.evaluation.embed import EmbeddedPairs, MissingPair, embed_pairs
from narravid.evaluation.pairs import RetrievalPair
from narravid.evaluation.sentences import TextSettings
from narravid.inference.embedder import Embedder, EmbeddingDtype
from narravid.metrics import chance_metrics, retrieval_metrics_from_embeddings
from narravid.protocols import PixelDualEncoder
from narravid.types import Similarity
from narravid.video.watched import WatchedDecoder

__all__ = ["RetrievalResult", "best_own_texts", "evaluate_pairs", "evaluate_retrieval", "score_pairs"]


@dataclass(frozen=True, slots=True)
class RetrievalResult:
    """What a retrieval evaluation found.

    Attributes:
        text_to_video: `R@1`, `R@5`, `R@10` in [0, 1], `MedR`, `MeanR` of finding the clip of each sentence.
        video_to_text: The same of finding a sentence of each clip; of several, the best-ranked counts.
        chance: The same of a model that cannot tell anything apart, text to video.
        gallery_size: Distinct clips among which each sentence was to find its own.
        num_texts: Sentences.
        card: The protocol: everything that the numbers depend on.
        missing: Pairs left out because their video could not be read; they are in neither gallery.
    """

    text_to_video: dict[str, float]
    video_to_text: dict[str, float]
    chance: dict[str, float]
    gallery_size: int
    num_texts: int
    card: dict[str, Any]
    missing: tuple[MissingPair, ...]

    @property
    def share_of_pairs(self) -> float:
        """Share of the pairs given that the numbers are about, in [0, 1]."""
        return self.num_texts / (self.num_texts + len(self.missing))

    def missing_by_reason(self) -> Counter[str]:
        """How many of the missing pairs each reason cost."""
        bad = BadItems()
        for number, item in enumerate(self.missing):
            bad.add(str(number), item.reason)
        return bad.by_reason()

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON types, shares in [0, 1]."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "missing"}
        values["share_of_pairs"] = self.share_of_pairs
        values["missing_by_reason"] = dict(self.missing_by_reason())
        values["missing"] = [{**asdict(item.pair), "reason": item.reason} for item in self.missing]
        return values


def evaluate_retrieval(
    model: PixelDualEncoder,
    pairs: Sequence[RetrievalPair],
    *,
    num_windows: int = 10,
    device: torch.device | str = "cpu",
    dtype: EmbeddingDtype = "float32",
    batch_size: int = 8,
    decoder: WatchedDecoder | None = None,
) -> RetrievalResult:
    """Measure how well a model finds clips by sentences and sentences by clips, whatever is missing of them.

    Args:
        model: The dual encoder; moved to `device` and put into eval mode.
        pairs: Clips and sentences; those of one clip share its embedding.
        num_windows: Windows per clip.
        device: Where to compute.
        dtype: Arithmetic of the network; ranks are always compared in full precision.
        batch_size: Windows per forward pass.
        decoder: Reads the videos; None makes one with one worker process.

    Returns:
        See `evaluate_pairs`.

    Raises:
        NarravidError: If no video at all could be read.
        ValueError: If there is no pair or a number is out of range.
    """
    embedder = Embedder(model, device=device, dtype=dtype, batch_size=batch_size)
    with ExitStack() as stack:
        if decoder is None:
            decoder = stack.enter_context(WatchedDecoder())
        return evaluate_pairs(embedder, pairs, num_windows=num_windows, decoder=decoder)


def evaluate_pairs(
    embedder: Embedder,
    pairs: Sequence[RetrievalPair],
    *,
    num_windows: int,
    decoder: WatchedDecoder,
    max_bad_share: float = 1.0,
) -> RetrievalResult:
    """Measure how well the model of an embedder finds clips by sentences and sentences by clips.

    The embedding of a clip is the mean over windows whose starts are equally spaced in [start, end - clip
    length - 0.4 s], as in the published evaluations; similarity is that of the embedder.

    Args:
        embedder: The model.
        pairs: Clips and sentences; those of one clip share its embedding.
        num_windows: Windows per clip.
        decoder: Reads the videos.
        max_bad_share: Share of the clips that may be bad; 1 never stops, and the result says what is missing.

    Returns:
        The metrics in both directions with the protocol card.

    Raises:
        TooManyBadItemsError: If more clips cannot be read.
        NarravidError: If no video at all could be read.
        ValueError: If there is no pair or a number is out of range.
    """
    if not pairs:
        raise ValueError("there are no pairs to evaluate")
    embedded = embed_pairs(embedder, pairs, windows=num_windows, decoder=decoder, max_bad_share=max_bad_share)
    if not embedded.pairs:
        first = embedded.missing[0]
        raise NarravidError(f"none of {len(pairs)} pairs could be read; {first.pair.path}: {first.reason}")
    card = _protocol_card(embedder, num_windows=num_windows)
    return score_pairs(embedded, similarity=embedder.similarity, card=card)


def score_pairs(embedded: EmbeddedPairs, *, similarity: Similarity, card: dict[str, Any]) -> RetrievalResult:
    """The metrics of embeddings that are there already.

    Args:
        embedded: At least one pair.
        similarity: How to compare.
        card: What the embeddings came from; repeated in the result.

    Returns:
        The metrics in both directions.
    """
    video, text = embedded.video, embedded.text
    return RetrievalResult(
        text_to_video=retrieval_metrics_from_embeddings(
            text, video, similarity=similarity, targets=embedded.clip_of_text
        ),
        video_to_text=retrieval_metrics_from_embeddings(
            video, text, similarity=similarity, targets=best_own_texts(embedded, similarity)
        ),
        chance=chance_metrics(len(video)),
        gallery_size=len(video),
        num_texts=len(text),
        card=card,
        missing=embedded.missing,
    )


def best_own_texts(embedded: EmbeddedPairs, similarity: Similarity) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(C,) int64 row of `text`: of the sentences of each clip, the one that the model scores highest."""
    text = embedded.text.astype(np.float64)
    if similarity == "cosine":
        text /= np.linalg.norm(text, axis=1, keepdims=True).clip(min=1e-12)
    scores = np.einsum("nd,nd->n", text, embedded.video[embedded.clip_of_text].astype(np.float64))
    order = np.argsort(scores, kind="stable")
    best = np.zeros(len(embedded.video), dtype=np.int64)
    best[embedded.clip_of_text[order]] = order  # of the sentences of one clip the last written stays
    return best


def _protocol_card(embedder: Embedder, *, num_windows: int) -> dict[str, Any]:
    model = embedder.model
    windows = windows_card(
        model,
        clip_spec=replace(embedder.clip_spec, crop="center"),
        num_windows=num_windows,
        similarity=embedder.similarity,
        text=TextSettings(),
    )
    return {
        "model_class": type(model).__name__,
        "weights_hash": model.weights_hash,
        **windows,
        "dtype": embedder.dtype,
        **RULES,
    }
