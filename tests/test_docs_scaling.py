"""The page on scaling says what its script works out."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def printed(*options: str) -> str:
    command = [sys.executable, str(PROJECT / "benchmarks" / "scaling.py"), *options]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def tables(text: str) -> list[list[str]]:
    """Blocks of lines that begin with a bar."""
    blocks = itertools.groupby(text.splitlines(), key=lambda line: line.startswith("|"))
    return [list(lines) for is_table, lines in blocks if is_table]


def test_the_tables_of_the_page_are_those_of_the_script():
    page = tables((PROJECT / "docs" / "scaling.md").read_text(encoding="utf-8"))
    assert page == tables(printed()), "python benchmarks/scaling.py prints the tables; put them into the page"
    assert len(page) == 8


def test_rates_and_prices_are_options():
    changed = tables(printed("--pack-bytes-per-second", "20000", "--price-of-a-core-hour", "0.08"))
    assert [one == other for one, other in zip(tables(printed()), changed, strict=True)] == [
        True,
        False,
        False,
        False,
        False,
        True,
        False,
        False,
    ]
