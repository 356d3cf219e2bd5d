"""Acceptance: `narravid train milnce` killed with SIGKILL and gone on with by `narravid resume RUN`.

Real processes and real videos; the moments are drawn from a seed, counted from the first sign of training. A
checkpoint is written after every step, so that some fall into the writing of one.
"""

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

NUM_STEPS = 150
MAX_KILLS = 3
MAX_TRAINED_SECONDS = 0.25

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL"),
]


def start(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "narravid.cli.main", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()


def newest_step(run: Path) -> int:
    return max((step for step, _ in checkpoint.list_checkpoints(run)), default=0)


def kill_while_training(process: subprocess.Popen[bytes], run: Path, rng: random.Random) -> int:
    """Wait until the process has saved a step of its own, then a random moment; gives the step reached."""
    before = newest_step(run)
    deadline = time.monotonic() + 60
    while newest_step(run) == before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, MAX_TRAINED_SECONDS))
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said.decode()
    return newest_step(run)


def test_a_run_killed_at_random_moments_ends_with_the_same_weights(tmp_path):
    videos = write_narrated_videos(tmp_path / "videos")
    options = [
        *("train", "milnce", "--data.root", str(videos), "--trainer.num-steps", str(NUM_STEPS)),
        *("--trainer.checkpoint-every-steps", "1", "--trainer.log-every-steps", "7", *SMALL_OPTIONS),
    ]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(*options, "--output", str(whole)))

    rng = random.Random(20261120)
    reached = [kill_while_training(start(*options, "--output", str(killed)), killed, rng)]
    for _ in range(MAX_KILLS - 1):
        reached.append(kill_while_training(start("resume", str(killed)), killed, rng))
    assert 0 < reached[0] < reached[-1] < NUM_STEPS
    finish(start("resume", str(killed)))

    first = load_file(whole / "model" / "model.safetensors")
    second = load_file(killed / "model" / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not list(killed.rglob("*.partial"))
    assert losses(killed) == losses(whole)
    assert [step for step, _ in losses(whole)] == [*range(7, NUM_STEPS, 7), NUM_STEPS]


def losses(run: Path) -> list[tuple[int, float]]:
    return [(entry["step"], entry["loss"]) for entry in read_log(run)]
