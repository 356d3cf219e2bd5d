"""What a run tells while it goes: log, progress bar and trackers, by the first process alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from narravid import distributed
from narravid.files import read_json
from narravid.progress import ProgressBar, progress_bar
from narravid.training.logging import LOG_NAME, RunLog
from narravid.training.meter import StepMeter, progress_note
from narravid.training.run import CONFIG_NAME
from narravid.training.trackers import Trackers, open_trackers

__all__ = ["Reports"]


class Reports:
    """Log, bar and trackers of a run; use as a context manager. Other processes than the first are silent.

    Args:
        run: The run folder.
        trackers: Names of the trackers; None for TensorBoard where it is installed.
        device: Where the run computes.
        steps: The steps that are to be taken.
        resumed_at: Step from which a resumed run goes on; None for a new run.

    Attributes:
        meter: Measures what the loop tells it.

    Raises:
        MissingExtraError: On entering, if the library of a tracker is not installed.
    """

    def __init__(
        self,
        run: Path,
        trackers: Sequence[str] | None,
        *,
        device: torch.device,
        steps: range,
        resumed_at: int | None,
    ) -> None:
        self.meter = StepMeter(device)
        self._run = run
        self._tracker_names = trackers
        self._steps = steps
        self._resumed_at = resumed_at
        self._log: RunLog | None = None
        self._bar: ProgressBar | None = None
        self._trackers: Trackers | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        if distributed.rank() == 0:
            names = self._tracker_names
            if names is None:
                names = ["tensorboard"] if find_spec("tensorboard") is not None else []
            config_path = self._run / CONFIG_NAME
            config = read_json(config_path) if config_path.is_file() else {}
            with ExitStack() as opening:
                self._trackers = opening.enter_context(
                    open_trackers(names, self._run, config, resumed_at=self._resumed_at)
                )
                self._log = opening.enter_context(RunLog(self._run / LOG_NAME))
                self._bar = opening.enter_context(progress_bar("training", len(self._steps), unit="steps"))
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
        if self._log is None or self._bar is None or self._trackers is None:
            return
        self._log.write(entry)
        self._trackers.write(entry)
        if entry["event"] == "train":
            self._bar.advance(0, note=progress_note(entry))

    def advance(self) -> None:
        """Move the bar on by one step."""
        if self._bar is not None:
            self._bar.advance(1)
