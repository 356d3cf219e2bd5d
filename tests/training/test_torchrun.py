"""Several processes under `torchrun` end as one process does, also when one of them is killed on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from narravid.training.checkpoint import list_checkpoints
from narravid.training.logging import read_log

pytestmark = pytest.mark.slow

JOB = Path(__file__).with_name("torchrun_job.py")


def start(run, *, num_processes, death="never", dropout=0.0):
    command = [sys.executable, str(JOB), str(run), death, str(dropout)]
    if num_processes > 1:
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", "1"),
            *("--nproc-per-node", str(num_processes), *command[1:]),
        ]
    result = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return [
        torch.load(run / f"end_of_rank_{rank}.pt", weights_only=True) for rank in range(num_processes)
    ], result.stderr


def figures(run):
    """The log without what a clock or the system said."""
    names = {"event", "step", "epoch", "loss", "lr", "grad_norm", "weight"}
    return [{name: value for name, value in entry.items() if name in names} for entry in read_log(run)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    run = tmp_path_factory.mktemp("one")
    return start(run, num_processes=1)[0][0], run


@pytest.mark.parametrize("num_processes", [2, 4])
def test_processes_end_as_one_process_does(tmp_path, one, num_processes):
    expected, run = one
    ends, _ = start(tmp_path / "run", num_processes=num_processes)
    for end in ends:
        for name, tensor in end.items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-9, atol=1e-11)
    for got, wanted in zip(figures(tmp_path / "run"), figures(run), strict=True):
        assert got.pop("event") == wanted.pop("event")
        assert got == pytest.approx(wanted, rel=1e-5)
    assert [path.name for path in tmp_path.rglob("num_items.txt")] == ["num_items.txt"]
    assert (tmp_path / "run" / "num_items.txt").read_text() == (run / "num_items.txt").read_text() == "63"
    saved = torch.load(list_checkpoints(tmp_path / "run")[-1][1], weights_only=True)
    assert [len(saved["random"]), len(saved["data"])] == [num_processes, num_processes]


@pytest.mark.parametrize("death", ["0 3", "1 5", "1 0"])
def test_a_killed_worker_is_started_again_and_the_run_ends_the_same(tmp_path, death):
    """With dropout, whose random numbers each process must go on drawing where it was."""
    whole, _ = start(tmp_path / "whole", num_processes=2, dropout=0.3)
    killed, said = start(tmp_path / "killed", num_processes=2, death=death, dropout=0.3)
    assert "SIGKILL" in said or "Signal 9" in said or "exitcode: -9" in said
    for end, expected in zip(killed, whole, strict=True):
        assert all(torch.equal(tensor, expected[name]) for name, tensor in end.items())
    assert figures(tmp_path / "killed") == figures(tmp_path / "whole")
    counts = [(tmp_path / name / "num_items.txt").read_text() for name in ("killed", "whole")]
    assert counts == ["63", "63"]
