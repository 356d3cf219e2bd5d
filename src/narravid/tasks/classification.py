"""The classification task: which of several classes a clip shows."""

from __future__ import annotations

from typing import Protocol, Self

import torch
from torch import nn

from narravid.batches import LabelledBatch
from narravid.distributed import gather, gather_with_gradient
from narravid.tasks.task import Embeddings, Task

__all__ = ["ClassificationTask", "ClassifyingModel"]


class ClassifyingModel(Protocol):
    """What the task needs of a model."""

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) uint8 to (B, F)."""

    def classify_features(self, features: torch.Tensor) -> torch.Tensor:
        """(B, F) to (B, C) scores."""


class ClassificationTask(Task[LabelledBatch]):
    """Cross-entropy of the class of each clip, averaged over the batches of all processes.

    Args:
        model: A trunk with a classifier, such as `VideoClassifier`; its trunk is the module `video`.
        frozen_trunk: Train the classifier alone: the trunk takes no gradient, and its normalisations keep
            their statistics.

    Raises:
        ValueError: If the model cannot classify.
    """

    def __init__(self, model: nn.Module, *, frozen_trunk: bool = False) -> None:
        super().__init__()
        missing = [name for name in ("video_features", "classify_features") if not hasattr(model, name)]
        if missing:
            raise ValueError(f"{type(model).__name__} cannot be trained to classify: it has no {missing}")
        self.model = model
        self._frozen_trunk = frozen_trunk
        if frozen_trunk:
            self.model.get_submodule("video").requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """As in `torch.nn.Module`; a frozen trunk stays in evaluation mode."""
        super().train(mode)
        if self._frozen_trunk:
            self.model.get_submodule("video").eval()
        return self

    def embed(self, batch: LabelledBatch) -> Embeddings:
        """Scores of the classes, (B, C)."""
        model: ClassifyingModel = self.model  # type: ignore[assignment]  # checked in __init__
        if self._frozen_trunk:
            with torch.no_grad():
                features = model.video_features(batch.clips)
        else:
            features = model.video_features(batch.clips)
        return (model.classify_features(features),)

    def objective(self, embeddings: Embeddings, batch: LabelledBatch) -> dict[str, torch.Tensor]:
        """The loss of one batch, over the scores of all processes.

        Args:
            embeddings: As `embed` gives them.
            batch: B clips with their classes.

        Returns:
            `loss`: () float32, equal on every process; `top1`: () float32 in [0, 1], the share of clips of
            the global batch whose best-scored class is their own, detached.
        """
        [own_scores] = embeddings
        scores = gather_with_gradient(own_scores)
        labels = gather(batch.labels.to(own_scores.device))
        loss = nn.functional.cross_entropy(scores, labels)
        return {"loss": loss, "top1": (scores.detach().argmax(dim=1) == labels).float().mean()}
