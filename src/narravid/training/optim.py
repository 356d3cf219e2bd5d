"""Optimisers and learning-rate schedules.

A schedule is a pure function of the step, so a resumed run needs no schedule state beyond its step number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from narravid.config import check_choices

__all__ = [
    "OptimConfig",
    "build_optimizer",
    "learning_rate_at",
    "num_warmup_steps",
    "parameter_groups",
    "set_learning_rate",
]

MAX_AUTOMATIC_WARMUP_STEPS = 10_000
AUTOMATIC_WARMUP_SHARE = 10


@dataclass(frozen=True)
class OptimConfig:
    """How the weights are moved.

    Attributes:
        name: The optimiser.
        lr: Highest learning rate, reached at the end of the warm-up.
        weight_decay: Decay per step, as the optimiser defines it (decoupled for adamw, L2 for adam and sgd).
        decay: Which parameters decay: all, or only matrices and kernels (not norms, biases and scalars).
        betas: Decay rates of the two running means of adam and adamw.
        momentum: Momentum of sgd.
        schedule: Learning rate after the warm-up: falling along half a cosine, or constant.
        final_lr_share: Where the cosine ends, as a share of lr, 0 to 1.
        warmup_steps: Steps of linear warm-up; None takes a tenth of the run, at most 10,000 steps.
        max_grad_norm: Gradients with a larger L2 norm are scaled down to it; None leaves them.

    Raises:
        ValueError: If a number is out of its range or a choice is none of those named.
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    decay: Literal["all", "matrices"] = "matrices"
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    schedule: Literal["cosine", "constant"] = "cosine"
    final_lr_share: float = 0.0
    warmup_steps: int | None = None
    max_grad_norm: float | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr must be a positive number, got {self.lr}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay must be 0 or more, got {self.weight_decay}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), got {self.betas}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        if not 0 <= self.final_lr_share <= 1:
            raise ValueError(f"final_lr_share must lie in [0, 1], got {self.final_lr_share}")
        if self.warmup_steps is not None and self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must be 0 or more, got {self.warmup_steps}")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise ValueError(f"max_grad_norm must be positive or None, got {self.max_grad_norm}")


def num_warmup_steps(config: OptimConfig, num_steps: int) -> int:
    """Steps of warm-up in a run of `num_steps`.

    Raises:
        ValueError: If the warm-up that was asked for fills the whole run.

    >>> num_warmup_steps(OptimConfig(), 30), num_warmup_steps(OptimConfig(), 10**6)
    (3, 10000)
    """
    if config.warmup_steps is None:
        return min(MAX_AUTOMATIC_WARMUP_STEPS, num_steps // AUTOMATIC_WARMUP_SHARE)
    if config.warmup_steps >= num_steps:
        raise ValueError(
            f"warmup_steps is {config.warmup_steps} but the run has only {num_steps} steps, so the learning"
            " rate would never reach lr; lower warmup_steps or train longer"
        )
    return config.warmup_steps


def learning_rate_at(config: OptimConfig, step: int, *, num_steps: int) -> float:
    """Learning rate of one step.

    Args:
        config: The optimiser's settings.
        step: The step, counted from 0.
        num_steps: Steps in the whole run.

    Returns:
        lr times (step + 1) / warm-up steps during the warm-up, then the schedule's value.

    >>> config = OptimConfig(lr=1.0, warmup_steps=2)
    >>> [round(learning_rate_at(config, step, num_steps=6), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    warmup = num_warmup_steps(config, num_steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.schedule == "constant":
        return config.lr
    progress = min(1.0, (step - warmup) / (num_steps - warmup))
    share = config.final_lr_share
    return config.lr * (share + (1 - share) * (1 + math.cos(math.pi * progress)) / 2)


def parameter_groups(
    parameters: Iterable[nn.Parameter], *, weight_decay: float, decay: Literal["all", "matrices"] = "matrices"
) -> list[dict[str, Any]]:
    """Trainable parameters in groups with and without weight decay.

    Args:
        parameters: The parameters; frozen ones are left out.
        weight_decay: Decay of the group that decays.
        decay: "matrices" lets no parameter of fewer than two dimensions (norms, biases, scalars) decay.

    Returns:
        One or two groups for a `torch.optim` optimiser.

    Raises:
        ValueError: If nothing is trainable.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if not trainable:
        raise ValueError("nothing to train: every parameter is frozen")
    decaying = [parameter for parameter in trainable if decay == "all" or parameter.ndim >= 2]
    fixed = [parameter for parameter in trainable if decay != "all" and parameter.ndim < 2]
    groups = [
        {"params": decaying, "weight_decay": weight_decay},
        {"params": fixed, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(config: OptimConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser over the trainable ones among `parameters`.

    The fused kernels update all weights in one call; on a network of many small layers the plain loop
    takes several times as long.

    Raises:
        ValueError: If nothing is trainable.
    """
    groups = parameter_groups(parameters, weight_decay=config.weight_decay, decay=config.decay)
    optimizer: torch.optim.Optimizer
    if config.name == "sgd":
        optimizer = torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    else:
        kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
        optimizer = kind(groups, lr=config.lr, betas=config.betas, fused=True)
    optimizer.register_step_post_hook(_count_as_written)
    return optimizer


def _count_as_written(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Tell PyTorch of the change of the weights, which a model's hash relies on; fused kernels do not."""
    for group in optimizer.param_groups:
        torch.autograd.graph.increment_version(group["params"])


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr
