"""Retrieval of clips by sentences on extracted features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from narravid.bad_items import BadItems
from narravid.data.feature_clips import FeaturePair, pair_features
from narravid.data.feature_files import FeatureTracks
from narravid.errors import DecodeError, NarravidError
from narravid.evaluation.cards import RULES, features_card
from narravid.evaluation.embed import EmbeddedPairs, MissingPair
from narravid.evaluation.pairs import RetrievalPair
from narravid.evaluation.retrieval import RetrievalResult, score_pairs
from narravid.evaluation.sentences import TextSettings, autocast, encode_sentences
from narravid.inference.clip_encoder import EmbeddingDtype
from narravid.protocols import FeatureDualEncoder
from narravid.types import Span

__all__ = ["embed_feature_pairs", "evaluate_feature_retrieval"]

Clip = tuple[str, Span | None]


def evaluate_feature_retrieval(
    model: FeatureDualEncoder,
    pairs: Sequence[FeaturePair],
    tracks: FeatureTracks,
    *,
    batch_size: int = 256,
    max_bad_share: float = 1.0,
) -> RetrievalResult:
    """Measure how well a model finds clips by sentences and sentences by clips.

    Args:
        model: The dual encoder, where and in which mode it is to compute.
        pairs: Clips and sentences; those of one clip share its embedding.
        tracks: The features.
        batch_size: Clips per forward pass.
        max_bad_share: Share of the clips whose features may be bad; 1 never stops.

    Returns:
        The metrics in both directions with the protocol card.

    Raises:
        TooManyBadItemsError: If more of the features are bad.
        NarravidError: If none could be read.
        ValueError: If there is no pair.
    """
    embedded = embed_feature_pairs(model, pairs, tracks, batch_size=batch_size, max_bad_share=max_bad_share)
    return score_pairs(embedded, similarity=model.similarity, card=_protocol_card(model))


@torch.no_grad()
def embed_feature_pairs(
    model: FeatureDualEncoder,
    pairs: Sequence[FeaturePair],
    tracks: FeatureTracks,
    *,
    batch_size: int = 256,
    max_bad_share: float = 1.0,
    text: TextSettings | None = None,
    dtype: EmbeddingDtype = "float32",
) -> EmbeddedPairs:
    """Embed the features of clips and the sentences that describe them.

    Args:
        model: The dual encoder, where and in which mode it is to compute.
        pairs: Clips and sentences; those of one clip share its embedding.
        tracks: The features.
        batch_size: Clips per forward pass.
        max_bad_share: Share of the clips whose features may be bad; 1 never stops.
        text: How sentences are read; None as the model says.
        dtype: Arithmetic of the network.

    Returns:
        The embeddings as the model gives them, and the pairs that had to be left out; the path of a pair is
        the name of its features.

    Raises:
        TooManyBadItemsError: If more of the features are bad.
        NarravidError: If none could be read.
        ValueError: If there is no pair.
    """
    if not pairs:
        raise ValueError("there are no pairs to evaluate")
    clips: dict[Clip, int] = {}
    features: list[torch.Tensor] = []
    reasons: dict[Clip, str] = {}
    bad = BadItems()
    wanted = list(dict.fromkeys((pair.name, pair.span) for pair in pairs))
    for number, clip in enumerate(wanted, 1):
        try:
            features.append(pair_features(tracks.read(clip[0]), clip[1]))
            clips[clip] = len(features) - 1
        except DecodeError as error:
            reasons[clip] = error.reason
            bad.add(error.path, error.reason)
            bad.check_share(number, num_expected=len(wanted), max_share=max_bad_share)
    if not features:
        raise NarravidError(f"no features of {len(pairs)} pairs could be read: {bad.summary()}")
    kept = [pair for pair in pairs if (pair.name, pair.span) in clips]
    return EmbeddedPairs(
        pairs=tuple(_as_retrieval(pair) for pair in kept),
        video=_encode(model, torch.split(torch.stack(features), batch_size), dtype),
        text=encode_sentences(model, [pair.text for pair in kept], settings=text, dtype=dtype),
        clip_of_text=np.array([clips[pair.name, pair.span] for pair in kept], dtype=np.int64),
        missing=tuple(
            MissingPair(_as_retrieval(pair), reasons[pair.name, pair.span])
            for pair in pairs
            if (pair.name, pair.span) in reasons
        ),
    )


def _encode(
    model: FeatureDualEncoder, parts: Sequence[torch.Tensor], dtype: EmbeddingDtype
) -> npt.NDArray[np.float32]:
    with autocast(model.device, dtype):
        vectors = [model.encode_features(part) for part in parts]
    return torch.cat(vectors).float().cpu().numpy()


def _as_retrieval(pair: FeaturePair) -> RetrievalPair:
    return RetrievalPair(pair.name, pair.text, pair.span)


def _protocol_card(model: FeatureDualEncoder) -> dict[str, Any]:
    return {
        "model_class": type(model).__name__,
        "weights_hash": model.weights_hash,
        **features_card(model, similarity=model.similarity, text=TextSettings()),
        "dtype": "float32",
        **RULES,
    }
