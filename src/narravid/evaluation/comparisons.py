"""How a model compares the seconds and the sentences that it is shown together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F

from narravid.evaluation.sentences import TextSettings, encode_sentences
from narravid.inference.embedder import EmbeddingDtype
from narravid.protocols import Aligner, FeatureDualEncoder, PixelDualEncoder
from narravid.types import Similarity

__all__ = ["AlignerComparison", "Compared", "DualEncoderComparison", "SecondsComparison"]


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What a model says of some sentences and seconds.

    Attributes:
        similarity: (N, T) floating point, of each sentence and each second.
        alignability: (N,) floating point, of whether a sentence is shown at all; None where the model has no
            head for it.
    """

    similarity: torch.Tensor
    alignability: torch.Tensor | None = None


class SecondsComparison(Protocol):
    """A model as one that compares seconds with sentences."""

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences to (N, E) floating point."""

    def compare(self, seconds: torch.Tensor, text: torch.Tensor) -> Compared:
        """Compare (T, F) seconds with (N, E) sentences; both may look at all that is shown."""


class AlignerComparison:
    """An aligner: the mean of the last layers of its dual and its joint encoder, and its head if it has one.

    Args:
        model: The aligner, where and in which mode it is to compute.
    """

    def __init__(self, model: Aligner) -> None:
        self._model = model

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences to (N, E) float32."""
        return self._model.encode_text(sentences)

    def compare(self, seconds: torch.Tensor, text: torch.Tensor) -> Compared:
        """Compare (T, F) features with (N, E) sentences; longer videos than its positions are stretched."""
        model = self._model
        features = seconds.float().to(model.device)
        stretched = model.max_positions if len(features) > model.max_positions else None
        aligned = model.align(features[None], text[None], interpolate_from=stretched)
        head = aligned.alignability_joint
        return Compared(
            (aligned.dual[0, -1] + aligned.joint[0, -1]).mT / 2,
            None if head is None else head[0, model.alignability_layer],
        )


class DualEncoderComparison:
    """A dual encoder: the similarity of its embeddings, whatever else is shown.

    Args:
        model: The dual encoder, in evaluation mode.
        similarity: How its embeddings are compared; None as the model says.
        text: How sentences are read; None as the model says.
        dtype: Arithmetic of the network on sentences.

    Attributes:
        similarity: As it is compared.
    """

    def __init__(
        self,
        model: PixelDualEncoder | FeatureDualEncoder,
        *,
        similarity: Similarity | None = None,
        text: TextSettings | None = None,
        dtype: EmbeddingDtype = "float32",
    ) -> None:
        self._model = model
        self._text = text
        self._dtype: EmbeddingDtype = dtype
        self.similarity: Similarity = similarity or model.similarity

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences to (N, D) float32 on the CPU."""
        vectors = encode_sentences(self._model, sentences, settings=self._text, dtype=self._dtype)
        return self._comparable(torch.from_numpy(vectors))

    def compare(self, seconds: torch.Tensor, text: torch.Tensor) -> Compared:
        """Compare (T, D) embeddings as the model gives them with (N, D) sentences of `encode_text`."""
        return Compared(text.double() @ self._comparable(seconds).double().mT)

    def _comparable(self, vectors: torch.Tensor) -> torch.Tensor:
        return F.normalize(vectors.float(), dim=-1) if self.similarity == "cosine" else vectors.float()
