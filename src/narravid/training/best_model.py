"""Judging the model while it trains, and exporting the best one, on the first process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from narravid import distributed
from narravid.training.config import Evaluation
from narravid.training.run_progress import RunProgress

__all__ = ["BestModel"]


class BestModel:
    """Measures the model with the weights that are to be judged, and exports it when it is the best so far.

    Args:
        evaluation: How to judge it; None never judges.
        export: Writes the model into the folder it is given; None for nothing to export.
        folder: Where the model goes.
        weights: Gives a context in which the model has the weights to judge, such as their average.
    """

    def __init__(
        self,
        evaluation: Evaluation | None,
        *,
        export: Callable[[Path], None] | None,
        folder: Path,
        weights: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._evaluation = evaluation
        self._export = export
        self._folder = folder
        self._weights = weights

    def measure(self) -> dict[str, float]:
        """The numbers of the model as it is now, the same on every process.

        Raises:
            ValueError: If the number that decides is not among them.
        """
        if self._evaluation is None:
            return {}
        metrics = None
        if distributed.rank() == 0:
            with torch.no_grad(), self._weights():
                metrics = {name: float(value) for name, value in self._evaluation.measure().items()}
        metrics = distributed.from_first(metrics)
        if self._evaluation.metric not in metrics:
            raise ValueError(f"the evaluation gives {sorted(metrics)}, not {self._evaluation.metric!r}")
        return metrics

    def judge(self, metrics: dict[str, float], progress: RunProgress) -> float | None:
        """Note what was measured, and export the model if it is the best so far.

        Returns:
            The number that decides; None if nothing judges.
        """
        progress.metrics = metrics
        if self._evaluation is None:
            return None
        value = metrics[self._evaluation.metric]
        if self._evaluation.is_improvement(value, progress.best_value):
            progress.best_value, progress.best_step = value, progress.step
            self.export()
        return value

    def export(self) -> None:
        """Write the model as it is now."""
        if self._export is not None and distributed.rank() == 0:
            with self._weights():
                self._export(self._folder)
