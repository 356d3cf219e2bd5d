"""Warning of sentences in which a model knows no word: their embedding says nothing of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch

from narravid.text.words import PADDING_ID

__all__ = ["UnknownSentences"]


class UnknownSentences:
    """The sentences that one model has warned of, so that each is named once."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def warn_once(self, sentences: Sequence[str], tokens: torch.Tensor) -> None:
        """Warn, at the caller's caller, of each sentence of padding only that was not named before.

        Args:
            sentences: N sentences.
            tokens: (N, L) int64 ids of their words, 0 = padding.
        """
        has_words = (tokens != PADDING_ID).any(dim=1).tolist()
        for sentence, known in zip(sentences, has_words, strict=True):
            if not known and sentence not in self._warned:
                self._warned.add(sentence)
                warnings.warn(
                    f"no word of {sentence!r} is in the model's vocabulary: its embedding says nothing of it",
                    stacklevel=3,
                )
