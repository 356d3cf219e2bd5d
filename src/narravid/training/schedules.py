"""Learning-rate schedules.

A schedule is a pure function of the step and of the plateaus counted so far, so a resumed run needs no more
state than these two.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from typing import Any, Literal

from narravid.training.optim_config import OptimConfig

__all__ = ["PlateauState", "learning_rate_at", "num_warmup_steps"]

MAX_AUTOMATIC_WARMUP_STEPS = 10_000
AUTOMATIC_WARMUP_SHARE = 10


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


def learning_rate_at(
    config: OptimConfig,
    step: int,
    *,
    num_steps: int,
    steps_per_epoch: int | None = None,
    num_plateaus: int = 0,
) -> float:
    """Learning rate of one step.

    Epochs are counted from the start of the run, the warm-up included. During the warm-up the schedule does
    not count: a milestone or plateau that falls into it takes effect at its end.

    Args:
        config: The optimiser's settings.
        step: The step, counted from 0.
        num_steps: Steps in the whole run.
        steps_per_epoch: Steps in one epoch; needed by the schedules that go by epochs, step and exponential.
        num_plateaus: Plateaus so far, as `PlateauState` counts them.

    Returns:
        lr times (step + 1) / warm-up steps during the warm-up, then the schedule's value.

    Raises:
        ValueError: If the schedule goes by epochs and `steps_per_epoch` is not given.

    >>> config = OptimConfig(lr=1.0, warmup_steps=2)
    >>> [round(learning_rate_at(config, step, num_steps=6), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    warmup = num_warmup_steps(config, num_steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "cosine":
        progress = min(1.0, (step - warmup) / (num_steps - warmup))
        share = config.final_lr_share
        return config.lr * (share + (1 - share) * (1 + math.cos(math.pi * progress)) / 2)
    num_falls = num_plateaus if config.schedule == "plateau" else _num_falls(config, step, steps_per_epoch)
    return config.lr * max(config.min_lr_share, config.factor**num_falls)


def _num_falls(config: OptimConfig, step: int, steps_per_epoch: int | None) -> int:
    """How often the factor has been applied by a schedule that goes by epochs."""
    if steps_per_epoch is None:
        raise ValueError(f"schedule {config.schedule!r} goes by epochs: give steps_per_epoch")
    epoch = step // steps_per_epoch
    return epoch if config.schedule == "exponential" else bisect.bisect_right(config.milestones, epoch)


class PlateauState:
    """Counts the plateaus of a measure: `patience` + 1 evaluations in a row without a new best are one.

    As `torch.optim.lr_scheduler.ReduceLROnPlateau` with threshold 0 and no cooldown: after a plateau the
    count of evaluations starts anew, the best value stays. NaN is never a new best.

    Args:
        patience: Evaluations without a new best that are waited through, >= 0.
        better: Whether a higher or a lower value is better.

    Attributes:
        num_plateaus: Plateaus so far.

    Raises:
        ValueError: If the patience is negative.
    """

    def __init__(self, *, patience: int, better: Literal["higher", "lower"]) -> None:
        if patience < 0:
            raise ValueError(f"patience must be 0 or more, got {patience}")
        self.num_plateaus = 0
        self._patience = patience
        self._sign = 1.0 if better == "higher" else -1.0
        self._best = -math.inf
        self._num_without_best = 0

    def update(self, value: float) -> bool:
        """Count one evaluation in; says whether it completes a plateau."""
        signed = self._sign * value
        if signed > self._best:
            self._best = signed
            self._num_without_best = 0
        else:
            self._num_without_best += 1
        if self._num_without_best <= self._patience:
            return False
        self._num_without_best = 0
        self.num_plateaus += 1
        return True

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps: plain numbers."""
        return {
            "best": self._best,
            "num_without_best": self._num_without_best,
            "num_plateaus": self.num_plateaus,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a kept state."""
        self._best = float(state["best"])
        self._num_without_best = int(state["num_without_best"])
        self.num_plateaus = int(state["num_plateaus"])
