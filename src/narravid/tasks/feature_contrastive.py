"""The contrastive task on extracted features: a feature dual encoder and a loss, put together."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from narravid.batches import FeatureBatch
from narravid.distributed import gather_with_gradient
from narravid.losses.unit_vectors import unit_vectors
from narravid.tasks.task import Embeddings, Task
from narravid.types import Similarity

__all__ = ["FeatureContrastiveModel", "FeatureContrastiveTask", "SimilarityLoss"]


class FeatureContrastiveModel(Protocol):
    """What the task needs of a feature dual encoder."""

    similarity: Similarity

    def encode_features(self, features: torch.Tensor) -> torch.Tensor:
        """(B, F) floating point to (B, D)."""

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """(..., L) int64 to (..., D)."""


class SimilarityLoss(nn.Module):
    """A loss over the matrix of similarities, such as `MaxMarginRankingLoss`, as one over embeddings.

    Args:
        loss: Maps (G, G), each sentence against each clip, to a scalar.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """(G, D) clips and (G, 1, D) sentences, one for each, to ().

        Raises:
            ValueError: If a clip has more than one sentence.
        """
        if text.ndim != 3 or text.shape[1] != 1:
            raise ValueError(
                f"a loss over similarities needs one sentence per clip, (G, 1, D); got {tuple(text.shape)}"
            )
        loss: torch.Tensor = self.loss(text[:, 0] @ video.T)
        return loss


class FeatureContrastiveTask(Task[FeatureBatch]):
    """Brings the features of a clip near its own captions and away from those of the global batch.

    Args:
        model: The feature dual encoder to train, a module that offers `FeatureContrastiveModel`.
        loss: Maps video (G, D) and text (G, P, D) of the global batch to a scalar, such as `MILNCELoss` or a
            `SimilarityLoss`.

    Raises:
        ValueError: If the model is of another kind.
    """

    def __init__(self, model: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        missing = [
            name for name in ("similarity", "encode_features", "encode_tokens") if not hasattr(model, name)
        ]
        if missing:
            raise ValueError(f"{type(model).__name__} cannot be trained on features: it has no {missing}")
        self.model = model
        self.loss = loss

    def embed(self, batch: FeatureBatch) -> Embeddings:
        """Embeddings of the clips, (B, D), and their captions, (B, P, D), normalised for cosine models."""
        model: FeatureContrastiveModel = self.model  # type: ignore[assignment]  # checked in __init__
        video, text = model.encode_features(batch.features), model.encode_tokens(batch.tokens)
        if model.similarity == "cosine":
            video, text = unit_vectors(video), unit_vectors(text)
        return video, text

    def objective(self, embeddings: Embeddings, batch: FeatureBatch) -> dict[str, torch.Tensor]:
        """The loss of one batch, over the embeddings of all processes.

        Args:
            embeddings: As `embed` gives them.
            batch: B clips with P captions each.

        Returns:
            `loss`: () floating point, the objective; `positive_share`: () float32 in [0, 1], the share of
            clips of the global batch whose best-scored caption is one of their own, detached.
        """
        video, text = (gather_with_gradient(tensor) for tensor in embeddings)
        return {"loss": self.loss(video, text), "positive_share": _positive_share(video, text)}


@torch.no_grad()
def _positive_share(video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    best = (video @ text.flatten(0, 1).T).argmax(dim=1) // text.shape[1]
    return (best == torch.arange(len(video), device=best.device)).float().mean()
