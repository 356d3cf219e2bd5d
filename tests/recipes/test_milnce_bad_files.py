"""Acceptance: training on archives with bad files of every kind ends well, or stops and says so."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from narravid.bad_items import BadItems, TooManyBadItemsError
from narravid.data.drawing import NoUsableVideoError
from narravid.recipes.milnce import MILNCERecipe
from narravid.recipes.registry import resume_run
from narravid.training import checkpoint
from small_corpus import SMALL_OPTIONS, TRANSCRIPT, small_recipe
from tiny_corpus import COLOURS, write_colour_video
from watched_doubles import is_alive

BAD_KINDS = ("truncated", "empty", "garbage", "missing", "silent")


def write_archive(folder: Path, *, num_videos: int, bad: dict[str, int]) -> set[str]:
    """An archive in which some videos are bad; gives the names of those."""
    good = write_colour_video(folder / "good0.mp4", COLOURS["red"], seconds=2.0)
    kinds = [kind for kind, count in bad.items() for _ in range(count)]
    names = [f"{kind}{number}" for number, kind in enumerate(kinds)]
    for name in (*names, *(f"good{number}" for number in range(1, num_videos - len(kinds)))):
        video = Path(shutil.copy(good, folder / f"{name}.mp4"))
        video.with_suffix(".vtt").write_text(TRANSCRIPT.format(colour="red"))
    good.with_suffix(".vtt").write_text(TRANSCRIPT.format(colour="red"))
    for name in names:
        spoil(folder / f"{name}.mp4", name.rstrip("0123456789"))
    return set(names)


def spoil(video: Path, kind: str) -> None:
    content = video.read_bytes()
    if kind == "truncated":
        video.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        video.write_bytes(b"")
    elif kind == "garbage":
        video.write_bytes(np.random.default_rng(7).bytes(len(content)))
    elif kind == "missing":  # listed, and gone when it is to be read
        video.unlink()
        video.symlink_to("nowhere.mp4")
    elif kind == "silent":
        video.with_suffix(".vtt").write_text("WEBVTT\n")


def recipe_of(folder: Path, *, batch_size: int, num_steps: int) -> MILNCERecipe:
    recipe = small_recipe(folder, num_steps=num_steps, checkpoint_every_steps=2)
    return dataclasses.replace(
        recipe, workers=2, data=dataclasses.replace(recipe.data, batch_size=batch_size)
    )


def met_in(run: Path) -> dict[str, int]:
    return {Path(name).stem: times for name, times in BadItems.read(run / "bad_items.csv").times.items()}


def test_an_archive_with_3_percent_bad_files_is_trained_on_and_they_are_reported(tmp_path, caplog):
    videos = tmp_path / "videos"
    bad = write_archive(videos, num_videos=167, bad=dict.fromkeys(BAD_KINDS, 1))
    run = tmp_path / "run"
    result = recipe_of(videos, batch_size=83, num_steps=4).train(run)  # all videos, twice
    assert result.step == 4
    met = met_in(run)
    assert met.keys() == bad
    assert met["silent4"] == 1
    assert all(times >= 2 for name, times in met.items() if name != "silent4")
    reasons = BadItems.read(run / "bad_items.csv").reasons
    assert "holds no captions" in reasons[str(videos / "silent4.mp4")]
    assert "No such file" in reasons[str(videos / "missing3.mp4")]
    assert "5 bad videos left out or replaced" in caplog.text


def test_an_archive_with_20_percent_bad_files_stops_the_run_with_a_table(tmp_path):
    videos = tmp_path / "videos"
    bad = write_archive(videos, num_videos=25, bad=dict.fromkeys(BAD_KINDS, 1))
    run = tmp_path / "run"
    with pytest.raises(TooManyBadItemsError, match=r"items met so far are bad, more than 5%") as caught:
        recipe_of(videos, batch_size=24, num_steps=4).train(run)
    assert str(run / "bad_items.csv") in str(caught.value)
    assert "data.max_bad_share" in str(caught.value)
    assert met_in(run).keys() == bad


def lines_of(run: Path, caplog) -> tuple[str, str]:
    """The table of a run, and the line at its end."""
    return (run / "bad_items.csv").read_text(), caplog.messages[-1]


def test_a_run_counts_the_same_wherever_it_was_cut_and_resumed(tmp_path, caplog):
    videos = tmp_path / "videos"
    write_archive(videos, num_videos=40, bad={"garbage": 1, "silent": 1})
    run = tmp_path / "run"
    recipe_of(videos, batch_size=13, num_steps=8).train(run)
    whole = lines_of(run, caplog)
    assert met_in(run) == {"garbage0": 3, "silent1": 1}
    assert "drew 104 clips in 104 visits" in whole[1]
    for _ in range(2):  # the second time nothing is left of the run but its settings
        *_, (_, newest) = checkpoint.list_checkpoints(run)
        newest.unlink()
        caplog.clear()
        resume_run(run)
        assert lines_of(run, caplog) == whole
        for _, path in checkpoint.list_checkpoints(run)[:-1]:
            path.unlink()
    caplog.clear()
    assert resume_run(run).resumed_at == 8
    assert lines_of(run, caplog) == whole


def test_a_run_that_stopped_at_too_many_goes_on_with_what_was_met_until_its_checkpoint(tmp_path):
    videos = tmp_path / "videos"
    write_archive(videos, num_videos=40, bad={"garbage": 2})
    run, whole = tmp_path / "run", tmp_path / "whole"
    borne = recipe_of(videos, batch_size=13, num_steps=4)
    borne = dataclasses.replace(borne, trainer=dataclasses.replace(borne.trainer, checkpoint_every_steps=1))
    borne.train(whole)
    strict = dataclasses.replace(borne, data=dataclasses.replace(borne.data, max_bad_share=0.03))
    with pytest.raises(TooManyBadItemsError):
        strict.train(run)
    assert checkpoint.list_checkpoints(run)
    config = json.loads((run / "config.json").read_text())
    config["config"]["data"]["max_bad_share"] = 0.05
    (run / "config.json").write_text(json.dumps(config))
    assert resume_run(run).resumed_at > 0
    assert met_in(run) == met_in(whole)


def test_a_run_that_stops_for_another_reason_leaves_its_table_too(tmp_path):
    videos = tmp_path / "videos"
    bad = write_archive(videos, num_videos=4, bad={"garbage": 3})
    for video in videos.glob("good*.mp4"):
        spoil(video, "empty")
    run = tmp_path / "run"
    with pytest.raises(NoUsableVideoError, match="none of 20 videos tried can be decoded"):
        recipe_of(videos, batch_size=3, num_steps=4).train(run)
    assert met_in(run).keys() == {*bad, "good0"}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="lists child processes as Linux does")
def test_no_decoding_process_outlives_a_training_run_that_is_killed(tmp_path):
    videos = tmp_path / "videos"
    write_archive(videos, num_videos=6, bad={})
    run = tmp_path / "run"
    options = ("--data.root", str(videos), "--output", str(run), "--trainer.num-steps", "100000")
    program = subprocess.Popen(
        [sys.executable, "-m", "narravid.cli.main", "train", "milnce", *options, *SMALL_OPTIONS],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (run / "log.jsonl").exists() and program.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        threads = Path(f"/proc/{program.pid}/task").iterdir()
        children = [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]
    finally:
        program.kill()
        program.wait()
    assert len(children) == 2
    deadline = time.monotonic() + 30
    while any(map(is_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(is_alive, children))
