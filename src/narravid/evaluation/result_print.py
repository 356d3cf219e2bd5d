"""A benchmark's result on the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from narravid.evaluation.result import BenchmarkResult
from narravid.evaluation.result_text import (
    TextTable,
    card_lines,
    coverage_lines,
    further_tables,
    main_table,
    source_lines,
    undefined_lines,
)

__all__ = ["print_result", "print_table"]

NAMES_WIDTH = 12
PLAIN_INTERVAL = re.compile(r"^([\d.]+) \[([\d.]+), ([\d.]+)\]$")


def print_result(result: BenchmarkResult, console: Console | None = None) -> None:
    """Print what was measured with intervals beside what is published, the protocol, and what is missing.

    Args:
        result: What to print.
        console: Where; standard output when None.
    """
    console = console or Console()
    print_table(main_table(result, with_sources=False), console)
    for line in source_lines(result):
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    for table in further_tables(result):
        print_table(table, console)
    lines = [
        *undefined_lines(result),
        "protocol:",
        *(f"  {line}" for line in card_lines(result.card)),
        *coverage_lines(result.coverage),
        *_fit_lines(result.card),
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _fit_lines(card: Mapping[str, Any]) -> list[str]:
    """A warning for each classifier whose fit stopped short."""
    return [
        f"warning: {entry}, {fit['split']}: the fit stopped before it converged"
        for entry, fits in card.items()
        if entry.startswith("fits")
        for fit in fits
        if not fit["has_converged"]
    ]


def print_table(text: TextTable, console: Console) -> None:
    """Print a table; where the console is narrow, intervals stand below their numbers.

    Args:
        text: What is in it; the first column holds names, the others figures.
        console: Where.
    """
    table = _table(text)
    if table.__rich_measure__(console, console.options.update(max_width=10_000)).maximum > console.width:
        stacked = tuple(tuple(map(_stacked, row)) for row in text.rows)
        narrow = TextTable(text.title, text.header, stacked)
        table = _table(narrow, keeps_figures=_figures_width(narrow) + NAMES_WIDTH <= console.width)
    console.print(table)


def _stacked(cell: str) -> str:
    """A number above its interval, which is written without a space so that it stays in one line."""
    short = PLAIN_INTERVAL.sub(r"\1\n\2–\3", cell)
    return short.replace(" [", "\n[")


def _figures_width(text: TextTable) -> int:
    """Columns of the terminal that all but the first column of a table take, with their borders."""
    columns = zip(text.header[1:], *(row[1:] for row in text.rows), strict=True)
    return sum(max(len(line) for cell in column for line in cell.split("\n")) + 3 for column in columns)


def _table(text: TextTable, *, keeps_figures: bool = False) -> Table:
    table = Table(title=escape(text.title))
    table.add_column(escape(text.header[0]), overflow="fold")
    for title in text.header[1:]:
        table.add_column(escape(title), justify="right", overflow="fold", no_wrap=keeps_figures)
    for row in text.rows:
        table.add_row(*(escape(cell) for cell in row))
    return table
