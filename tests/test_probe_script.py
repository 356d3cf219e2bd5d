"""The script of the probe on real actions: its lists, its table, and which folders it goes on with."""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def probe():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("probe")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def actions(tmp_path) -> Path:
    folder = tmp_path / "actions"
    folder.mkdir()
    rows = [
        "video_id,label,set,sequence",
        "a.avi,kick,1,1",
        "b.avi,hug,1,2",
        "c.avi,hug,2,13",
        "d.avi,kick,2,20",
    ]
    (folder / "labels.csv").write_text("\n".join([*rows, ""]))
    return folder


def rows_of(path: Path) -> list[tuple[str, str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [(Path(row["video_path"]).name, row["label"], row["split"]) for row in csv.DictReader(file)]


def test_no_test_clip_is_in_the_list_of_training(probe, actions, tmp_path):
    labels, training = probe.write_lists(actions, tmp_path)
    assert rows_of(labels) == [
        ("a.avi", "kick", "train"),
        ("b.avi", "hug", "test"),
        ("c.avi", "hug", "train"),
        ("d.avi", "kick", "test"),
    ]
    assert rows_of(training) == [("a.avi", "kick", "train"), ("c.avi", "hug", "train")]
    with labels.open(newline="", encoding="utf-8") as file:
        paths = [row["video_path"] for row in csv.DictReader(file)]
    assert paths == [str(actions / name) for name in ("a.avi", "b.avi", "c.avi", "d.avi")]


def test_the_table_has_the_trained_network_what_it_beats_and_chance(probe):
    def measure(value: float, low: float, high: float) -> dict[str, float]:
        return {"name": "top-1", "value": value, "low": low, "high": high, "chance": 1 / 6}

    lead = {"top1_difference": 0.25, "low": -0.05, "high": 0.5, "p_value": 0.1}
    result = {
        "measures": [measure(0.75, 0.6251, 0.875)],
        "further": {"pixels": [measure(0.5, 0.3, 0.7)]},
        "card": {"lead_over_baselines": {"pixels": lead}},
    }
    assert probe.table(result).splitlines()[2:] == [
        "| S3D, trained | 75.0 | 62.5 to 87.5 | |",
        "| pixels | 50.0 | 30.0 to 70.0 | 25.0 (-5.0 to 50.0) |",
        "| chance | 16.7 | | |",
    ]


def options_of(actions: Path, **changes: object) -> argparse.Namespace:
    options = {"toy_steps": None, "epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "num_frames": 8}
    options |= {"fps": 5.0, "size_pixels": 32, "seed": 0, "workers": 2, "actions": actions}
    return argparse.Namespace(**options | changes)


def test_a_folder_of_other_options_is_refused(probe, actions, tmp_path):
    probe.claim(tmp_path, options_of(actions))
    (tmp_path / "toy").mkdir()
    probe.claim(tmp_path, options_of(actions, workers=1))  # no network depends on it
    with pytest.raises(
        SystemExit, match=r"other options \(epochs, fps; see .*options\.json\): choose another"
    ):
        probe.claim(tmp_path, options_of(actions, epochs=3, fps=2.0))
    (actions / "labels.csv").write_text("video_id,label,set,sequence\n")
    with pytest.raises(SystemExit, match=r"other options \(labels\.csv; "):
        probe.claim(tmp_path, options_of(actions))
    assert json.loads((tmp_path / "options.json").read_text())["epochs"] == 2
    (tmp_path / "options.json").unlink()
    with pytest.raises(SystemExit, match=r"has runs but no options\.json"):
        probe.claim(tmp_path, options_of(actions))


def test_a_run_that_was_begun_is_gone_on_with(probe, tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(probe, "run", lambda *words: commands.append(words))
    toy = tmp_path / "toy"
    probe.train(toy, "milnce", "--seed", "0")
    (toy / "model").mkdir(parents=True)  # the best network so far
    (toy / "config.json").touch()
    probe.train(toy, "milnce", "--seed", "0")
    assert commands == [("train", "milnce", "--output", str(toy), "--seed", "0"), ("resume", str(toy))]
