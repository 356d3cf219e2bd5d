"""A benchmark's result on the terminal."""

from __future__ import annotations

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
)

__all__ = ["print_result", "print_table"]


def print_result(result: BenchmarkResult, console: Console | None = None) -> None:
    """Print what was measured with intervals beside what is published, the protocol, and what is missing.

    Args:
        result: What to print.
        console: Where; standard output when None.
    """
    console = console or Console()
    print_table(main_table(result), console)
    for table in further_tables(result):
        print_table(table, console)
    lines = [
        "protocol:",
        *(f"  {line}" for line in card_lines(result.card)),
        *coverage_lines(result.coverage),
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_table(text: TextTable, console: Console) -> None:
    """Print a table.

    Args:
        text: What is in it; the first column holds names, the others figures.
        console: Where.
    """
    table = Table(title=escape(text.title))
    for place, title in enumerate(text.header):
        is_figure = place > 0 and title != "source"
        table.add_column(escape(title), justify="right" if is_figure else "left", overflow="fold")
    for row in text.rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
