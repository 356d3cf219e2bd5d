"""`narravid extract`: real small videos, real small models, and what is said of mistakes."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from models.small_models import small_model
from narravid.cli.main import main
from narravid.data.feature_table import FeatureTable
from narravid.models.hub import save_model
from narravid.models.resnext3d import ResNeXt3DConfig
from narravid.models.video_classifier import ResNeXtExtractor, ResNeXtExtractorConfig
from narravid.types import ClipSpec
from narravid.video.decode import decode_clips
from narravid.video.encode import write_video
from narravid.video.transforms import to_channels_first
from numbered_video import numbered_frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two videos of 2 and 3 seconds and a broken one, an S3D, and a table."""
    folder = tmp_path_factory.mktemp("extract")
    for number, name in enumerate(("a.mp4", "sub/b.mp4")):
        frames = (numbered_frame(frame) for frame in range(25 * (2 + number)))
        write_video(folder / "videos" / name, frames, fps=25, preset="ultrafast", keyframe_seconds=1)
    (folder / "videos" / "broken.mp4").write_bytes(b"no video")
    save_model(small_model(), folder / "s3d")
    return folder


def write_table(folder, tmp_path, names=("a", "sub/b")):
    rows = [f"{folder}/videos/{name}.mp4,{tmp_path}/{name}.npy" for name in names]
    (tmp_path / "in.csv").write_text("\n".join(["video_path,feature_path", *rows]) + "\n")
    return tmp_path / "in.csv"


def extract(*words):
    return main(["extract", "--workers", "1", *map(str, words)])


def expected_s3d(path, *, seconds):
    """Where key frames lie at whole seconds, windows end to end are clips from seeks."""
    spec = ClipSpec(16, 16.0, 16)
    clips = decode_clips(path, [float(second) for second in range(seconds)], spec)
    frames = torch.stack([to_channels_first(clip.frames) for clip in clips])
    with torch.inference_mode():
        return small_model().video_features(frames).numpy()


def test_a_table_of_videos_is_extracted_with_s3d(folder, tmp_path, capsys):
    table = write_table(folder, tmp_path)
    assert extract("--csv", table, "--model", folder / "s3d") == 0
    for name, seconds in (("a", 2), ("sub/b", 3)):
        features = np.load(tmp_path / f"{name}.npy")
        assert features.dtype == np.float16
        expected = expected_s3d(folder / "videos" / f"{name}.mp4", seconds=seconds)
        assert np.allclose(features, expected, atol=2e-3 * np.abs(expected).max())
    said = capsys.readouterr().out
    assert "2 videos extracted, 0 there already, 0 bad" in said
    assert "hours per hour; the network was busy" in said
    facts = json.loads((tmp_path / "a.json").read_text())
    assert facts["start_seconds"] == [0.0, 1.0]
    assert (facts["layer"], facts["normalised"], facts["dtype"]) == ("feature", False, "float16")
    assert extract("--csv", table, "--model", folder / "s3d") == 0
    assert "0 videos extracted, 2 there already" in capsys.readouterr().out


def test_resnext_features_are_normalised(tmp_path, folder):
    config = ResNeXtExtractorConfig(
        video=ResNeXt3DConfig((1, 1, 1, 1), num_groups=2, stem_channels=2),
        clip_spec=ClipSpec(16, 24.0, 32, mean=(0.4, 0.4, 0.4)),
    )
    torch.manual_seed(0)
    save_model(ResNeXtExtractor(config), tmp_path / "model")
    table = write_table(folder, tmp_path, names=("a",))
    assert extract("--csv", table, "--model", tmp_path / "model", "--keep", "float32") == 0
    features = np.load(tmp_path / "a.npy")
    assert features.shape == (3, 64)  # 48 frames
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    facts = json.loads((tmp_path / "a.json").read_text())
    assert (facts["normalised"], facts["features_per_second"]) == (True, 1.5)
    assert facts["windows"]["framing"] == "scaled_square"


def test_a_folder_with_a_broken_video(folder, tmp_path, capsys):
    words = ["--videos", folder / "videos", "--output", tmp_path / "out", "--model", folder / "s3d"]
    assert extract(*words, "--max-bad-share", "0.5", "--layer", "embedding", "--stride-seconds", "0.5") == 0
    assert "broken.mp4: cannot be opened as a video" in capsys.readouterr().out
    assert np.load(tmp_path / "out" / "a.npy").shape == (4, 16)
    assert np.load(tmp_path / "out" / "sub" / "b.npy").shape == (6, 16)
    assert bad_names(tmp_path / "out" / "bad_items.csv") == ["broken.mp4"]
    assert extract(*words) == 2
    assert "bad_items.csv" in capsys.readouterr().err


def bad_names(path):
    with path.open(newline="") as file:
        return [row["path"].split("/")[-1] for row in csv.DictReader(file)]


def test_files_that_are_no_videos_are_listed_with_the_bad_ones(folder, tmp_path, capsys):
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "empty.mp4").touch()
    (videos / "b.mp4").symlink_to(folder / "videos" / "sub" / "b.mp4")
    words = ["--videos", videos, "--output", tmp_path / "out", "--model", folder / "s3d"]
    assert extract(*words, "--max-bad-share", "0.5") == 0
    assert "1 videos extracted, 0 there already, 1 bad" in capsys.readouterr().out
    assert bad_names(tmp_path / "out" / "bad_items.csv") == ["empty.mp4"]
    assert extract(*words) == 2
    assert "1 of 2 items" in capsys.readouterr().err


def test_every_table_has_a_list_of_bad_videos_of_its_own(folder, tmp_path):
    for name in ("gone", "lost"):
        table = tmp_path / f"{name}.csv"
        table.write_text(f"video_path,feature_path\n{tmp_path}/{name}.mp4,{name}.npy\n")
        words = ["--csv", table, "--model", folder / "s3d", "--max-bad-share", "1"]
        assert extract(*words) == 1
        assert extract(*words, "--output", tmp_path / "out") == 1
    for name in ("gone", "lost"):
        assert bad_names(tmp_path / f"{name}.bad_items.csv") == [f"{name}.mp4"]
        assert bad_names(tmp_path / "out" / f"{name}.bad_items.csv") == [f"{name}.mp4"]


def test_where_nothing_can_be_written_is_told_before_the_work(folder, tmp_path, capsys):
    table = write_table(folder, tmp_path, names=("a",))
    (tmp_path / "file").touch()
    words = ["--csv", table, "--model", folder / "s3d", "--output", tmp_path / "file" / "out"]
    assert extract(*words) == 2
    assert "in.bad_items.csv, where nothing can be written" in capsys.readouterr().err
    assert not (tmp_path / "a.npy").exists()


@pytest.mark.parametrize("form", ["npy", "lance"])
def test_paths_of_features_are_taken_from_the_output_folder(folder, tmp_path, form, monkeypatch):
    table = tmp_path / "in.csv"
    table.write_text(f"video_path,feature_path\n{folder}/videos/a.mp4,sub/a.npy\n")
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        words = ["--csv", table, "--model", folder / "s3d", "--output", tmp_path / "out", "--format", form]
        assert extract(*words) == 0
    if form == "npy":
        assert len(np.load(tmp_path / "out" / "sub" / "a.npy")) == 2
    else:
        assert FeatureTable.open(tmp_path / "out").names() == ["sub/a"]


def test_features_of_other_settings_are_told(folder, tmp_path, capsys):
    table = write_table(folder, tmp_path)
    assert extract("--csv", table, "--model", folder / "s3d") == 0
    capsys.readouterr()
    words = ["--csv", table, "--model", folder / "s3d", "--features-per-second", "2"]
    assert extract(*words) == 1
    said = capsys.readouterr().out
    assert "a.npy was made with another windows and another features_per_second" in said
    assert "2 videos have something else in the place of their features; --overwrite" in said
    assert extract(*words, "--overwrite") == 0
    assert len(np.load(tmp_path / "a.npy")) == 4


def test_other_forms_hold_the_same(folder, tmp_path):
    words = ["--videos", folder / "videos" / "sub", "--model", folder / "s3d"]
    for form in ("npy", "safetensors", "lance"):
        assert extract(*words, "--output", tmp_path / form, "--format", form) == 0
    features = np.load(tmp_path / "npy" / "b.npy")
    assert np.array_equal(load_file(tmp_path / "safetensors" / "b.safetensors")["features"], features)
    track = FeatureTable.open(tmp_path / "lance").read("b")
    assert np.array_equal(track.steps.numpy(), features)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name the videos by --csv or by --videos, one of them"),
        (("--videos", "videos", "--csv", "in.csv"), "one of them"),
        (("--videos", "videos"), "--output must name the folder"),
        (("--csv", "in.csv", "--format", "lance"), "--output must name the folder"),
        (("--csv", "in.csv", "--stride-seconds", "1", "--features-per-second", "1"), "not both"),
        (("--csv", "in.csv", "--features-per-second", "0"), "must be positive"),
        (("--csv", "in.csv", "--batch-size", "0"), "at least 1"),
        (("--csv", "good.csv", "--fps", "0"), "positive number of frames per second"),
        (("--csv", "good.csv", "--num-frames", "0"), "at least 1"),
        (("--csv", "good.csv", "--num-frames", "15"), "must be even"),
        (("--csv", "in.csv", "--max-bad-share", "2"), "from 0 to 1"),
        (("--csv", "gone.csv"), "gone.csv"),
    ],
)
def test_mistakes_are_told_in_a_line(folder, words, message, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "good.csv").write_text("video_path,feature_path\nvideos/a.mp4,a.npy\n")
    assert extract("--model", folder / "s3d", *words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_a_model_that_makes_no_features_is_told(folder, tmp_path, capsys):
    table = write_table(folder, tmp_path)
    assert extract("--csv", table, "--model", tmp_path / "gone") == 2
    assert "no such file or folder" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_half_done(folder, tmp_path):
    for number in range(60):
        frames = (numbered_frame(number + frame) for frame in range(100))
        write_video(tmp_path / "videos" / f"{number:02}.mp4", frames, fps=25, preset="ultrafast")
    output = tmp_path / "out"
    words = ["extract", "--videos", tmp_path / "videos", "--output", output, "--model", folder / "s3d"]
    command = [sys.executable, "-m", "narravid", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while process.poll() is None and len(list(output.glob("*.npy"))) < 3:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert not list(output.glob(".*"))
    done = {path: path.stat().st_mtime_ns for path in output.glob("*.npy")}
    assert 3 <= len(done) < 60
    assert extract(*words[1:]) == 0
    assert len(list(output.glob("*.npy"))) == 60
    assert {path: path.stat().st_mtime_ns for path in done} == done
