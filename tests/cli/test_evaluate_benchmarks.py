"""The published retrieval benchmarks through the command line, with a small S3D, from archive to result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coded_archives import write_broken_video, write_coded_video
from narravid.cli.main import main
from tiny_corpus import save_tiny_s3d

SENTENCES = ("red moves", "green moves left", "blue", "red left")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_tiny_s3d(tmp_path_factory.mktemp("model") / "model")


def msrvtt(folder: Path) -> None:
    rows = [f"ret{n},msr{n},video{n},{text}" for n, text in enumerate((*SENTENCES, "green"))]
    (folder / "msrvtt_test.csv").write_text("\n".join(["key,vid_key,video_id,sentence", *rows, ""]))
    for number in range(3):
        write_coded_video(folder / "videos" / "all" / f"video{number}.mp4", [number, number + 3])
    write_broken_video(folder / "videos" / "all" / "video3.mp4")


def youcook2(folder: Path) -> None:
    rows = [f"{2 * n + 2},{2 * n},7,{text},cooked{n // 3}" for n, text in enumerate((*SENTENCES, "green"))]
    (folder / "validation_youcook.csv").write_text("\n".join(["end,start,task,text,video_id", *rows, ""]))
    write_coded_video(folder / "videos" / "validation" / "7" / "cooked0.mp4", [0, 1, 2], seconds_per_code=2)


def lsmdc(folder: Path) -> None:
    clips = [f"10{n}_Film_00.00.0{n}.000-00.00.0{n + 1}.000" for n in range(5)]
    times = "00.00.01.000\t00.00.02.000"
    rows = [
        f"{clip}\t{times}\t{times}\t{text}" for clip, text in zip(clips, (*SENTENCES, "green"), strict=True)
    ]
    (folder / "LSMDC16_challenge_1000_publictect.csv").write_text("\n".join([*rows, ""]))
    for number, clip in enumerate(clips[:3]):
        write_coded_video(folder / "videos" / clip.rpartition("_")[0] / f"{clip}.avi", [number, number + 4])
    write_broken_video(folder / "videos" / f"{clips[3]}.avi")


@pytest.mark.parametrize("write", [msrvtt, youcook2, lsmdc], ids=lambda write: write.__name__)
def test_a_benchmark_from_archive_to_result(write, model, tmp_path, monkeypatch, capsys):
    write(tmp_path)
    words = ["evaluate", write.__name__, "--model", str(model), "--videos", str(tmp_path / "videos")]
    words += ["--num-windows", "2", "--cache", str(tmp_path / "cache"), "--max-bad-share", "0.5"]
    monkeypatch.setenv("COLUMNS", "160")
    assert main([*words, "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "HowTo100M" in printed  # what was published stands beside what was measured
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["coverage"]["num_expected"] == 5
    assert result["coverage"]["num_measured"] == 3
    assert result["card"]["benchmark"] == write.__name__
    assert result["card"]["gallery_size"] == 3
    assert (tmp_path / "out" / "table.md").read_text().count("R@1") >= 1
    assert list((tmp_path / "cache").iterdir())


def test_a_benchmark_that_there_is_not(capsys):
    assert main(["evaluate", "msvtt", "--model", "m"]) == 2
    assert "did you mean 'msrvtt'?" in capsys.readouterr().err
