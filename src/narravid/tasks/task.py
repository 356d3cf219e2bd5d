"""What every task is: embeddings of items, and an objective over the embeddings of the whole batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import nn

__all__ = ["Embeddings", "Task"]

BatchT = TypeVar("BatchT")

Embeddings = tuple[torch.Tensor, ...]
"""What the towers make of a batch: tensors whose first axis counts the items of the batch."""


class Task(nn.Module, ABC, Generic[BatchT]):
    """A model and an objective, put together into a training step of two halves.

    `embed` looks at each item by itself and costs nearly everything; `objective` compares all items of the
    global batch and costs little. A trainer may therefore embed a large batch piece by piece and still train
    on the exact gradient of the objective over all of it (Gao et al., Scaling Deep Contrastive Learning Batch
    Size under Memory Limited Setup, 2021, arXiv 2101.06983).
    """

    @abstractmethod
    def embed(self, batch: BatchT) -> Embeddings:
        """What the towers make of the items of a batch.

        Args:
            batch: B items on the model's device.

        Returns:
            Tensors of first size B, each row computed from its own item alone, but for batch statistics.
        """

    @abstractmethod
    def objective(self, embeddings: Embeddings, batch: BatchT) -> dict[str, torch.Tensor]:
        """The loss over the embeddings of all processes.

        Args:
            embeddings: As `embed` gives them, of all items of this process.
            batch: The items; in cached micro-batches they stay where they are and only the embeddings are on
                the model's device.

        Returns:
            Scalars: `loss` is the one to minimise and equal on every process; others are to be logged.
        """

    def training_step(self, batch: BatchT) -> dict[str, torch.Tensor]:
        """The loss of one batch: `objective` of what `embed` gives."""
        return self.objective(self.embed(batch), batch)

    def forward(self, batch: BatchT) -> dict[str, torch.Tensor]:
        """The same as `training_step`."""
        return self.training_step(batch)

    def begin_step(self, step: int, *, seed: int) -> None:
        """Make ready for a step; what the objective draws in it follows from these two alone.

        Args:
            step: Steps taken before, the same on every process.
            seed: Seed of the run.
        """

    def end_step(self) -> None:
        """Called after the optimiser has moved the weights."""
