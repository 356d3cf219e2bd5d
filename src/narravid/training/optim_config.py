"""How the weights are moved: optimiser, schedule of the learning rate, and parts that learn otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from narravid.config import check_choices

__all__ = ["OptimConfig", "ParameterGroup"]


@dataclass(frozen=True)
class ParameterGroup:
    """A part of the model that learns in its own way.

    Attributes:
        prefix: Which part: a module or parameter by its dotted name, such as "model.text_encoder". Whole
            parts of names count, so "blocks.1" is not "blocks.10". Of two groups that take the same
            parameter, the longer prefix has it.
        lr: Its highest learning rate; None takes that of the run.
        weight_decay: Its decay; None takes that of the run. What is exempt from decay stays so.
        first_epoch: Epoch, counted from 0, from which it learns; before, its weights take no gradient, no
            update and no decay.
        schedule: Its learning rate in a step: "run" follows the run's (warm-up and fall, times lr of the
            group over lr of the run), "constant" is always lr.

    Raises:
        ValueError: If a value is out of range.
    """

    prefix: str
    lr: float | None = None
    weight_decay: float | None = None
    first_epoch: int = 0
    schedule: Literal["run", "constant"] = "run"

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.prefix or self.prefix != self.prefix.strip("."):
            raise ValueError(
                f"prefix must be a dotted name such as 'model.text_encoder', without a dot at an end, got"
                f" {self.prefix!r}"
            )
        if self.lr is not None:
            _check_positive("lr", self.lr)
        if self.weight_decay is not None:
            _check_not_negative("weight_decay", self.weight_decay)
        _check_not_negative("first_epoch", self.first_epoch)

    def takes(self, name: str) -> bool:
        """Whether a parameter of this dotted name belongs to the part.

        >>> ParameterGroup("blocks.1").takes("blocks.1.weight"), ParameterGroup("blocks.1").takes("blocks.10")
        (True, False)
        """
        return name == self.prefix or name.startswith(f"{self.prefix}.")


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
        schedule: Learning rate after the warm-up: falling along half a cosine, constant, times factor at
            each of the milestones (step), times factor with each epoch (exponential), or times factor when
            the evaluation no longer gets better (plateau).
        final_lr_share: Where the cosine ends, as a share of lr, 0 to 1.
        milestones: Epochs, counted from 0, with which the learning rate of step falls; ascending.
        factor: What step, exponential and plateau multiply the learning rate with each time, in (0, 1].
        patience: Evaluations without a new best that plateau still waits through; the next one is too many.
        min_lr_share: Below this share of lr, 0 to 1, step, exponential and plateau do not fall.
        warmup_steps: Steps of linear warm-up; None takes a tenth of the run, at most 10,000 steps.
        max_grad_norm: Gradients with a larger L2 norm are scaled down to it; None leaves them.
        groups: Parts of the model with a learning rate, decay or start of their own.

    Raises:
        ValueError: If a number is out of its range or a choice is none of those named.
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    decay: Literal["all", "matrices"] = "matrices"
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    schedule: Literal["cosine", "constant", "step", "exponential", "plateau"] = "cosine"
    final_lr_share: float = 0.0
    milestones: tuple[int, ...] = ()
    factor: float = 0.1
    patience: int = 5
    min_lr_share: float = 0.0
    warmup_steps: int | None = None
    max_grad_norm: float | None = None
    groups: tuple[ParameterGroup, ...] = ()

    def __post_init__(self) -> None:
        check_choices(self)
        _check_positive("lr", self.lr)
        _check_not_negative("weight_decay", self.weight_decay)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), got {self.betas}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        if self.warmup_steps is not None:
            _check_not_negative("warmup_steps", self.warmup_steps)
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise ValueError(f"max_grad_norm must be positive or None, got {self.max_grad_norm}")
        self._check_schedule()
        prefixes = [group.prefix for group in self.groups]
        twice = sorted({prefix for prefix in prefixes if prefixes.count(prefix) > 1})
        if twice:
            raise ValueError(f"groups must have different prefixes, got {', '.join(twice)} more than once")

    def _check_schedule(self) -> None:
        _check_share("final_lr_share", self.final_lr_share)
        _check_share("min_lr_share", self.min_lr_share)
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor must lie in (0, 1], got {self.factor}")
        _check_not_negative("patience", self.patience)
        rising = all(earlier < later for earlier, later in pairwise((0, *self.milestones)))
        if not rising:
            raise ValueError(f"milestones must be epochs from 1 on in ascending order, got {self.milestones}")
        if self.schedule == "step" and not self.milestones:
            raise ValueError("milestones must name at least one epoch for schedule 'step'")


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value}")


def _check_not_negative(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be 0 or more, got {value}")


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")
