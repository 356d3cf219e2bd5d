"""Progress bars off the terminal: a line now and then that a person can read."""

from __future__ import annotations

import pytest

from narravid import progress
from narravid.progress import progress_bar


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    times = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: times[0])
    return times


def test_lines_come_now_and_then_and_at_the_end(clock, capsys):
    with progress_bar("checking", 4, unit="files") as bar:
        for seconds in (1.0, 11.0, 12.0, 20.0):
            clock[0] = seconds
            bar.advance(note=f"at {seconds:g}")
    assert capsys.readouterr().err.splitlines() == [
        "checking 2/4 files, 0.2 files/s, 11 s left, at 11",
        "checking 4/4 files, 0.2 files/s, 0 s left, at 20",
    ]


def test_large_archives_are_counted_in_full_and_long_times_in_hours(clock, capsys):
    with progress_bar("checking", 1_234_567, unit="files") as bar:
        clock[0] = 100.0
        bar.advance(12_345)
    assert capsys.readouterr().err == "checking 12,345/1,234,567 files, 123.5 files/s, 2:45:01 left\n"


def test_work_of_unknown_size(clock, capsys):
    with progress_bar("reading", None, unit="rows") as bar:
        clock[0] = 20.0
        bar.advance(0.5)
    assert capsys.readouterr().err == "reading 0.5 rows, 0.0 rows/s\n"
