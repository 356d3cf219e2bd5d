"""What a trainer is told and what it reports: settings, data, evaluation, result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

import torch
from torch import nn

from narravid.errors import NarravidError

__all__ = [
    "DataRecord",
    "Evaluation",
    "MovableBatch",
    "NonFiniteError",
    "Precision",
    "TrainableTask",
    "TrainerConfig",
    "TrainingData",
    "TrainingResult",
]


class MovableBatch(Protocol):
    """A batch that can go to a device: a tensor, or a class of tensors."""

    def to(self, device: torch.device, /) -> Self:
        """The same batch on `device`."""


Precision = Literal["float32", "bfloat16"]
"""Type of the forward pass; bfloat16 runs under autocast, the weights stay float32."""

BatchT = TypeVar("BatchT", bound=MovableBatch)
BatchT_contra = TypeVar("BatchT_contra", bound=MovableBatch, contravariant=True)


class TrainableTask(Protocol[BatchT_contra]):
    """A `torch.nn.Module` that knows its loss."""

    def training_step(self, batch: BatchT_contra, /) -> Mapping[str, torch.Tensor]:
        """Scalars of one batch; "loss" is the one to minimise, the others are logged."""

    def train(self, mode: bool = True) -> Self:
        """As in `torch.nn.Module`."""

    def eval(self) -> Self:
        """As in `torch.nn.Module`."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """As in `torch.nn.Module`."""

    def state_dict(self) -> dict[str, Any]:
        """As in `torch.nn.Module`."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Any:  # noqa: ANN401
        """As in `torch.nn.Module`."""


class NonFiniteError(NarravidError):
    """Logits, loss or gradient are out of range; training stopped before the weights were touched."""


@dataclass(frozen=True)
class TrainerConfig:
    """How long to train and what to keep.

    Attributes:
        num_epochs: Passes over the training data.
        num_steps: Optimiser steps; when given it replaces num_epochs.
        log_every_steps: Steps between two lines of log.jsonl; a line holds means over them.
        checkpoint_every_steps: Steps between two checkpoints.
        keep_checkpoints: How many of the newest checkpoints stay, besides the best one.
        evaluate_every_steps: Steps between two evaluations; None evaluates at the end only.

    Raises:
        ValueError: If a count is below 1.
    """

    num_epochs: int = 300
    num_steps: int | None = None
    log_every_steps: int = 10
    checkpoint_every_steps: int = 500
    keep_checkpoints: int = 2
    evaluate_every_steps: int | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{field.name} must be at least 1, got {value}")


class DataRecord(Protocol):
    """What a run has met in its data; checkpoints hold it, so that a resumed run counts nothing twice."""

    def write(self) -> None:
        """Write it down for readers: beside each checkpoint and when training ends, however it ends."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain values only."""

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Go back to a kept state."""


@dataclass(frozen=True)
class TrainingData(Generic[BatchT]):
    """The batches of a run, reachable from any position.

    Attributes:
        batches: Called with (epoch, start_batch), gives that epoch's batches from `start_batch` on; must
            depend on nothing else, or a resumed run will differ.
        steps_per_epoch: Batches in one epoch.
        record: What was met in the batches that were given; None where nothing is recorded.

    Raises:
        ValueError: If an epoch has no batch.
    """

    batches: Callable[[int, int], Iterable[BatchT]]
    steps_per_epoch: int
    record: DataRecord | None = None

    def __post_init__(self) -> None:
        if self.steps_per_epoch < 1:
            raise ValueError(f"an epoch needs at least one batch, got steps_per_epoch={self.steps_per_epoch}")

    def stream(self, position: int) -> Generator[BatchT, None, None]:
        """Batches without end, epoch after epoch.

        Args:
            position: Batches to pass over, counted from the start of the first epoch.

        Yields:
            The batches from there on.

        Raises:
            ValueError: If an epoch gives fewer batches than `steps_per_epoch` says.
        """
        while True:
            epoch, start = divmod(position, self.steps_per_epoch)
            wanted = range(self.steps_per_epoch - start)
            given = 0
            for _, batch in zip(wanted, self.batches(epoch, start), strict=False):
                given += 1
                yield batch
            if given < len(wanted):
                raise ValueError(
                    f"epoch {epoch} gave {given} batches from batch {start} on, expected {len(wanted)}:"
                    " steps_per_epoch and the data disagree"
                )
            position += given


@dataclass(frozen=True)
class Evaluation:
    """How to judge the model while it trains.

    Attributes:
        measure: Gives named numbers for the current weights; called in eval mode without gradients.
        metric: The number that decides which model is the best.
        better: Whether a higher or a lower value is better.
    """

    measure: Callable[[], Mapping[str, float]]
    metric: str
    better: Literal["higher", "lower"] = "higher"

    def is_improvement(self, value: float, best: float | None) -> bool:
        """Whether `value` beats `best`; NaN never does, anything else beats None.

        >>> Evaluation(dict, "R@1").is_improvement(0.3, 0.2), Evaluation(dict, "R@1").is_improvement(0.2, 0.2)
        (True, False)
        """
        if best is None:
            return value == value
        return value > best if self.better == "higher" else value < best


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run reports.

    Attributes:
        step: Steps taken in all, earlier sessions of a resumed run included.
        metrics: The last evaluation's numbers; empty without one.
        best_step: Step of the best evaluation, or None without one.
        seconds: Training time in all sessions, evaluations included.
        resumed_at: Step at which this session began; equal to `step` when nothing was left to train.
    """

    step: int
    metrics: dict[str, float]
    best_step: int | None
    seconds: float
    resumed_at: int = 0
