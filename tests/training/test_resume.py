"""A run killed by SIGKILL at any point and resumed equals one that was never interrupted, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).with_name("kill_harness.py")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def run_harness(mode: str, seed: int) -> dict:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(HARNESS), mode, str(seed)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_dying_at_every_step_and_inside_every_write_changes_nothing():
    results = run_harness("everywhere", 0)
    assert len(results) == 19
    wrong = {point: result for point, result in results.items() if not all(result.values())}
    assert not wrong


@pytest.mark.slow
def test_being_killed_again_and_again_at_random_moments_changes_nothing():
    result = run_harness("random", 20261120)
    assert result["num_kills"] == 20
    assert result["status"] == 0
    assert result["same"]
