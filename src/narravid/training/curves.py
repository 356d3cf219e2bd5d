"""The curves of a run: a picture of its log, made in one pass whatever the length of the log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from narravid.files import write_atomically

__all__ = ["Bucket", "Curve", "draw_curves"]

MAX_BUCKETS = 400
"""About as many as a panel has pixels to show."""
NOT_DRAWN = frozenset({"step", "epoch", "event", "seconds", "steps_per_second", "memory_gib"})
DRAWN_LAST = ("lr", "clips_per_second", "data_wait_share")
FEW_POINTS = 40
LOG_SCALE_RATIO = 100.0


@dataclass(slots=True)
class Bucket:
    """What a curve is in one column of the picture.

    Attributes:
        first_step: First step that was counted in.
        last_step: Last step that was counted in.
        total: Sum of the values.
        count: How many there were.
        lowest: The lowest of them.
        highest: The highest of them.
    """

    first_step: int
    last_step: int
    total: float
    count: int
    lowest: float
    highest: float

    @property
    def middle(self) -> float:
        """Where it stands on the axis of steps."""
        return (self.first_step + self.last_step) / 2

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return self.total / self.count

    def add(self, step: int, value: float) -> None:
        """Count one value in."""
        if step > self.last_step:
            self.last_step = step
        elif step < self.first_step:
            self.first_step = step
        self.total += value
        self.count += 1
        if value < self.lowest:
            self.lowest = value
        elif value > self.highest:
            self.highest = value

    def join(self, other: Bucket) -> None:
        """Take another bucket in."""
        self.first_step = min(self.first_step, other.first_step)
        self.last_step = max(self.last_step, other.last_step)
        self.total += other.total
        self.count += other.count
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)


class Curve:
    """Values over steps, thinned as they come to stretches of equal length.

    A stretch keeps mean, lowest and highest value, so that no peak is lost. While there are few steps each
    has a stretch of its own.

    Args:
        max_buckets: The most stretches there may be; above it, two neighbours become one.
    """

    def __init__(self, *, max_buckets: int = MAX_BUCKETS) -> None:
        self._max_buckets = max_buckets
        self._buckets: dict[int, Bucket] = {}
        self._width = 1

    def add(self, step: int, value: float) -> None:
        """Count a finite value in; steps are >= 0 and come in any order."""
        index = step // self._width
        bucket = self._buckets.get(index)
        if bucket is not None:
            bucket.add(step, value)
            return
        self._buckets[index] = Bucket(step, step, value, 1, value, value)
        while len(self._buckets) > self._max_buckets:
            self._width *= 2
            narrow, self._buckets = self._buckets, {}
            for index, bucket in narrow.items():
                joined = self._buckets.setdefault(index // 2, bucket)
                if joined is not bucket:
                    joined.join(bucket)

    def buckets(self) -> list[Bucket]:
        """The stretches that hold a value, in order."""
        return [self._buckets[index] for index in sorted(self._buckets)]


def draw_curves(entries: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Draw every logged number over the steps into a PNG, with one panel per name.

    Where a log is longer than a panel is wide, the line shows means and the band around it the extremes.
    Validation ("evaluation") has a line of its own where training logs a number of the same name.

    Args:
        entries: What `read_log` or `iterate_log` gives; passed over once.
        path: The picture to make or replace; without a number to draw none is made.
    """
    panels = _panels(entries)
    if not panels:
        return
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(4.5 * columns, 3.2 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, (name, curves) in zip(axes, panels.items(), strict=False):
        _draw_panel(axis, name, curves)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    # All panels over the same steps, also those of the few evaluations.
    limits = [axis.get_xlim() for axis in axes[: len(panels)]]
    for axis in axes[: len(panels)]:
        axis.set_xlim(min(limits)[0], max(last for _, last in limits))
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=110))


def _panels(entries: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Curve]]:
    """Name of a number to its curves by event, in the order of their drawing."""
    panels: dict[str, dict[str, Curve]] = {}
    for entry in entries:
        event, step = entry.get("event", "other"), int(entry["step"])
        for name, value in _numbers(entry):
            curves = panels.setdefault(name, {})
            if event not in curves:
                curves[event] = Curve()
            curves[event].add(step, value)
    first = [name for name in panels if name not in DRAWN_LAST]
    return {name: panels[name] for name in (*first, *(name for name in DRAWN_LAST if name in panels))}


def _numbers(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in entry.items():
        if type(value) in (float, int) and name not in NOT_DRAWN and math.isfinite(value):
            yield name, value


def _draw_panel(axis: Axes, name: str, curves: Mapping[str, Curve]) -> None:
    drawn = {event: curve.buckets() for event, curve in curves.items()}
    for event, buckets in drawn.items():
        steps = [bucket.middle for bucket in buckets]
        means = [bucket.mean for bucket in buckets]
        marker = "." if len(buckets) < FEW_POINTS else ""
        (line,) = axis.plot(steps, means, marker=marker, linewidth=1.2, label=event)
        if any(bucket.count > 1 for bucket in buckets):
            lowest, highest = [b.lowest for b in buckets], [b.highest for b in buckets]
            axis.fill_between(steps, lowest, highest, color=line.get_color(), alpha=0.25, linewidth=0.5)
    (event, *others) = drawn
    axis.set(title=name if others or event == "train" else f"{name} ({event})", xlabel="step")
    if others:
        axis.legend()
    if name != "lr" and _needs_log_scale([bucket for buckets in drawn.values() for bucket in buckets]):
        axis.set_yscale("log")
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.grid(alpha=0.3)


def _needs_log_scale(buckets: Sequence[Bucket]) -> bool:
    """Whether the values are positive and lie so far apart that small ones could not be seen."""
    lowest, highest = min(b.lowest for b in buckets), max(b.highest for b in buckets)
    return lowest > 0 and highest > LOG_SCALE_RATIO * lowest
