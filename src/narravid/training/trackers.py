"""Trackers: programs that show the numbers of runs, told what the log is told."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from narravid.errors import ConfigError
from narravid.extras import import_extra
from narravid.files import write_text

__all__ = [
    "TENSORBOARD_FOLDER",
    "TensorBoardTracker",
    "Tracker",
    "Trackers",
    "WandbTracker",
    "numbers_of",
    "open_trackers",
]

TENSORBOARD_FOLDER = "tensorboard"
WANDB_ID_NAME = "wandb_id.txt"
WANDB_PROJECT = "narravid"
KEYS_OF_PLACE = frozenset({"event", "step", "epoch"})


class Tracker(Protocol):
    """Is told the entries of a run's log as they are written."""

    def write(self, entry: Mapping[str, Any]) -> None:
        """Take an entry in: "event", "step" and named numbers; what is no finite number is passed over."""

    def close(self) -> None:
        """Finish."""


class TensorBoardTracker:
    """Writes event files for TensorBoard into the folder "tensorboard" of the run.

    Every entry reaches the file at once, so that a kill loses none that is before a checkpoint.

    Args:
        run: The run folder.
        config: The configuration of the run in JSON types; shown under "text".
        resumed_at: Step from which a resumed run goes on: what was told of later steps is dropped, and with 0
            all of it. None for a new run.

    Raises:
        MissingExtraError: If TensorBoard is not installed.
    """

    def __init__(self, run: Path, config: Mapping[str, Any], *, resumed_at: int | None = None) -> None:
        import_extra("tensorboard", extra="log", feature="The tracker tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        purge_step = resumed_at + 1 if resumed_at else resumed_at
        self._writer = SummaryWriter(str(run / TENSORBOARD_FOLDER), purge_step=purge_step)
        if resumed_at is None and config:
            text = json.dumps(config, indent=2, ensure_ascii=False)
            self._writer.add_text("config", f"```json\n{text}\n```", 0)

    def write(self, entry: Mapping[str, Any]) -> None:
        """Add the numbers of an entry as scalars such as "train/loss"."""
        for name, value in numbers_of(entry).items():
            self._writer.add_scalar(name, value, entry["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class WandbTracker:
    """Sends the numbers to Weights & Biases, or writes them into the run folder with WANDB_MODE=offline.

    The project is "narravid" unless WANDB_PROJECT names another. A resumed run goes on under the same name;
    what was told of steps after its checkpoint stays as it was told first, and is the same.

    Args:
        run: The run folder; it also keeps the run's name at Weights & Biases.
        config: The configuration of the run in JSON types.
        resumed_at: Step from which a resumed run goes on; None for a new run.

    Raises:
        MissingExtraError: If wandb is not installed; it belongs to no extra.
    """

    def __init__(self, run: Path, config: Mapping[str, Any], *, resumed_at: int | None = None) -> None:
        wandb = import_extra("wandb", extra=None, feature="The tracker wandb")
        path = run / WANDB_ID_NAME
        if resumed_at is None or not path.exists():
            write_text(path, secrets.token_hex(8) + "\n")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", WANDB_PROJECT),
            id=path.read_text().strip(),
            name=run.resolve().name,
            dir=str(run),
            config=dict(config),
            resume="allow",
            settings=wandb.Settings(console="off"),  # it would take over what the progress bar writes
        )

    def write(self, entry: Mapping[str, Any]) -> None:
        """Log the numbers of an entry under names such as "train/loss"."""
        self._run.log(numbers_of(entry), step=int(entry["step"]))

    def close(self) -> None:
        """Wait until all is sent or written."""
        self._run.finish()


TRACKERS: Mapping[str, Callable[..., Tracker]] = {"tensorboard": TensorBoardTracker, "wandb": WandbTracker}


class Trackers:
    """Several trackers as one; use as a context manager.

    Args:
        trackers: They are told in this order.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)

    def write(self, entry: Mapping[str, Any]) -> None:
        """Tell an entry of the log to all of them."""
        for tracker in self._trackers:
            tracker.write(entry)

    def close(self) -> None:
        """Close all of them, also when one fails to."""
        with ExitStack() as closings:
            for tracker in self._trackers:
                closings.callback(tracker.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_trackers(
    names: Sequence[str], run: Path, config: Mapping[str, Any], *, resumed_at: int | None = None
) -> Trackers:
    """Open the trackers of a run.

    Args:
        names: Which: "tensorboard", "wandb"; each at most once.
        run: The run folder.
        config: The configuration of the run in JSON types; they show it beside the numbers.
        resumed_at: Step from which a resumed run goes on, 0 where it had no checkpoint yet; None for a new
            run.

    Returns:
        All of them as one; with no names it does nothing.

    Raises:
        ConfigError: If a name is unknown or named twice.
        MissingExtraError: If the library of one is not installed; says what to install.
    """
    for name in names:
        if name not in TRACKERS:
            known = ", ".join(TRACKERS)
            raise ConfigError(f"trackers: {name!r} is none of {known}", key=name, valid=TRACKERS)
    if len(set(names)) < len(names):
        raise ConfigError(f"trackers: each at most once, got {', '.join(names)}", key="trackers")
    with ExitStack() as opening:
        trackers = [
            opening.enter_context(closing(TRACKERS[name](run, config, resumed_at=resumed_at)))
            for name in names
        ]
        opening.pop_all()
    return Trackers(trackers)


def numbers_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of an entry of the log under the names that trackers show.

    >>> numbers_of({"event": "train", "step": 3, "epoch": 0, "loss": 0.5, "lr": None})
    {'train/loss': 0.5}
    """
    return {
        f"{entry['event']}/{name}": float(value)
        for name, value in entry.items()
        if name not in KEYS_OF_PLACE
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    }
