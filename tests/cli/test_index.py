"""`narravid index`."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from inference_doubles import FakeDecoder, write_fake_video
from narravid.cli.main import main
from narravid.inference.embedder import Embedder
from narravid.inference.index import VideoIndex
from tiny_corpus import make_tiny_s3d, save_tiny_s3d, write_colour_video, write_colour_videos


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_s3d(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    return write_colour_videos(tmp_path / "videos")


def index(model: Path, folder: Path, *paths: Path | str) -> int:
    return main(["index", *map(str, paths), "--model", str(model), "--index", str(folder)])


def snapshot(folder: Path) -> list[tuple[str, float, float, bytes]]:
    rows = VideoIndex.open(folder).rows()
    names = [Path(rows.paths[number]).name for number in rows.path_numbers]
    vectors = [vector.tobytes() for vector in rows.vectors]
    return list(zip(names, rows.start_seconds.tolist(), rows.end_seconds.tolist(), vectors, strict=True))


def index_fakes(folder: Path, films: Path) -> None:
    """An index of made-up films, made without a decoding process."""
    for number in range(3):
        write_fake_video(films / f"fake{number}.mp4", seconds=2.0, seed=number)
    model = make_tiny_s3d()
    VideoIndex.create(folder, model, model_path="m").add([films], Embedder(model), decoder=FakeDecoder())


def test_a_folder_is_indexed_and_indexed_again_without_work(
    model: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (videos / "notes.txt").write_text("not a video")
    (videos / "broken.mp4").write_text("not a video either")
    assert index(model, tmp_path / "index", videos) == 0
    out = capsys.readouterr().out
    assert f"not indexed: {videos / 'broken.mp4'}: cannot be opened as a video" in out
    assert (
        f"not indexed: {videos / 'notes.txt'}: .txt is no video suffix; name a file itself to try it" in out
    )
    assert "3 added, 0 updated, 0 unchanged, 1 not indexed; 15 clips written" in out
    assert f"{tmp_path / 'index'} holds 15 clips of 3 videos" in out
    first = snapshot(tmp_path / "index")
    assert [(name, start) for name, start, _, _ in first if name == "red.mp4"] == [
        ("red.mp4", 0.0),
        ("red.mp4", 0.5),
        ("red.mp4", 1.0),
    ]
    assert len({vector for *_, vector in first}) == 15  # every window got its own numbers

    (videos / "broken.mp4").unlink()
    assert index(model, tmp_path / "index", videos, videos / "red.mp4") == 0
    out = capsys.readouterr().out
    assert "0 added, 0 updated, 3 unchanged, 0 not indexed, 1 named more than once; 0 clips written" in out
    assert snapshot(tmp_path / "index") == first


def test_changed_files_are_read_again_and_gone_ones_pruned(
    model: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    index(model, tmp_path / "index", videos)
    before = snapshot(tmp_path / "index")
    write_colour_video(videos / "red.mp4", (200, 200, 30), seconds=1.0)
    (videos / "blue.mp4").unlink()
    capsys.readouterr()
    assert index(model, tmp_path / "index", videos) == 0
    assert "0 added, 1 updated, 1 unchanged, 0 not indexed; 1 clips written" in capsys.readouterr().out
    names = [name for name, *_ in snapshot(tmp_path / "index")]
    assert (names.count("red.mp4"), names.count("blue.mp4")) == (1, 7)  # what is gone stays without --prune

    assert index(model, tmp_path / "index", videos, "--prune") == 0
    out = capsys.readouterr().out
    assert f"removed: {videos / 'blue.mp4'}" in out
    assert "1 removed" in out
    after = snapshot(tmp_path / "index")
    assert [row for row in after if row[0] == "green.mp4"] == [row for row in before if row[0] == "green.mp4"]
    assert {name for name, *_ in after} == {"red.mp4", "green.mp4"}


def test_a_folder_that_is_gone_can_be_pruned_without_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    index_fakes(tmp_path / "index", tmp_path / "films")
    shutil.rmtree(tmp_path / "films")
    assert index(tmp_path / "no-model-needed", tmp_path / "index", tmp_path / "films", "--prune") == 0
    assert "3 removed" in capsys.readouterr().out
    assert snapshot(tmp_path / "index") == []


@pytest.mark.parametrize("kind", ["empty folder", "missing", "broken"])
def test_exit_status_1_when_nothing_could_be_indexed(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
):
    place = tmp_path / "place"
    reason = {
        "empty folder": "no file with a known video suffix in this folder",
        "missing": "no such file or directory",
        "broken": "cannot be opened as a video",
    }[kind]
    if kind == "empty folder":
        place.mkdir()
    elif kind == "broken":
        place.write_text("no video")
    assert index(model, tmp_path / "index", place) == 1
    assert f"not indexed: {place}: {reason}" in capsys.readouterr().out
    assert (tmp_path / "index").exists() is (kind == "broken")  # a mistyped name leaves nothing behind


def test_the_vectors_of_another_model_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other = save_tiny_s3d(tmp_path / "other", seed=1)
    index_fakes(tmp_path / "index", tmp_path / "films")
    before = snapshot(tmp_path / "index")
    capsys.readouterr()
    assert index(other, tmp_path / "index", tmp_path / "films", "--prune") == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "use that model (--model), or index the videos again into a new folder" in error
    assert snapshot(tmp_path / "index") == before


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]):
    assert main(["index", "--help"]) == 0
    out = capsys.readouterr().out
    for word in (
        "VIDEOS",
        "--model",
        "--index",
        "--prune",
        "--device",
        "--dtype",
        "--batch-size",
        "default: 8",
    ):
        assert word in out


def test_no_video_named_is_one_clear_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert index(model, tmp_path / "index") == 2
    assert capsys.readouterr().err == "narravid: name at least one video file or folder\n"


@pytest.mark.shared
def test_odd_files_are_taken_or_listed_and_nothing_is_lost(
    model: Path, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    index_fakes(tmp_path / "index", tmp_path / "films")
    before = snapshot(tmp_path / "index")
    capsys.readouterr()
    odd = shared_data / "odd"
    assert index(model, tmp_path / "index", odd) == 0
    out = capsys.readouterr().out
    with (odd / "expected.csv").open(newline="") as file:
        decodes = {row["file"]: row["expected"] == "decodes" for row in csv.DictReader(file)}
    after = snapshot(tmp_path / "index")
    taken = {name for name, *_ in after} - {name for name, *_ in before}
    assert taken == {name for name, works in decodes.items() if works}
    for file in odd.iterdir():
        if file.name not in taken:
            assert f"not indexed: {file}: " in out
    assert [row for row in after if row in before] == before
    for name, start, end, vector in after:
        assert 0 <= start < end, name
        assert np.isfinite(np.frombuffer(vector, dtype=np.float32)).all(), name


@pytest.mark.slow
def test_a_killed_command_started_again_gives_the_same_rows(model: Path, tmp_path: Path):
    """The whole command with S3D and decoding processes, killed at moments drawn by a seed."""
    videos = tmp_path / "videos"
    for number in range(30):
        write_colour_video(videos / f"{number:02}.mp4", (7 * number, 100, 200), seconds=6.0)
    command = [
        sys.executable,
        "-m",
        "narravid.cli.main",
        "index",
        str(videos),
        "--model",
        str(model),
        "--index",
    ]
    subprocess.run([*command, str(tmp_path / "undisturbed")], check=True, capture_output=True)
    expected = snapshot(tmp_path / "undisturbed")
    rng = np.random.default_rng(0)
    num_killed = 0
    for _ in range(6):
        process = subprocess.Popen(
            [*command, str(tmp_path / "index")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while process.poll() is None and not (tmp_path / "index" / "index.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0.0, 4.0)))
        num_killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, str(tmp_path / "index")], check=True, capture_output=True)
    assert num_killed >= 2
    assert snapshot(tmp_path / "index") == expected


def test_a_file_in_place_of_the_index_folder(
    model: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "index").write_text("mine")
    assert index(model, tmp_path / "index", videos) == 2
    assert capsys.readouterr().err == f"narravid: {tmp_path / 'index'} is a file; an index needs a folder\n"


def test_what_is_bad_is_listed_in_the_index_until_it_is_mended(
    model: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    table = tmp_path / "index" / "bad_items.csv"
    (videos / "broken.mp4").write_text("not a video")
    assert index(model, tmp_path / "index", videos) == 0
    assert f"what is bad is listed in {table} until it is mended" in capsys.readouterr().out
    assert f"{videos / 'broken.mp4'},cannot be opened as a video: " in table.read_text()
    shutil.copy(videos / "red.mp4", videos / "broken.mp4")
    assert index(model, tmp_path / "index", videos) == 0
    assert "what is bad" not in capsys.readouterr().out
    assert table.read_text() == "path,reason,times\n"


def test_an_archive_of_which_too_much_is_bad_stops_the_command(
    model: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for number in range(1000):
        (videos / f"a{number:04}.mp4").write_text("not a video")
    assert index(model, tmp_path / "index", videos) == 2
    said = capsys.readouterr().err
    assert "51 of 51 items met so far are bad, more than 5%: 51 x cannot be opened as a video" in said
    assert f"All are listed in {tmp_path / 'index' / 'bad_items.csv'}" in said
    assert "--max-bad-share" in said
    assert index(model, tmp_path / "index", videos, "--max-bad-share", "1") == 0
    assert "3 added" in capsys.readouterr().out
    assert index(model, tmp_path / "index", videos, "--max-bad-share", "5") == 2
    assert "max_bad_share must be from 0 to 1, got 5.0" in capsys.readouterr().err


@pytest.mark.slow  # it converts the network
def test_another_backend_gives_the_same_rows(
    model: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setenv("NARRAVID_HOME", str(tmp_path / "home"))
    assert index(model, tmp_path / "plain", videos) == 0
    assert index(model, tmp_path / "other", videos, "--backend", "onnxruntime") == 0
    plain, other = (VideoIndex.open(tmp_path / name).rows() for name in ("plain", "other"))
    assert np.abs(plain.vectors - other.vectors).max() <= 1e-5
    assert plain.start_seconds.tolist() == other.start_seconds.tolist()
