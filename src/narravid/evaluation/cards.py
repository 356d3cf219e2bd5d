"""What numbers of retrieval depend on, as JSON values: parts of protocol cards that several results share."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from narravid.config import to_dict
from narravid.evaluation.sentences import TextSettings, text_card
from narravid.protocols import FeatureDualEncoder, PixelDualEncoder
from narravid.types import ClipSpec, Similarity

__all__ = ["RULES", "clip_card", "features_card", "windows_card"]

RULES: Mapping[str, str] = MappingProxyType(
    {
        "ties": "expected rank over all orders of equal scores",
        "test_time_tricks": "none (no dual softmax, no merged clips, no query expansion)",
    }
)
"""What holds for every result."""


def clip_card(spec: ClipSpec) -> dict[str, Any]:
    """Frames, rate, crop, size, frame rule and normalisation of a clip, as JSON values."""
    return to_dict(spec) | {"duration_seconds": spec.duration_seconds}


def windows_card(
    model: PixelDualEncoder,
    *,
    clip_spec: ClipSpec,
    num_windows: int,
    similarity: Similarity,
    text: TextSettings,
) -> dict[str, Any]:
    """What the numbers depend on when pixels are looked at, as JSON values.

    Args:
        model: The dual encoder.
        clip_spec: What a window looks like.
        num_windows: Windows per clip.
        similarity: How embeddings are compared.
        text: How sentences are read.
    """
    return {
        "clip": clip_card(clip_spec),
        "num_windows": num_windows,
        "window_starts": "equally spaced in [start, end - clip length - 0.4 s]; the same start once",
        "window_mean": f"of {'L2-normalised' if similarity == 'cosine' else 'raw'} embeddings",
        "similarity": similarity,
        "text": text_card(model, text),
    }


def features_card(
    model: FeatureDualEncoder, *, similarity: Similarity, text: TextSettings, **places: object
) -> dict[str, Any]:
    """What the numbers depend on when features are looked at, as JSON values.

    Args:
        model: The dual encoder.
        similarity: How embeddings are compared.
        text: How sentences are read.
        places: Where the features lie.
    """
    spec = model.feature_spec
    return {
        "features": dict(zip(spec.extractors, spec.dims, strict=True)),
        **places,
        "clip": "the largest value of each feature over the clip, each extractor's L2-normalised",
        "similarity": similarity,
        "text": text_card(model, text),
    }
