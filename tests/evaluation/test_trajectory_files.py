"""Scores of trajectories as files: what is in them, and what an earlier run leaves."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from made_scores import made_scores, made_timeline
from narravid.bad_items import BAD_ITEMS_NAME
from narravid.evaluation.reward_diagnostics import diagnose
from narravid.evaluation.trajectory_files import write_scores
from narravid.evaluation.trajectory_report import ScoreReport
from narravid.inference.trajectory_baseline import Baseline

PROMPTS = ('opens "it", slowly', "=1+1\nand more")
COSINES = [[0.1, -0.2], [0.3, 1 / 3], [-1.0, 1.0]]
NAMES = ("first", "second, the other", "third")


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def is_picture(path: Path) -> bool:
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        return picture.format == "PNG"


def test_scores_can_be_read_back_exactly(tmp_path: Path):
    scores = made_scores(COSINES, NAMES, PROMPTS)
    files = write_scores(scores, tmp_path / "out", experiment="a run")
    assert files.heat_map == tmp_path / "out" / "a run.png"
    assert files.folder == tmp_path / "out" / "a run"
    assert files.page == files.folder / "page.html"
    assert is_picture(files.heat_map)
    head, *rows = table(files.folder / "similarities.csv")
    assert head == ["trajectory", *PROMPTS]
    assert [row[0] for row in rows] == list(NAMES)
    values = np.array([row[1:] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(values, scores.similarity)
    stored = np.load(files.folder / "similarities.npy", allow_pickle=False)
    np.testing.assert_array_equal(stored, scores.similarity)
    assert stored.dtype == np.float32
    known = json.loads((files.folder / "similarities.json").read_text(encoding="utf-8"))
    np.testing.assert_array_equal(np.float32(known["similarity"]), scores.similarity)
    assert known["card"]["model"] == "a & b"
    assert [prompt["text"] for prompt in known["prompts"]] == list(PROMPTS)
    first = known["trajectories"][0]
    assert (first["name"], first["path"], first["num_video_frames"]) == ("first", "videos/first.mp4", 4)
    assert first["frame_numbers"] == [0, 1, 2, 3]
    assert first["times_seconds"] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_every_file_that_is_named_is_there_and_no_other(tmp_path: Path):
    files = write_scores(made_scores(COSINES, NAMES, PROMPTS), tmp_path, experiment="e")
    there = {str(path.relative_to(files.folder)) for path in files.folder.rglob("*") if path.is_file()}
    assert there == {*files.others, "page.html"}
    assert set(files.others) == {"similarities.csv", "similarities.npy", "similarities.json", BAD_ITEMS_NAME}


def test_a_baseline_gives_both_matrices(tmp_path: Path):
    scores = made_scores(COSINES, NAMES, PROMPTS, baseline=Baseline("a scene"))
    files = write_scores(scores, tmp_path, experiment="e")
    regularised = np.load(files.folder / "scores.npy", allow_pickle=False)
    np.testing.assert_array_equal(regularised, scores.similarity / 2)
    assert float(table(files.folder / "scores.csv")[1][1]) == pytest.approx(0.05)
    assert float(table(files.folder / "similarities.csv")[1][1]) == pytest.approx(0.1)
    known = json.loads((files.folder / "similarities.json").read_text(encoding="utf-8"))
    np.testing.assert_array_equal(np.float32(known["scores"]), regularised)


def test_groups_are_tables_and_bars(tmp_path: Path):
    groups = (("g", "h", "g"), ("p", "p"))
    scores = made_scores(COSINES, NAMES, PROMPTS, groups=groups)
    report = ScoreReport(normalise=True, deviation="sample")
    files = write_scores(scores, tmp_path, experiment="e", report=report)
    head, first, second = table(files.folder / "groups.csv")
    assert head == ["trajectory_group", "prompt_group", "num_pairs", "mean", "std"]
    values = np.array([0.1, -0.2, -1.0, 1.0])
    assert first[:3] == ["g", "p", "4"]
    assert [float(cell) for cell in first[3:]] == pytest.approx([values.mean(), values.std(ddof=1)])
    assert second[:3] == ["h", "p", "2"]
    assert is_picture(files.folder / "groups.png")
    columns = np.array(COSINES)
    standard = (columns - columns.mean(axis=0)) / columns.std(axis=0, ddof=1)
    normalised = float(table(files.folder / "groups_normalised.csv")[2][3])
    assert normalised == pytest.approx(standard[1].mean())
    assert is_picture(files.folder / "groups_normalised.png")


@pytest.mark.slow
def test_timelines_are_tables_and_pictures_under_names_that_differ(tmp_path: Path):
    timelines = [
        made_timeline([[0.1, 0.2], [0.3, 0.4]], [0, 1.5], name=name)
        for name in ("kitchen/one", "kitchen one", "Kitchen_one", "..", "x" * 300)
    ]
    scores = made_scores(COSINES, NAMES, PROMPTS)
    files = write_scores(scores, tmp_path, experiment="e", timelines=timelines)
    written = sorted(path.stem for path in (files.folder / "timelines").glob("*.csv"))
    assert written == ["Kitchen_one_3", "kitchen_one", "kitchen_one_2", "trajectory", "x" * 40]
    rows = table(files.folder / "timelines" / "kitchen_one.csv")
    assert rows[0] == ["start_seconds", "end_seconds", "prompt 0", "prompt 1"]
    assert [[float(cell) for cell in row] for row in rows[1:]] == [
        pytest.approx([0, 2, 0.1, 0.2]),
        pytest.approx([1.5, 3.5, 0.3, 0.4]),
    ]
    assert is_picture(files.folder / "timelines" / "kitchen_one.png")


def test_rank_correlations_are_a_table_and_pictures(tmp_path: Path):
    diagnostics = [
        diagnose("up", [0.1, 0.2, 0.3], [1, 2, 3]),
        diagnose("flat", [0.1, 0.2, 0.3], [5, 5, 5]),
    ]
    scores = made_scores(COSINES, NAMES, PROMPTS)
    files = write_scores(scores, tmp_path, experiment="e", diagnostics=diagnostics)
    head, up, flat = table(files.folder / "rank_correlations.csv")
    assert head == ["prompt", "rank_correlation", "low", "high", "num_trajectories", "remark"]
    assert (up[0], float(up[1]), up[4]) == ("up", 1.0, "3")
    assert flat[:5] == ["flat", "", "", "", "3"]
    assert "all true returns are equal" in flat[5]
    assert is_picture(files.folder / "rank_correlations" / "prompt_2.png")


def test_a_later_run_leaves_nothing_of_an_earlier_one_and_nothing_else_is_touched(tmp_path: Path):
    scores = made_scores(COSINES, NAMES, PROMPTS, groups=((None, "h", None), (None, None)))
    timelines = [made_timeline([[0.1]], [0], name="one")]
    first = write_scores(scores, tmp_path, experiment="e", timelines=timelines)
    assert {"groups.csv", "timelines/one.png"} <= set(first.others)
    foreign = first.folder / "groups_of_mine.csv"
    foreign.write_text("mine")
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    known = json.loads((first.folder / "similarities.json").read_text(encoding="utf-8"))
    known["files"] += ["../outside.txt", str(outside), 7]
    (first.folder / "similarities.json").write_text(json.dumps(known))
    write_scores(made_scores(COSINES, NAMES, PROMPTS), tmp_path, experiment="e")
    assert foreign.exists()
    assert outside.exists()
    known["files"].remove(7)
    (first.folder / "similarities.json").write_text(json.dumps(known))
    second = write_scores(made_scores(COSINES, NAMES, PROMPTS), tmp_path, experiment="e")
    there = {str(path.relative_to(second.folder)) for path in second.folder.rglob("*")}
    assert there == {*second.others, "page.html", "groups_of_mine.csv"}  # and no folder timelines
    assert outside.exists()


def test_a_folder_in_which_something_else_lies_stays(tmp_path: Path):
    scores = made_scores([[0.1]], ["a"], ["b"])
    timelines = [made_timeline([[0.1]], [0], name="one")]
    folder = write_scores(scores, tmp_path, experiment="e", timelines=timelines).folder
    (folder / "timelines" / "mine.txt").write_text("mine")
    write_scores(scores, tmp_path, experiment="e")
    assert [path.name for path in (folder / "timelines").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("obstacle", ["groups.csv", "timelines/one.png", "bad_items.csv", "page.html"])
def test_what_a_run_that_failed_left_is_removed_by_the_next(tmp_path: Path, obstacle: str):
    folder = tmp_path / "e"
    (folder / obstacle).mkdir(parents=True)  # no file can be put in its place
    grouped = made_scores([[0.1]], ["a"], ["b"], groups=(("g",), ("h",)))
    timelines = [made_timeline([[0.1]], [0], name="one")]
    with pytest.raises(OSError, match=r"[Dd]irectory"):
        write_scores(grouped, tmp_path, experiment="e", timelines=timelines)
    assert json.loads((folder / "similarities.json").read_text())["unfinished"] is True
    (folder / obstacle).rmdir()
    second = write_scores(made_scores([[0.1]], ["a"], ["b"]), tmp_path, experiment="e")
    there = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert there - {"timelines"} == {*second.others, "page.html"}
    assert "unfinished" not in json.loads((folder / "similarities.json").read_text())


def test_names_that_are_no_text_are_written_by_their_escapes(tmp_path: Path):
    scores = made_scores([[0.1]], ["clip \udcff"], ["opens 机器人 الروبوت"])
    scores.bad.add("broken \udcff.mp4", "it has no video stream")
    files = write_scores(
        scores, tmp_path, experiment="e", timelines=[made_timeline([[1]], [0], name="\udcff")]
    )
    assert table(files.folder / "similarities.csv")[1][0] == "clip \\udcff"
    known = json.loads((files.folder / "similarities.json").read_text(encoding="utf-8"))
    assert known["trajectories"][0]["name"] == "clip \udcff"
    assert "clip \\udcff" in files.page.read_text(encoding="utf-8")
    assert "broken \\udcff.mp4" in files.page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0b"])
def test_an_experiment_is_a_name_for_files(tmp_path: Path, name: str):
    with pytest.raises(ValueError, match="experiment must be a name for files"):
        write_scores(made_scores([[0.1]], ["a"], ["b"]), tmp_path, experiment=name)
    assert not list(tmp_path.iterdir())
