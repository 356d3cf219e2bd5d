"""What `info` and `convert` say of a model, and how facts are laid out as lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from narravid.config import to_dict
from narravid.protocols import FeatureExtractor, Model, PixelDualEncoder
from narravid.text.words import WordTokenizer

__all__ = ["fact_lines", "model_facts"]


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


def fact_lines(facts: Mapping[str, Any]) -> list[str]:
    """Facts as lines of a name and a value; the fields of a nested one get dotted names."""
    flat: dict[str, Any] = {}
    for key, value in facts.items():
        flat.update(
            {f"{key}.{inner}": item for inner, item in value.items()}
            if isinstance(value, dict)
            else {key: value}
        )
    width = max(map(len, flat))
    return [f"{key:<{width}}  {_text(value)}" for key, value in flat.items()]


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if value is None:
        return "not stated"
    if isinstance(value, list):
        return ", ".join(map(str, value)) if value else "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
