"""The log of a run: one JSON object per line, appended as the run goes, read and cut back in pieces."""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic_core import from_json

from narravid.errors import AnnotationError

__all__ = ["LOG_NAME", "MeanWindow", "RunLog", "iterate_log", "read_log", "truncate_log"]

LOG_NAME = "log.jsonl"


class RunLog:
    """Appends lines to a run's log; use as a context manager.

    Each line reaches the file in one write, so a kill can tear at most the last line.

    Args:
        path: The log file; made when absent.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append one entry; numbers that are not finite are written as null, since JSON has none.

        Raises:
            OSError: If the disk is full.
        """
        finite = {key: _finite_or_none(value) for key, value in entry.items()}
        line = (json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n").encode()
        while line:  # a disk that is nearly full takes a part, and says so only when asked again
            line = line[os.write(self._descriptor, line) :]

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
        One dictionary per line, oldest first; none where there is no log. A last line that a kill has torn is
        left out.

    Raises:
        AnnotationError: If any other line is not a JSON object.
    """
    return list(iterate_log(run))


def iterate_log(run: Path) -> Iterator[dict[str, Any]]:
    """The entries of a run's log one after the other, for logs that are larger than the memory.

    Args:
        run: The run folder, or the log file itself.

    Yields:
        What `read_log` lists.

    Raises:
        AnnotationError: If a line but a torn last one is not a JSON object.
    """
    path = run / LOG_NAME if run.is_dir() else run
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield _parse_line(line, path, number)


def truncate_log(run: Path, last_step: int) -> None:
    """Drop the lines of steps after `last_step` and a torn last line; a resumed run writes them anew.

    The log is read from its end, as far as such lines go, and cut there in one call, so that a kill leaves
    the whole log or the cut one. Steps never fall along a log; a damaged line after the last one to be kept
    goes with those of later steps.

    Args:
        run: The run folder; without a log, nothing is done.
        last_step: The last step whose lines stay; -1 drops every line.
    """
    path = run / LOG_NAME
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            size = len(content)
            end = content.rfind(b"\n") + 1
            while end > 0:
                start = content.rfind(b"\n", 0, end - 1) + 1
                if _is_kept(content[start:end], last_step):
                    break
                end = start
        if end < size:
            file.truncate(end)
            os.fsync(file.fileno())


def _is_kept(line: bytes, last_step: int) -> bool:
    try:
        entry = from_json(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and isinstance(entry.get("step"), int) and entry["step"] <= last_step


def _parse_line(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        # Twice as fast as json.loads, and lines share their keys, which halves the memory of a long log.
        entry = from_json(line)
    except ValueError as error:
        raise AnnotationError(path, f"not a JSON object: {error}", line=number) from error
    if not isinstance(entry, dict):
        raise AnnotationError(path, "not a JSON object", line=number)
    return entry


def _finite_or_none(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    return None if isinstance(value, float) and not math.isfinite(value) else value
