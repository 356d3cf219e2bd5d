"""What a trainer is told and what it reports: settings, data, evaluation, result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

import torch
from torch import nn

from narravid.config import check_choices
from narravid.errors import NarravidError

__all__ = [
    "BatchNormUse",
    "DataRecord",
    "Evaluation",
    "MicroBatches",
    "NonFiniteError",
    "Precision",
    "TrainableBatch",
    "TrainableTask",
    "TrainerConfig",
    "TrainingData",
    "TrainingResult",
]


class TrainableBatch(Protocol):
    """What a trainer is given: a tensor, or a class of tensors that all count the same items."""

    def to(self, device: torch.device, /) -> Self:
        """The same batch on `device`."""

    def split(self, size: int, /) -> Sequence[Self]:
        """The same items in batches of `size`, the last one perhaps smaller."""

    def __len__(self) -> int:
        """How many items there are."""


Precision = Literal["float32", "bfloat16", "float16"]
"""Type of the forward pass; the lower ones run under autocast and the weights stay float32. With float16 the
loss is scaled, and a step whose gradient overflows is left out."""

MicroBatches = Literal["cached", "accumulated"]
"""What micro-batches are: pieces of one batch, whose loss and gradient are those of the whole batch but for
batch statistics, or small batches by themselves, whose gradients are averaged."""

BatchNormUse = Literal["own", "frozen", "synchronised"]
"""Whose statistics batch normalisation trains with: those of each process's own (micro-)batch, the running
ones, or those of all processes together (CUDA only)."""

BatchT = TypeVar("BatchT", bound=TrainableBatch)
BatchT_contra = TypeVar("BatchT_contra", bound=TrainableBatch, contravariant=True)


class TrainableTask(Protocol[BatchT_contra]):
    """A `torch.nn.Module` that knows its loss, such as a `narravid.tasks.task.Task`.

    One with `embed` and `objective` can be trained on cached micro-batches, and one with `begin_step` or
    `end_step` has them called around each step.
    """

    def training_step(self, batch: BatchT_contra, /) -> Mapping[str, torch.Tensor]:
        """Scalars of one batch; "loss" is the one to minimise, the others are logged."""

    def train(self, mode: bool = True) -> Self:
        """As in `torch.nn.Module`."""

    def eval(self) -> Self:
        """As in `torch.nn.Module`."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """As in `torch.nn.Module`."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
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
        evaluate_every_steps: Steps between two evaluations; None evaluates at the end only, or, where the
            schedule is plateau, after each epoch.
        evaluate_at_start: Whether the model is evaluated before the first step, too.
        micro_batch_size: Items of each process that pass through the network at once, for less memory; None
            takes its whole share of the batch.
        micro_batches: Whether micro-batches give the gradient of the whole batch (cached, two forward
            passes) or the mean of their own gradients (accumulated, fewer negatives for each).
        ema_decay: Decay of an average of the weights, which is then evaluated and exported; None for none.
        batch_norm: Statistics that batch normalisation trains with.
        activation_checkpointing: Compute activations again in the backward pass instead of keeping them; not
            together with compile.
        compile: Whether torch.compile translates the network first; takes about a minute and a C++ compiler.
        trackers: Who is told of the numbers besides log.jsonl; None for TensorBoard where it is installed.

    Raises:
        ValueError: If a number is out of range or a choice is none of those named.
    """

    num_epochs: int = 300
    num_steps: int | None = None
    log_every_steps: int = 10
    checkpoint_every_steps: int = 500
    keep_checkpoints: int = 2
    evaluate_every_steps: int | None = None
    evaluate_at_start: bool = False
    micro_batch_size: int | None = None
    micro_batches: MicroBatches = "cached"
    ema_decay: float | None = None
    batch_norm: BatchNormUse = "own"
    activation_checkpointing: bool = False
    compile: bool = False
    trackers: tuple[Literal["tensorboard", "wandb"], ...] | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                raise ValueError(f"{field.name} must be at least 1, got {value}")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie between 0 and 1, got {self.ema_decay}")


class DataRecord(Protocol):
    """What a process has met in its data; checkpoints hold it, so that a resumed run counts nothing twice."""

    def write(self, others: Sequence[Mapping[str, Any]] = (), /) -> None:
        """Write it down for readers: beside each checkpoint and when training ends, however it ends.

        Args:
            others: The states of the other processes of the run, to be added to this one's.
        """

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
