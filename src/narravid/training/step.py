"""One step of training: from a batch to moved weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, Generic, cast

import torch
from torch import nn

from narravid import distributed
from narravid.training.cached_gradients import Embed, cached_backward
from narravid.training.config import BatchT, Precision, TrainableTask, TrainerConfig
from narravid.training.precision import is_imitated

__all__ = ["StepFailedError", "TrainingStep"]

LOW_PRECISION = {"bfloat16": torch.bfloat16, "float16": torch.float16}
SMALLEST_LOSS_SCALE = 1.0
"""Where gradients overflow even at this scale of the loss, scaling does not help."""

_log = logging.getLogger(__name__)


class StepFailedError(ArithmeticError):
    """The loss or the gradient is not finite; the weights are as they were."""


class TrainingStep(Generic[BatchT]):
    """Forward, backward, averaging over the processes, clipping, and the move of the weights.

    Args:
        task: What is trained.
        optimizer: Over the trainable ones among its parameters.
        config: How batches pass through the network.
        dtype: Type of the forward pass.
        max_grad_norm: Gradients with a larger L2 norm are scaled down to it; None leaves them.

    Attributes:
        scaler: Scale of the loss for float16; its state belongs into checkpoints.

    Raises:
        ValueError: If micro-batches are to be cached, or the network compiled, for a task that has no `embed`
            and `objective`.
    """

    def __init__(
        self,
        task: TrainableTask[BatchT],
        optimizer: torch.optim.Optimizer,
        *,
        config: TrainerConfig,
        dtype: Precision,
        max_grad_norm: float | None,
    ) -> None:
        self._task = task
        self._optimizer = optimizer
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._device = self._parameters[0].device
        self._config = config
        self._dtype = dtype
        self._max_grad_norm = max_grad_norm
        if is_imitated(dtype, self._device):
            _log.warning("this processor imitates %s, which is several times slower than float32", dtype)
        self.scaler = torch.amp.GradScaler(self._device.type, enabled=dtype == "float16")
        self._has_halves = hasattr(task, "embed") and hasattr(task, "objective")
        if config.micro_batch_size is not None and config.micro_batches == "cached" and not self._has_halves:
            raise ValueError(
                f"{type(task).__name__} has no embed and objective, which cached micro-batches need: set"
                " micro_batches to accumulated, or micro_batch_size to None"
            )
        if config.compile and not self._has_halves:
            raise ValueError(
                f"{type(task).__name__} has no embed and objective, and embed is what compile translates: set"
                " compile to False"
            )
        self._embed: Embed | None = cast(Any, task).embed if self._has_halves else None
        if config.compile and self._embed is not None:
            self._embed = torch.compile(self._embed)

    def __call__(self, batch: BatchT) -> dict[str, float]:
        """Train on a batch.

        Args:
            batch: This process's share of the global batch.

        Returns:
            The scalars of the task and `grad_norm`, the L2 norm of the gradient before clipping; for a step
            that float16 leaves out `skipped_steps` in its place.

        Raises:
            LogitRangeError: If the objective refuses its logits.
            StepFailedError: If loss or gradient are not finite.
        """
        self._optimizer.zero_grad(set_to_none=True)
        values = self._backward(batch)
        distributed.average_gradients(self._parameters)
        self.scaler.unscale_(self._optimizer)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients, foreach=True)
        numbers = _as_numbers({**values, "grad_norm": norm})
        self._check(numbers)
        if self._max_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, self._max_grad_norm, norm, foreach=True)
        self.scaler.step(self._optimizer)
        self.scaler.update()
        return numbers

    def _check(self, numbers: dict[str, float]) -> None:
        if not math.isfinite(numbers["loss"]):
            raise StepFailedError(f"the loss is {numbers['loss']}")
        if math.isfinite(numbers["grad_norm"]):
            return
        if not self.scaler.is_enabled() or self.scaler.get_scale() <= SMALLEST_LOSS_SCALE:
            raise StepFailedError(f"the norm of the gradient is {numbers['grad_norm']}")
        del numbers["grad_norm"]
        numbers["skipped_steps"] = 1.0

    def _backward(self, batch: BatchT) -> Mapping[str, torch.Tensor]:
        size = self._config.micro_batch_size
        if size is None:
            values = self._forward(batch.to(self._device))
            self._send_back(values["loss"])
            return values
        pieces = batch.split(size)
        if self._config.micro_batches == "accumulated" or self._config.batch_norm == "synchronised":
            _check_equal_numbers(len(pieces))
        if self._config.micro_batches == "cached":
            # The whole batch stays where it is: it may be larger than the device.
            return cached_backward(
                cast(nn.Module, self._task),
                pieces,
                embed=self._embedded,
                objective=lambda embeddings: self._objective(embeddings, batch),
                backward=self._send_back,
            )
        return self._accumulate(pieces, len(batch))

    def _accumulate(self, pieces: Any, num_items: int) -> dict[str, torch.Tensor]:  # noqa: ANN401 - split's own
        means: dict[str, torch.Tensor] = {}
        for piece in pieces:
            values = self._forward(piece.to(self._device))
            share = len(piece) / num_items
            self._send_back(values["loss"] * share)
            for name, value in values.items():
                means[name] = means.get(name, 0) + value.detach() * share
        return means

    def _forward(self, batch: BatchT) -> Mapping[str, torch.Tensor]:
        if self._config.compile:
            return self._objective(self._embedded(batch), batch)
        with self._autocast():
            return self._task.training_step(batch)

    def _embedded(self, batch: BatchT) -> tuple[torch.Tensor, ...]:
        assert self._embed is not None  # checked in __init__
        with self._autocast():
            return self._embed(batch.to(self._device))

    def _objective(self, embeddings: tuple[torch.Tensor, ...], batch: BatchT) -> Mapping[str, torch.Tensor]:
        with self._autocast():
            values: Mapping[str, torch.Tensor] = cast(Any, self._task).objective(embeddings, batch)
        return values

    def _autocast(self) -> torch.autocast:
        low = LOW_PRECISION.get(self._dtype)
        return torch.autocast(self._device.type, dtype=low, enabled=low is not None)

    def _send_back(self, loss: torch.Tensor) -> None:
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]


def _check_equal_numbers(num_pieces: int) -> None:
    """Where pieces meet those of other processes, one process with more of them would wait in vain."""
    counts = distributed.gather_objects(num_pieces)
    if len(set(counts)) > 1:
        raise ValueError(
            f"the processes' shares of the batch give {counts} micro-batches, which must be equal:"
            " choose a batch size that the number of processes divides"
        )


def _as_numbers(values: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Python numbers, fetched from the device at once: each fetch makes the processor wait for it."""
    stacked = torch.stack([value.detach().to(torch.float32).reshape(()) for value in values.values()])
    return dict(zip(values, stacked.tolist(), strict=True))
