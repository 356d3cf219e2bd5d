"""What there is to say of a model of any kind."""

from __future__ import annotations

from typing import Any

from torch import nn

from narravid.config import to_dict
from narravid.protocols import FeatureExtractor, Model, PixelDualEncoder
from narravid.text.words import WordTokenizer

__all__ = ["model_facts"]


def model_facts(model: Model) -> dict[str, Any]:
    """What there is to say of a model, as JSON values."""
    facts: dict[str, Any] = {
        "class": type(model).__name__,
        "weights_hash": model.weights_hash,
    }
    for name in ("embed_dim", "feature_dim", "similarity"):  # not every kind of model has each
        if hasattr(model, name):
            facts[name] = getattr(model, name)
    for name in ("clip_spec", "feature_spec"):
        if hasattr(model, name):
            facts[name] = to_dict(getattr(model, name))
    if isinstance(model, PixelDualEncoder | FeatureExtractor):
        facts["clip_seconds"] = model.clip_spec.duration_seconds
    if isinstance(model, nn.Module):
        facts["num_parameters"] = sum(parameter.numel() for parameter in model.parameters())
    tokenizer = getattr(model, "tokenizer", None)
    if isinstance(tokenizer, WordTokenizer):
        facts["num_words"] = len(tokenizer.vocabulary)
        facts["max_words"] = tokenizer.max_words
        facts["lower_case"] = tokenizer.lower_case
    return facts
