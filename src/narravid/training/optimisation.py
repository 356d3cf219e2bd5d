"""What moves the weights of a run: its optimiser, and the learning rate of every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from narravid.errors import ConfigError
from narravid.training.config import Evaluation
from narravid.training.optim import (
    OptimConfig,
    PlateauState,
    apply_schedule,
    build_optimizer,
    freeze_until,
    num_warmup_steps,
)

__all__ = ["Optimisation"]


class Optimisation:
    """The optimiser of a network with its schedule.

    Args:
        network: What is trained; what is frozen now stays so.
        config: Optimiser and schedule.
        num_steps: Steps in the whole run.
        steps_per_epoch: Steps in one epoch.
        evaluation: What a schedule that goes by the evaluation goes by; None where there is none before the
            end.

    Attributes:
        optimizer: Moves the weights.
        max_grad_norm: Gradients with a larger L2 norm are to be scaled down to it; None leaves them.

    Raises:
        ConfigError: If a group of the settings has no parameter, or there is no evaluation to go by.
        ValueError: If nothing is trainable, or the warm-up fills the run.
    """

    def __init__(
        self,
        network: nn.Module,
        config: OptimConfig,
        *,
        num_steps: int,
        steps_per_epoch: int,
        evaluation: Evaluation | None = None,
    ) -> None:
        num_warmup_steps(config, num_steps)
        if config.schedule == "plateau" and evaluation is None:
            raise ConfigError(
                "schedule plateau goes by the evaluation, and this run has none: say what to evaluate on",
                key="schedule",
            )
        self.optimizer = build_optimizer(config, network.named_parameters())
        self.max_grad_norm = config.max_grad_norm
        self._config = config
        self._num_steps = num_steps
        self._steps_per_epoch = steps_per_epoch
        better = "higher" if evaluation is None else evaluation.better
        self._plateaus = PlateauState(patience=config.patience, better=better)

    def begin_step(self, step: int) -> float:
        """Set the learning rates of a step, counted from 0, and freeze what does not learn yet.

        Returns:
            The learning rate of what belongs to no group of the settings.
        """
        freeze_until(self.optimizer, self._config, epoch=step // self._steps_per_epoch)
        return apply_schedule(
            self.optimizer,
            self._config,
            step=step,
            num_steps=self._num_steps,
            steps_per_epoch=self._steps_per_epoch,
            num_plateaus=self._plateaus.num_plateaus,
        )

    def note_evaluation(self, value: float) -> None:
        """Tell a schedule that goes by the evaluation what came of it."""
        self._plateaus.update(value)

    def settings(self) -> dict[str, Any]:
        """What the learning rate of a step and its place in the data follow from; plain values."""
        return {
            "num_steps": self._num_steps,
            "steps_per_epoch": self._steps_per_epoch,
            "optim": dataclasses.asdict(self._config),
        }

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"optimizer": self.optimizer.state_dict(), "plateaus": self._plateaus.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a kept state."""
        self.optimizer.load_state_dict(dict(state["optimizer"]))
        self._plateaus.load_state_dict(state["plateaus"])
