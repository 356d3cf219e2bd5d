"""`narravid info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inference_doubles import FakeDecoder, write_fake_video
from narravid.cli.main import main
from narravid.inference.embedder import Embedder
from narravid.inference.index import VideoIndex
from tiny_corpus import WORDS, make_tiny_s3d, save_tiny_s3d, write_colour_video


def info(target: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["info", str(target), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    video = write_colour_video(tmp_path / "a.mp4", (1, 2, 3), seconds=2.0)
    facts = info(video, capsys)
    assert (facts["kind"], facts["codec"], facts["width"], facts["height"]) == ("video", "h264", 64, 48)
    assert facts["duration_seconds"] == pytest.approx(2.0, abs=0.05)
    assert facts["fps"] == pytest.approx(10.0)


def test_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = make_tiny_s3d()
    facts = info(save_tiny_s3d(tmp_path / "model"), capsys)
    assert facts["kind"] == "model"
    assert facts["weights_hash"] == model.weights_hash
    assert (facts["embed_dim"], facts["similarity"]) == (16, "cosine")
    assert facts["clip_spec"]["num_frames"] == 4
    assert facts["num_parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert facts["num_words"] == len(WORDS)


def test_an_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = make_tiny_s3d()
    index = VideoIndex.create(tmp_path / "index", model, model_path=tmp_path)
    whole = write_fake_video(tmp_path / "whole.mp4", seconds=2.0)
    torn = write_fake_video(tmp_path / "torn.mp4", seconds=2.0, bad_windows=[0.5])
    index.add([whole, torn], Embedder(model), decoder=FakeDecoder())
    facts = info(tmp_path / "index", capsys)
    assert (facts["kind"], facts["model_path"]) == ("index", str(tmp_path))
    assert (facts["num_videos"], facts["num_clips"], facts["stride_seconds"]) == (2, 5, 0.5)
    assert facts["videos_indexed_in_part"] == [str(torn)]


def test_lines_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["info", str(save_tiny_s3d(tmp_path / "model"))]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["kind", "model"]
    assert "clip_spec.fps" in out
    assert "0.0, 0.0, 0.0" in out


def test_what_it_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "notes.txt").write_text("not a video")
    assert main(["info", str(tmp_path / "notes.txt")]) == 2
    assert "cannot be opened as a video" in capsys.readouterr().err
    assert main(["info", str(tmp_path / "missing")]) == 2
    assert "no such file or folder" in capsys.readouterr().err


def test_nothing_at_the_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["info", str(tmp_path / "gone.mp4")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"narravid: {tmp_path / 'gone.mp4'}: no such file or folder; name a video,")
    assert error.count("\n") == 1
