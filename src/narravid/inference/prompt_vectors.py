"""Prompts to the vectors that trajectories are compared with: the only place where it is done."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from narravid.errors import ConfigError, NarravidError
from narravid.inference.clip_encoder import EmbeddingDtype
from narravid.inference.embedder import Embedder
from narravid.inference.query import check_query
from narravid.protocols import PixelDualEncoder
from narravid.text.words import split_words

__all__ = ["encode_prompts", "unknown_words"]

PROMPTS_AT_ONCE = 256
"""Prompts per forward pass: memory does not grow with their number."""


def encode_prompts(
    model: PixelDualEncoder, prompts: Sequence[str], dtype: EmbeddingDtype = "float32"
) -> torch.Tensor:
    """Unit vectors of prompts, for cosines whatever the model's own similarity.

    Args:
        model: The dual encoder; computes where it is, and is set to eval mode.
        prompts: P sentences.
        dtype: Arithmetic of the network.

    Returns:
        (P, D) float32 of length 1 on the CPU.

    Raises:
        ConfigError: If a prompt has no words, or none that the model knows; names all of these.
        NarravidError: If the model gives NaN, infinity or a zero vector; of the last names the prompt.
    """
    unknown_words(model, prompts)
    embedder = Embedder(model, device=model.device, dtype=dtype, similarity="cosine")
    vectors = torch.zeros(len(prompts), model.embed_dim)
    for start in range(0, len(prompts), PROMPTS_AT_ONCE):
        batch = slice(start, start + PROMPTS_AT_ONCE)
        vectors[batch] = torch.from_numpy(embedder.embed_text(prompts[batch]))
    for prompt, vector in zip(prompts, vectors, strict=True):
        if not bool(vector.any()):
            raise NarravidError(f"the model gives a zero vector for {prompt!r}, which every video fits alike")
    return vectors


def unknown_words(model: PixelDualEncoder, prompts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The words that a model leaves out of prompts, because its word list has them not.

    Args:
        model: The dual encoder.
        prompts: P sentences.

    Returns:
        Prompt → its unknown words, for prompts that have some.

    Raises:
        ConfigError: If a prompt has no words, or none that the model knows; names all of these.
    """
    unknown, faults = {}, []
    for prompt in prompts:
        if not split_words(prompt, lower_case=False):
            faults.append(f"the prompt {prompt!r} has no words")
            continue
        try:
            words = check_query(model, prompt)
        except NarravidError as error:
            faults.append(str(error))
            continue
        if words:
            unknown[prompt] = tuple(words)
    if faults:
        raise ConfigError(f"{'; '.join(faults)}; every such prompt would get the same scores", key="prompts")
    return unknown
