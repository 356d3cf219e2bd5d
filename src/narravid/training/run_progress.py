"""How far a run has come: what a checkpoint keeps besides weights and what moves them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from narravid.training.config import TrainingResult

__all__ = ["RunProgress"]


@dataclass
class RunProgress:
    """Steps taken, the best evaluation so far, and the time that it took.

    Attributes:
        step: Steps taken in all.
        best_value: Value of the best evaluation, None before the first.
        best_step: After how many steps it was.
        metrics: All numbers of the last evaluation.
        seconds_before: Training time in sessions before this one.
    """

    step: int = 0
    best_value: float | None = None
    best_step: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    seconds_before: float = 0.0
    _started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Training time in all sessions, evaluations included."""
        return self.seconds_before + time.perf_counter() - self._started

    def start_clock(self) -> None:
        """Count this session's time from now on."""
        self._started = time.perf_counter()

    def result(self, *, resumed_at: int) -> TrainingResult:
        """What a run reports that ends now.

        Args:
            resumed_at: Step at which this session began.
        """
        return TrainingResult(self.step, self.metrics, self.best_step, self.seconds, resumed_at=resumed_at)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain values only."""
        return {
            "best_value": self.best_value,
            "best_step": self.best_step,
            "metrics": dict(self.metrics),
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any], *, step: int) -> None:
        """Go back to a kept state, that after `step` steps."""
        self.step = step
        self.best_value, self.best_step = state["best_value"], state["best_step"]
        self.metrics = dict(state["metrics"])
        self.seconds_before = state["seconds"]
