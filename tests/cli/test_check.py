"""`narravid check`."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from narravid.cli.main import main
from tiny_corpus import write_colour_videos


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    return write_colour_videos(tmp_path / "videos")


def table(path: Path) -> dict[str, str]:
    with path.open(newline="", encoding="utf-8") as file:
        return {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}


def test_good_files(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "deep" / "bad.csv"
    assert main(["check", str(videos), "--output", str(output), "--workers", "1"]) == 0
    assert "3 files checked (quick): 3 good (0.00 h of video), 0 bad" in capsys.readouterr().out
    assert output.read_text() == "path,reason,times\n"
    assert main(["check", str(videos), "--output", str(output), "--depth", "full"]) == 0
    assert "3 files checked (full): 3 good (0.00 h of video), 0 bad" in capsys.readouterr().out
    assert main(["check", str(videos), "--output", str(output)]) == 0
    assert "3 good (0.00 h of video), 3 of them known from before, 0 bad" in capsys.readouterr().out
    assert main(["check", str(videos), "--output", str(output), "--fresh"]) == 0
    assert "3 good (0.00 h of video), 0 bad" in capsys.readouterr().out


def test_bad_files_are_listed_and_written(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (videos / "text.mp4").write_text("no video")
    blue = (videos / "blue.mp4").read_bytes()
    pictures = blue.index(b"mdat")
    (videos / "blue.mp4").write_bytes(blue[: pictures + (len(blue) - pictures) // 2])
    output = tmp_path / "bad.csv"
    assert main(["check", str(videos), str(tmp_path / "gone.mp4"), "--output", str(output)]) == 1
    out = capsys.readouterr().out
    bad = table(output)
    assert bad["text.mp4"] == "cannot be opened as a video: Invalid data found when processing input"
    assert bad["gone.mp4"] == "no such file or directory"
    assert bad["blue.mp4"].startswith("cut short: ends at ")
    for name, reason in bad.items():
        assert f"{name}: {reason}\n" in out
    assert "5 files checked (quick): 2 good" in out
    assert "not looked at" not in out
    assert "counted already" not in out
    assert main(["check", str(videos / "red.mp4"), "--output", str(output)]) == 0
    assert "1 file checked (quick): 1 good" in capsys.readouterr().out


def test_many_bad_files_are_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "videos").mkdir()
    for number in range(30):
        (tmp_path / "videos" / f"{number}.mp4").touch()
    assert main(["check", str(tmp_path / "videos"), "--output", str(tmp_path / "bad.csv")]) == 1
    out = capsys.readouterr().out
    assert out.count("bad: ") == 20
    assert "and 10 more, in " in out
    assert "  30 x empty file\n" in out


def test_what_was_not_looked_at_is_said(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("red.vtt", "blue.vtt", "rest.mp4.part", "README"):
        (videos / name).write_text("no video")
    (videos / "again.mp4").symlink_to(videos / "red.mp4")
    words = ["check", str(videos), "--output", str(tmp_path / "bad.csv")]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "not looked at: 4 files without a video's suffix (2 x .vtt, 1 x none, 1 x .part); name" in out
    assert "1 path led to a file that is counted already" in out
    assert main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["not_looked_at_by_suffix"] == {".vtt": 2, ".part": 1, "none": 1}
    assert (facts["num_files"], facts["num_repeated"]) == (3, 1)


def test_as_json(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (videos / "red.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nred\n")
    (videos / "blue.vtt").write_text("WEBVTT\n\n01:00.000 --> 01:01.000\nblue\n")
    output = tmp_path / "bad.csv"
    assert main(["check", str(videos), "--captions", "beside", "--output", str(output), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["num_files"] == 3
    assert facts["num_good"] == 1
    assert facts["hours_of_good_video"] == pytest.approx(2.0 / 3600)
    assert facts["bad_by_reason"] == {
        "captions of another video: the last starts at 60.0 s, the video ends at 4.0 s": 1,
        table(output)["green.mp4"]: 1,
    }
    assert table(output)["green.mp4"].startswith("no transcript of the same name")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name at least one video file or folder"),
        (["videos", "--output", "."], ". is a folder; the table needs a file"),
        (["videos", "--captions", "nowhere"], "nowhere is neither a folder nor a file"),
        (["videos", "--workers", "-1"], "workers must be at least 1, got -1"),
        (["videos", "--workers", "0"], "workers must be at least 1, got 0"),
    ],
)
def test_mistakes(videos: Path, monkeypatch, capsys: pytest.CaptureFixture[str], words, said):
    monkeypatch.chdir(videos.parent)
    assert main(["check", *words]) == 2
    assert said in capsys.readouterr().err


def test_ctrl_c_keeps_what_was_found(videos: Path, tmp_path: Path):
    (videos / "a.mp4").write_text("no video")
    for number in range(1000):  # more than are checked before Ctrl-C comes
        os.link(videos / "red.mp4", videos / f"red{number}.mp4")
    output, memory = tmp_path / "bad.csv", tmp_path / "bad.good.jsonl"
    command = [sys.executable, "-m", "narravid.cli.main", "check", str(videos)]
    with subprocess.Popen(
        [*command, "--workers", "1", "--output", str(output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and not (memory.exists() and memory.read_text()):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    num_good = len(memory.read_text().splitlines())
    assert 0 < num_good < 1003
    assert f"{num_good:,} good files are remembered; the same command goes on from there" in said
    assert said.rstrip().endswith("narravid: interrupted")
    assert "Traceback" not in said
    assert list(table(output)) == ["a.mp4"]
