"""`torchrun -m narravid train`: two processes on real videos, one of which is killed on the way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from narravid.training import checkpoint
from narravid.training.logging import read_log
from small_corpus import SMALL_OPTIONS, write_narrated_videos

NUM_STEPS = 30

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="finds processes in /proc"),
]


def start(*words: str, num_processes: int = 2) -> subprocess.Popen[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--max-restarts", "2"]
    torchrun += ["--nproc-per-node", str(num_processes)]
    return subprocess.Popen(
        [sys.executable, *torchrun, "-m", "narravid", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    printed, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]
    return printed, said


def workers_of(launcher: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        if int(fields["PPid"]) == launcher:
            found.append(int(status.parent.name))
    return sorted(found)


def kill_a_worker(process: subprocess.Popen[str], run: Path, rng: random.Random) -> None:
    """One of the workers, at a random moment after the first checkpoint."""
    deadline = time.monotonic() + 120
    while not checkpoint.list_checkpoints(run) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.3))
    os.kill(rng.choice(workers_of(process.pid)), signal.SIGKILL)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def test_a_run_of_two_processes_survives_the_death_of_one(tmp_path):
    videos = write_narrated_videos(tmp_path / "videos")
    options = [
        *("train", "milnce", "--data.root", str(videos), *SMALL_OPTIONS),
        *("--trainer.num-steps", str(NUM_STEPS), "--trainer.checkpoint-every-steps", "1"),
        *("--trainer.log-every-steps", "3", "--workers", "2"),
    ]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    printed, _ = finish(start(*options, "--output", str(whole)))
    assert printed.count(f"{NUM_STEPS} steps in") == 1  # the first process alone says so

    process = start(*options, "--output", str(killed))
    kill_a_worker(process, killed, random.Random(20261121))
    finish(process)
    expected, got = weights(whole), weights(killed)
    assert expected.keys() == got.keys()
    assert all(torch.equal(tensor, got[name]) for name, tensor in expected.items())
    assert [entry["loss"] for entry in read_log(killed)] == [entry["loss"] for entry in read_log(whole)]
    state = checkpoint.load_checkpoint(checkpoint.checkpoint_path(killed, NUM_STEPS))
    assert len(state["random"]) == 2
