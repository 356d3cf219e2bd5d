"""`narravid train milnce` and `narravid resume`, from the command line to the finished model."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from narravid.cli.main import main
from narravid.models.hub import load
from narravid.training import checkpoint
from narravid.training.logging import read_log
from narravid.training.run import read_run_config
from small_corpus import SMALL_OPTIONS, write_narrated_videos


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_narrated_videos(tmp_path_factory.mktemp("videos"))


def test_a_model_is_trained_and_the_end_says_what_came_of_it(videos, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["train", "milnce", "--data.root", str(videos), "--output", str(run), *SMALL_OPTIONS]
    assert main([*words, "--trainer.num-steps", "4", "--trainer.log-every-steps", "1", "--seed", "3"]) == 0
    shown = capsys.readouterr().out
    losses = [entry["loss"] for entry in read_log(run)]
    assert re.match(r"4 steps in \d+ s, ", shown)
    assert f" s, loss {losses[0]:.4g} -> {losses[-1]:.4g}" in shown
    assert str(run / "model") in shown
    assert load(run).embed_dim == 8
    assert read_run_config(run)[1]["seed"] == 3

    assert main([*words, "--trainer.num-steps", "4"]) == 2
    assert "go on with `narravid resume" in capsys.readouterr().err
    assert main(["resume", str(run)]) == 0
    finished, steps, _ = capsys.readouterr().out.splitlines()
    assert finished == "this run was finished already; nothing was left to train"
    assert steps.startswith("4 steps in ")
    (run / "log.jsonl").unlink()
    assert main(["resume", str(run)]) == 0
    assert "4 steps in " in capsys.readouterr().out


def test_the_published_setting_needs_no_option_but_the_two_folders(videos, tmp_path, capsys):
    assert main(["train", "milnce", "--data.root", str(videos), "--output", str(tmp_path / "run")]) == 2
    assert "set --data.batch-size to 6 or less" in capsys.readouterr().err


def test_ctrl_c_ends_with_130_and_the_run_can_go_on(videos, tmp_path):
    run = tmp_path / "run"
    options = ["--trainer.num-steps", "100000", "--trainer.checkpoint-every-steps", "1"]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "narravid.cli.main", "train", "milnce", "--data.root", str(videos)),
            *("--output", str(run), *options, *SMALL_OPTIONS),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not checkpoint.list_checkpoints(run) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "narravid: interrupted"
    assert "Traceback" not in said
    assert checkpoint.latest_checkpoint(run) is not None


@pytest.mark.shared
@pytest.mark.slow
def test_thirty_steps_on_real_talks_lower_the_loss_and_the_model_opens(shared_data, tmp_path):
    run = tmp_path / "run"
    words = [
        *("train", "milnce", "--data.root", str(shared_data / "narrated"), "--output", str(run)),
        *("--trainer.num-steps", "30", "--data.batch-size", "12", "--model.video.width-multiplier", "0.25"),
        *("--model.clip-spec.num-frames", "8", "--model.clip-spec.size-pixels", "64"),
        *("--model.similarity", "cosine", "--model.temperature", "0.07", "--optim.lr", "3e-4"),
    ]
    assert main(words) == 0
    first, middle, last = (entry["loss"] for entry in read_log(run))
    assert first > middle > last
    assert load(run).encode_text(["workers of the world unite"]).shape == (1, 512)
