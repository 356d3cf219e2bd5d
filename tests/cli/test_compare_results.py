"""`narravid compare-results`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation_results import make_result
from narravid.cli.main import main
from narravid.evaluation.result_files import write_result
from watched_doubles import DirectDecoder

BETTER = (1, 1, 1, 1, 1, 0, 1, 1)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


def write(folder: Path, **changed) -> str:
    write_result(make_result(**changed), folder, decoder=DirectDecoder())
    return str(folder)


def test_a_table_and_a_paired_test(tmp_path, capsys):
    folders = [write(tmp_path / "a"), write(tmp_path / "b", hits=BETTER)]
    output = tmp_path / "comparison.json"
    assert main(["compare-results", *folders, "--output", str(output)]) == 0
    text = capsys.readouterr().out
    assert "37.5 [0.0, 75.0]" in text
    assert "b: R@1, points" in text
    assert "+50.0 [" in text
    assert "NOT MEASURED" not in text
    values = json.loads(output.read_text())
    assert [one["name"] for one in values["results"]] == ["a", "b"]
    assert values["paired_bootstrap"][0]["difference"] == pytest.approx(0.5)
    assert values["paired_bootstrap"][0]["num_units"] == 8


def test_differing_protocols_are_said_loudly(tmp_path, capsys):
    folders = [write(tmp_path / "x" / "out"), write(tmp_path / "y" / "out", num_windows=4)]
    assert main(["compare-results", *folders]) == 0
    text = capsys.readouterr().out
    assert "NOT MEASURED THE SAME WAY. x/out against:" in text
    assert "num_windows: 10 against 4" in text
    assert text.index("NOT MEASURED") < text.index("paired bootstrap")


def test_results_of_two_benchmarks_are_refused_in_one_line(tmp_path, capsys):
    folders = [write(tmp_path / "a"), write(tmp_path / "b", benchmark="lsmdc")]
    assert main(["compare-results", *folders]) == 2
    said = capsys.readouterr().err
    assert "only results of one benchmark can be compared" in said
    assert said.count("\n") == 1


def test_folders_that_hold_no_result_are_named(tmp_path, capsys):
    assert main(["compare-results", write(tmp_path / "a"), str(tmp_path)]) == 2
    assert "holds no result" in capsys.readouterr().err
    assert main(["compare-results", str(tmp_path / "a")]) == 2
    assert "at least two" in capsys.readouterr().err
    assert main(["compare-results", str(tmp_path / "a"), str(tmp_path / "x" / ".." / "a")]) == 2
    assert "given twice" in capsys.readouterr().err
