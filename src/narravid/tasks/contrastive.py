"""The contrastive task: a dual encoder and a loss, put together into one training step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import nn

from narravid.batches import FeatureBatch, NarratedBatch
from narravid.distributed import gather_with_gradient
from narravid.tasks.task import Embeddings, Task
from narravid.types import Similarity

__all__ = ["ClipCaptionTask", "ContrastiveModel", "ContrastiveTask", "FeatureContrastiveTask"]

BatchT = TypeVar("BatchT", NarratedBatch, FeatureBatch)


class ContrastiveModel(Protocol):
    """What the task needs of a dual encoder, besides a way to encode clips.

    One that learns a temperature has a `logit_scale`, () the factor that multiplies every similarity.
    """

    similarity: Similarity

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """(..., L) int64 to (..., D)."""


class ClipCaptionTask(Task[BatchT]):
    """Brings clips near their candidate captions and away from those of the rest of the global batch.

    Args:
        model: The dual encoder to train, a module that offers `ContrastiveModel` and the encoder of clips.
        loss: Maps video (G, D) and text (G, P, D) of the global batch to a scalar, such as `MILNCELoss`; see
            `narravid.tasks.objectives`.
        similarity: How embeddings are compared in training; None as the model says.
        temperature: Divides similarities and stays fixed; None takes the one that the model learns, if any.

    Raises:
        ValueError: If the model lacks something needed, or the temperature is not positive.
    """

    clip_encoder: ClassVar[str]
    """Name of the model's method that encodes clips."""

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        *,
        similarity: Similarity | None = None,
        temperature: float | None = None,
    ) -> None:
        super().__init__()
        missing = [
            name for name in ("similarity", self.clip_encoder, "encode_tokens") if not hasattr(model, name)
        ]
        if missing:
            raise ValueError(f"{type(model).__name__} cannot be trained contrastively: it has no {missing}")
        if temperature is not None and not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.model = model
        self.loss = loss
        self._similarity = similarity
        self._temperature = temperature

    def begin_step(self, step: int, *, seed: int) -> None:
        """Tell a loss that draws which step this is."""
        begin = getattr(self.loss, "begin_step", None)
        if begin is not None:
            begin(step, seed=seed)

    @abstractmethod
    def encode_clips(self, batch: BatchT) -> torch.Tensor:
        """(B, D) embeddings of the clips of a batch, as the model gives them."""

    def embed(self, batch: BatchT) -> Embeddings:
        """Embeddings of the clips, (B, D), and their candidates, (B, P, D), of length 1 for cosines."""
        model: ContrastiveModel = self.model  # type: ignore[assignment]  # checked in __init__
        video = self.encode_clips(batch)
        text = model.encode_tokens(batch.tokens)
        if (self._similarity or model.similarity) == "cosine":
            video = nn.functional.normalize(video, dim=-1)
            text = nn.functional.normalize(text, dim=-1)
        return video, text

    def objective(self, embeddings: Embeddings, batch: BatchT) -> dict[str, torch.Tensor]:
        """The loss of one batch, over the embeddings of all processes.

        Args:
            embeddings: As `embed` gives them.
            batch: B clips with P candidate captions each.

        Returns:
            `loss`: () float32, the objective, equal on every process; `positive_share`: () float32 in [0, 1],
            the share of clips of the global batch whose best-scored caption is one of their own, detached;
            `logit_scale`: (), detached, when the model learns one that is used.
        """
        video, text = (gather_with_gradient(tensor) for tensor in embeddings)
        scale: torch.Tensor | None = getattr(self.model, "logit_scale", None)
        result = {"positive_share": _positive_share(video, text)}
        if self._temperature is not None:
            video = video / self._temperature
        elif scale is not None:
            # Scaled after gathering: each process then holds the whole gradient of the scale.
            video = video * scale
            result["logit_scale"] = scale.detach()
        return {"loss": self.loss(video, text), **result}


class ContrastiveTask(ClipCaptionTask[NarratedBatch]):
    """The task on pixels, `ClipCaptionTask` for a model that has `encode_video`."""

    clip_encoder = "encode_video"

    def encode_clips(self, batch: NarratedBatch) -> torch.Tensor:
        """(B, 3, T, H, W) uint8 clips to (B, D)."""
        model: Any = self.model
        video: torch.Tensor = model.encode_video(batch.clips)
        return video


class FeatureContrastiveTask(ClipCaptionTask[FeatureBatch]):
    """The task on extracted features, `ClipCaptionTask` for a model that has `encode_features`."""

    clip_encoder = "encode_features"

    def encode_clips(self, batch: FeatureBatch) -> torch.Tensor:
        """(B, F) features to (B, D)."""
        model: Any = self.model
        video: torch.Tensor = model.encode_features(batch.features)
        return video


@torch.no_grad()
def _positive_share(video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    num_clips, num_candidates, _ = text.shape
    best = (video @ text.flatten(0, 1).T).argmax(dim=1) // num_candidates
    return (best == torch.arange(num_clips, device=best.device)).float().mean()
