"""Toy worlds as training data."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from narravid.data.annotations.caption_corpora import read_caption_corpus
from narravid.errors import ConfigError
from narravid.evaluation.pairs import read_pairs_csv
from narravid.recipes.toy_data import ToyFiles, is_toy, toy_files, write_toy_files
from narravid.synthetic.camera import SceneConfig
from narravid.synthetic.files import load_world
from narravid.synthetic.world import PRESETS, preset
from narravid.text.transcripts import read_transcript

SPECK = replace(
    preset("tiny"),
    num_train_videos=2,
    num_test_repetitions=1,
    steps_per_video=24,
    scene=SceneConfig(
        width=16, height=16, fps=2.0, min_step_seconds=1.0, max_step_seconds=1.5, max_pause_seconds=0.2
    ),
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NARRAVID_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(PRESETS, "speck", SPECK)
    return tmp_path / "home"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tables_hold_the_truth_of_the_world(own_cache: Path) -> None:
    files = toy_files("toy:speck:3")
    assert files.folder.parent == own_cache / "toy"
    world = load_world(files.folder)
    assert world.seed == 3
    for split, path in (("train", files.train_pairs), ("test", files.test_pairs)):
        told = [(timed.step.sentence, timed.span) for v in world.split(split) for timed in v.steps]
        pairs = read_pairs_csv(path)
        assert [(pair.text, pair.span) for pair in pairs] == told
        assert all(Path(pair.path).is_file() for pair in pairs)
    assert len(read_pairs_csv(files.test_pairs)) == 48
    steps = [(split, timed) for split in ("train", "test") for v in world.split(split) for timed in v.steps]
    labels = rows(files.labels)
    assert [(row["split"], row["label"]) for row in labels] == [(split, t.step.motion) for split, t in steps]
    assert float(labels[5]["start_seconds"]) == steps[5][1].span.start_seconds
    assert len(list(files.train.glob("*.mp4"))) == len(list(files.train.glob("*.vtt"))) == 2


def test_aligned_captions_are_the_true_ones_at_the_middle_of_their_steps() -> None:
    files = toy_files("toy:speck")
    videos = {video.video_id: video.read().track for video in read_caption_corpus(files.aligned_captions)}
    assert sorted(videos) == ["train0000", "train0001"]
    for video_id, track in videos.items():
        true = read_transcript(files.true_captions / f"{video_id}.vtt")
        assert sorted(track.texts) == sorted(true.texts)
        middles = sorted(int(caption.span.center_seconds) for caption in true)
        assert [caption.span.start_seconds for caption in track] == middles


def test_a_world_is_drawn_once_and_what_a_kill_left_out_is_added() -> None:
    files = toy_files("toy:speck")
    video = files.train / "train0000.mp4"
    drawn = video.stat().st_mtime_ns
    assert toy_files(Path("toy:speck:0")) == files
    (files.folder / "truth.json").unlink()  # as if the program had been killed on the way
    files.labels.unlink()
    other = files.train / "train0001.mp4"
    content = other.read_bytes()
    other.unlink()
    toy_files("toy:speck")
    assert other.read_bytes() == content
    assert video.stat().st_mtime_ns == drawn
    assert files.labels.is_file()


def test_those_who_come_while_it_is_drawn_wait_for_it() -> None:
    found: list[ToyFiles] = []
    others = [threading.Thread(target=lambda: found.append(toy_files("toy:speck"))) for _ in range(3)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    assert len(found) == 3
    assert all(files == found[0] for files in found)
    assert len(rows(found[0].labels)) == 2 * 24 + 48


@pytest.mark.slow
def test_killed_while_drawing_it_goes_on(own_cache: Path) -> None:
    program = "from narravid.recipes.toy_data import toy_files; toy_files('toy:tiny')"
    process = subprocess.Popen(
        [sys.executable, "-c", program], start_new_session=True, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(own_cache.rglob("*.mp4")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(own_cache.rglob("labels.csv"))
    files = toy_files("toy:tiny")
    assert len(load_world(files.folder).videos) == len(list(files.folder.rglob("*.mp4"))) == 56
    assert len(rows(files.labels)) == 48 * 12 + 96


def test_a_folder_of_another_world_is_refused_also_when_it_is_complete(tmp_path: Path) -> None:
    files = write_toy_files(SPECK, tmp_path / "world", seed=1)
    assert write_toy_files(SPECK, tmp_path / "world", seed=1) == files
    for config, seed in ((SPECK, 2), (replace(SPECK, num_train_videos=3), 1)):
        with pytest.raises(ValueError, match="holds another toy world"):
            write_toy_files(config, tmp_path / "world", seed=seed)


def test_addresses_are_told_from_paths_and_bad_ones_refused() -> None:
    assert is_toy("toy:tiny")
    assert is_toy(Path("toy:demo:2"))
    assert not is_toy("videos/toy:tiny")
    with pytest.raises(
        ConfigError, match=r"no toy world 'tniy'; there are toy:demo, .* \(did you mean 'tiny'"
    ):
        toy_files("toy:tniy")
    for address in ("toy:", "toy:tiny:", "toy:tiny:x", "toy:tiny:-1", "tiny"):
        with pytest.raises(ConfigError, match="write toy:NAME or toy:NAME:SEED"):
            toy_files(address)
