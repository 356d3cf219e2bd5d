"""The script that measures rewards of environments together: its options and its table."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("rewards")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("steps", ["0", "-1", "21"])
def test_a_round_is_no_longer_than_an_episode(script, steps, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["rewards.py", "--steps", steps])
    with pytest.raises(SystemExit):
        script.main()
    assert f"must be 1 to 20, the steps of an episode, got {steps}" in capsys.readouterr().err


def test_a_whole_episode_is_measured_both_ways(script) -> None:
    (subject,) = script.subjects(None, ["demo"], script.MAX_STEPS, device="cpu")
    rounds, latency = script.measure(subject, 1, num_rounds=1)
    assert latency.calls == 20
    assert [rate > 0 for way in rounds[0] for rate in (way.frames, way.steps)] == [True] * 4
    assert script.row("demo", 1, rounds).startswith("| demo | 1 | ")
