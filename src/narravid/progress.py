"""Progress bars with rate and time left, on a terminal as a live line, elsewhere as a line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

__all__ = ["ProgressBar", "progress_bar"]

PLAIN_INTERVAL_SECONDS = 10.0
LARGE_COUNT = 10_000
LONG_SECONDS = 120.0


class ProgressBar:
    """Handle on one running bar; made by `progress_bar`."""

    def __init__(self, console: Console, live: Progress, task: TaskID, description: str, unit: str) -> None:
        self._console = console
        self._live = live
        self._task = task
        self._description = description
        self._unit = unit
        self._started = self._printed = time.monotonic()
        self._note = ""

    def advance(self, amount: float = 1.0, *, note: str | None = None) -> None:
        """Move on by `amount` units; `note` replaces the remark behind the bar, such as the loss."""
        self._note = self._note if note is None else note
        task = self._live.tasks[self._task]
        elapsed = max(time.monotonic() - self._started, 1e-9)
        done = task.completed + amount
        rate = f"{done / elapsed:.1f} {self._unit}/s"
        count = _share(done, task.total)
        self._live.update(self._task, advance=amount, count=count, rate=rate, note=self._note)
        finished = task.total is not None and done >= task.total
        if not self._console.is_terminal and (finished or self._is_due()):
            self._print_plain(done, task.total, elapsed, rate)

    def _is_due(self) -> bool:
        return time.monotonic() - self._printed >= PLAIN_INTERVAL_SECONDS

    def _print_plain(self, done: float, total: float | None, elapsed: float, rate: str) -> None:
        self._printed = time.monotonic()
        left = ""
        if total is not None and done > 0:
            left = f", {_time(elapsed * (total - done) / done)} left"
        count = _share(done, total)
        note = f", {self._note}" if self._note else ""
        line = f"{self._description} {count} {self._unit}, {rate}{left}{note}"
        self._console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(description: str, total: float | None, *, unit: str) -> Iterator[ProgressBar]:
    """Show a bar while the block runs, on standard error.

    Args:
        description: What is being done, such as "indexing".
        total: Units in all, or None when unknown.
        unit: What is counted, such as "clips".

    Yields:
        The bar; call `advance` on it.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TextColumn(unit + " {task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
    )
    live = Progress(*columns, console=console, disable=not console.is_terminal, transient=False)
    with live:
        task = live.add_task(description, total=total, count=_share(0, total), rate="", note="")
        yield ProgressBar(console, live, task, description, unit)


def _share(done: float, total: float | None) -> str:
    return _number(done) if total is None else f"{_number(done)}/{_number(total)}"


def _number(count: float) -> str:
    """A count in six digits, or whole with its thousands apart."""
    return f"{count:g}" if count < LARGE_COUNT else f"{count:,.0f}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < LONG_SECONDS else str(timedelta(seconds=round(seconds)))
