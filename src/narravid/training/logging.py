"""The log of a run: one JSON object per line, appended as the run goes, and the curves drawn from it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from matplotlib.figure import Figure

from narravid.errors import AnnotationError
from narravid.files import write_atomically

__all__ = ["LOG_NAME", "MeanWindow", "RunLog", "draw_curves", "read_log", "truncate_log"]

LOG_NAME = "log.jsonl"
KEYS_BESIDE_METRICS = frozenset({"step", "epoch", "event", "seconds", "lr", "steps_per_second"})


class RunLog:
    """Appends lines to a run's log; use as a context manager.

    Each line reaches the file in one write, so a kill can tear at most the last line.

    Args:
        path: The log file; made when absent.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append one entry; numbers that are not finite are written as null, since JSON has none."""
        finite = {key: _finite_or_none(value) for key, value in entry.items()}
        line = json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n"
        os.write(self._descriptor, line.encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class MeanWindow:
    """Running means of named numbers since the last time they were taken."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """Count one step's values in."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The means, in order of first appearance; the window is empty afterwards."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means

    def state_dict(self) -> dict[str, dict[str, float]]:
        """What a checkpoint keeps so that a resumed run logs the same means."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """Go back to a kept state."""
        self._sums = dict(state["sums"])
        self._counts = {name: int(count) for name, count in state["counts"].items()}


def read_log(run: Path) -> list[dict[str, Any]]:
    """The entries of a run's log.

    Args:
        run: The run folder, or the log file itself.

    Returns:
        One dictionary per line, oldest first. A last line that a kill has torn is left out.

    Raises:
        AnnotationError: If any other line is not a JSON object.
    """
    path = run / LOG_NAME if run.is_dir() else run
    if not path.exists():
        return []
    *complete, _torn = path.read_bytes().split(b"\n")
    entries = []
    for number, line in enumerate(complete, start=1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise AnnotationError(path, f"not a JSON object: {error}", line=number) from error
        if not isinstance(entry, dict):
            raise AnnotationError(path, "not a JSON object", line=number)
        entries.append(entry)
    return entries


def truncate_log(run: Path, last_step: int) -> None:
    """Drop the lines of steps after `last_step` and a torn last line; a resumed run writes them anew."""
    path = run / LOG_NAME
    if not path.exists():
        return
    kept = [entry for entry in read_log(path) if entry["step"] <= last_step]
    text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept)
    write_atomically(path, lambda temporary: _write(temporary, text))


def draw_curves(entries: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw every logged metric over the steps, one panel each, into a PNG.

    Args:
        entries: What `read_log` returned.
        path: The picture to make or replace.
    """
    panels = _series(entries)
    if not panels:
        return
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(4.5 * columns, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, (name, points) in zip(axes.flat, panels.items(), strict=False):
        axis.plot(
            [step for step, _ in points], [value for _, value in points], marker="." * (len(points) < 40)
        )
        axis.set(title=name, xlabel="step")
        axis.grid(alpha=0.3)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=110))


def _series(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    panels: dict[str, list[tuple[int, float]]] = {}
    for entry in entries:
        for key, value in entry.items():
            if key in KEYS_BESIDE_METRICS or not isinstance(value, int | float):
                continue
            label = key if entry.get("event") == "train" else f"{key} ({entry.get('event', 'other')})"
            panels.setdefault(label, []).append((int(entry["step"]), float(value)))
    return panels


def _finite_or_none(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
