"""What the benchmarks share that fill in tables of the documentation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path


def percent(values: Sequence[float]) -> str:
    """Mean and deviation of shares in percent."""
    return f"{100 * statistics.mean(values):.1f} ± {100 * spread(values):.1f}"


def spread(values: Sequence[float]) -> float:
    """Standard deviation of a sample; 0 for a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def fill_in(page: Path, lines: str, *, script: str) -> None:
    """Put lines between the marks of a script into a page, in place of those that are there."""
    begin, end = (f"<!-- benchmarks/{script}: {part} -->" for part in ("begin", "end"))
    before, rest = page.read_text(encoding="utf-8").split(begin)
    page.write_text(f"{before}{begin}\n{lines}\n{end}{rest.split(end)[1]}", encoding="utf-8")
