"""How fast a run is, what it waits for, and how much memory it takes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

__all__ = ["StepMeter", "memory_in_use", "progress_note"]

GIB = 2**30


class StepMeter:
    """Measures a training loop over windows: from one `take` to the next.

    Args:
        device: Where the loop computes; its memory is what is measured.
        clock: Gives the time in seconds.
    """

    def __init__(
        self, device: torch.device | str = "cpu", *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._device = torch.device(device)
        self._clock = clock
        self._begin()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block as waiting for data."""
        started = self._clock()
        try:
            yield
        finally:
            self._waited += self._clock() - started

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Leave the time of the block out of everything, such as that of an evaluation."""
        started = self._clock()
        try:
            yield
        finally:
            self._paused += self._clock() - started

    def count(self, num_items: int) -> None:
        """Count one step on this many items."""
        self._num_steps += 1
        self._num_items += num_items

    def take(self) -> dict[str, float]:
        """The figures of the window, which begins anew.

        Returns:
            "steps_per_second", "clips_per_second" (items of any kind), "data_wait_share" (0 to 1) and,
            where the system tells, "memory_gib"; rounded for reading.
        """
        seconds = max(self._clock() - self._started - self._paused, 1e-9)
        figures = {
            "steps_per_second": round(self._num_steps / seconds, 3),
            "clips_per_second": round(self._num_items / seconds, 3),
            "data_wait_share": round(min(1.0, self._waited / seconds), 4),
        }
        memory = memory_in_use(self._device)
        if memory is not None:
            figures["memory_gib"] = round(memory / GIB, 3)
        self._begin()
        return figures

    def _begin(self) -> None:
        self._started = self._clock()
        self._waited = self._paused = 0.0
        self._num_steps = self._num_items = 0


def memory_in_use(device: torch.device) -> int | None:
    """Bytes that a run takes.

    Args:
        device: On CUDA, the most that was allocated there at once since the process began; elsewhere what
            this process holds in main memory now, or, where the system does not tell, the most it ever held.

    Returns:
        The bytes; None where nobody tells.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return _largest_memory()


def _largest_memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def progress_note(entry: Mapping[str, float]) -> str:
    """What a progress bar says of a line of the log.

    Args:
        entry: "loss" and what `StepMeter.take` gave; what is missing is left out.

    Returns:
        Such as "loss 1.23, 12.3 clips/s, data 4 %, 2.1 GiB".

    >>> progress_note({"loss": 1.234567, "clips_per_second": 12.345, "data_wait_share": 0.04})
    'loss 1.235, 12.3 clips/s, data 4 %'
    """
    formats: dict[str, Callable[[float], str]] = {
        "loss": lambda value: f"loss {value:.4g}",
        "clips_per_second": lambda value: f"{_rate(value)} clips/s",
        "data_wait_share": lambda value: f"data {100 * value:.0f} %",
        "memory_gib": lambda value: f"{value:.1f} GiB",
    }
    return ", ".join(text(entry[key]) for key, text in formats.items() if entry.get(key) is not None)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
