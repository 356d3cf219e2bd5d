"""What a run tells while it goes: log, progress bar and trackers, by the first process alone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from narravid import distributed
from narravid.progress import ProgressBar, progress_bar
from narravid.training.config import TrainerConfig
from narravid.training.logging import LOG_NAME, RunLog

__all__ = ["Reports"]


class Reports:
    """Log, bar and trackers of a run; use as a context manager. Other processes than the first are silent.

    Args:
        run: The run folder.
        config: Names the trackers.
        num_steps: Steps in the whole run.
        step: Steps taken before.

    Attributes:
        meter: Measures what the loop tells it.
    """

    def __init__(self, run: Path, config: TrainerConfig, *, num_steps: int, step: int) -> None:
        self._run = run
        self._config = config
        self._num_steps = num_steps
        self._step = step
        self._log: RunLog | None = None
        self._bar: ProgressBar | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        if distributed.rank() == 0:
            with ExitStack() as opening:
                self._log = opening.enter_context(RunLog(self._run / LOG_NAME))
                left = self._num_steps - self._step
                self._bar = opening.enter_context(progress_bar("training", left, unit="steps"))
                self._open = opening.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def write(self, entry: Mapping[str, Any]) -> None:
        """Log an entry and tell the trackers; one of training is also shown behind the bar."""
        if self._log is None or self._bar is None:
            return
        self._log.write(entry)
        if entry["event"] == "train":
            self._bar.advance(0, note=f"loss {entry['loss']:.4g}")

    def advance(self) -> None:
        """Move the bar on by one step."""
        if self._bar is not None:
            self._bar.advance(1)
