"""Embedding the sentences of a benchmark, with the model's own text settings or others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from narravid.errors import ConfigError, NarravidError
from narravid.inference.clip_encoder import EmbeddingDtype
from narravid.protocols import FeatureDualEncoder, PixelDualEncoder
from narravid.text.words import WordTokenizer

__all__ = ["TextSettings", "autocast", "encode_sentences", "text_card"]

SENTENCES_PER_BATCH = 256

DualEncoder = PixelDualEncoder | FeatureDualEncoder


@dataclass(frozen=True, slots=True)
class TextSettings:
    """How sentences become words.

    Attributes:
        max_words: Words that are read; None as the model says.
        lower_case: Whether they are lower-cased first; None as the model says.
    """

    max_words: int | None = None
    lower_case: bool | None = None

    def __post_init__(self) -> None:
        if self.max_words is not None and self.max_words < 1:
            raise ValueError(f"max_words must be at least 1, got {self.max_words}")

    @property
    def is_own(self) -> bool:
        """Whether all is left to the model."""
        return self.max_words is None and self.lower_case is None


def autocast(device: torch.device, dtype: EmbeddingDtype) -> AbstractContextManager[object]:
    """The arithmetic of a network that is not a `ClipEncoder`'s.

    Args:
        device: Where it computes.
        dtype: The arithmetic.
    """
    return nullcontext() if dtype == "float32" else torch.autocast(device.type, dtype=torch.bfloat16)


def encode_sentences(
    model: DualEncoder,
    sentences: Sequence[str],
    *,
    settings: TextSettings | None = None,
    dtype: EmbeddingDtype = "float32",
) -> npt.NDArray[np.float32]:
    """Embed sentences.

    Args:
        model: The dual encoder, in evaluation mode.
        sentences: N sentences.
        settings: How they are read; None as the model says.
        dtype: Arithmetic of the network.

    Returns:
        (N, D) float32 as the model gives them, not normalised.

    Raises:
        ConfigError: If the model does not read words, so that other settings mean nothing.
        NarravidError: If the model gives NaN or infinity.
    """
    encode = _encoder(model, settings or TextSettings())
    parts = [torch.zeros((0, model.embed_dim))]
    with torch.inference_mode(), autocast(model.device, dtype):
        for start in range(0, len(sentences), SENTENCES_PER_BATCH):
            parts.append(encode(list(sentences[start : start + SENTENCES_PER_BATCH])).float().cpu())
    vectors = torch.cat(parts)
    if not bool(torch.isfinite(vectors).all()):
        raise NarravidError("the model gives NaN or infinity for a sentence; its weights are not usable")
    return vectors.numpy()


def text_card(model: DualEncoder, settings: TextSettings) -> dict[str, Any]:
    """How sentences are read, as JSON values; None where the model does not say."""
    tokenizer = getattr(model, "tokenizer", None)
    source = tokenizer if isinstance(tokenizer, WordTokenizer) else getattr(model, "config", None)
    own = {name: getattr(source, name, None) for name in ("max_words", "lower_case")}
    return {
        name: value if getattr(settings, name) is None else getattr(settings, name)
        for name, value in own.items()
    } | {"settings": "the model's own" if settings.is_own else "changed for this measurement"}


def _encoder(model: DualEncoder, settings: TextSettings) -> Callable[[Sequence[str]], torch.Tensor]:
    tokenizer: Any = getattr(model, "tokenizer", None)
    encode_tokens: Any = getattr(model, "encode_tokens", None)
    if settings.is_own:
        return model.encode_text
    if not isinstance(tokenizer, WordTokenizer) or encode_tokens is None:
        raise ConfigError(
            f"this {type(model).__name__} has no list of words, which other text settings need: leave out "
            "--max-words and --case",
            key="max_words",
        )
    changed = WordTokenizer(
        tokenizer.vocabulary,
        max_words=settings.max_words or tokenizer.max_words,
        lower_case=tokenizer.lower_case if settings.lower_case is None else settings.lower_case,
        unknown=tokenizer.unknown,
    )
    return lambda sentences: encode_tokens(changed(sentences))
