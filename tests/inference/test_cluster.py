"""Extraction on a Ray cluster of this machine: the files of one process, whatever dies on the way."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from extraction_doubles import files_of
from models.small_models import small_model
from narravid.errors import ConfigError
from narravid.inference.cluster import ClusterConfig
from narravid.models.hub import save_model
from narravid.video.encode import write_video
from numbered_video import numbered_frame

has_ray = importlib.util.find_spec("ray") is not None


def on_cluster(test):
    """Marks a test that starts Ray."""
    needs_ray = pytest.mark.skipif(not has_ray, reason="needs Ray")
    return pytest.mark.cluster(pytest.mark.slow(needs_ray(test)))


NUM_CLIPS = 200


def write_clips(folder, *, count, seconds):
    for number in range(count):
        frames = (numbered_frame(number + frame) for frame in range(int(25 * (seconds + number % 3))))
        write_video(folder / f"{number % 7}" / f"{number:03}.mp4", frames, fps=25, preset="ultrafast")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """200 clips of one to three seconds, a broken one, and a model."""
    folder = tmp_path_factory.mktemp("archive")
    write_clips(folder / "videos", count=NUM_CLIPS, seconds=1)
    (folder / "videos" / "broken.mp4").write_bytes(b"no video")
    save_model(small_model(), folder / "model")
    return folder


def command(archive, output, *more, videos=None):
    words = ["extract", "--videos", videos or archive / "videos", "--output", output]
    words += ["--model", archive / "model", "--batch-size", "4", "--keep", "float32", *more]
    return [sys.executable, "-m", "narravid", *map(str, words)]


def start(*arguments, **options):
    """A run in a session of its own, so that nothing of it is left when it is killed."""
    return subprocess.Popen(
        command(*arguments, **options),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process):
    """What it said and how it ended; nothing of it is left."""
    try:
        said, _ = process.communicate(timeout=300)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return said, process.returncode


def run(*arguments, **options):
    said, status = finish(start(*arguments, **options))
    assert status == 0, said
    return said


RAY = ("--ray", "local", "--ray-actors", "2")


@pytest.fixture(scope="module")
def by_one_process(archive, tmp_path_factory):
    output = tmp_path_factory.mktemp("one")
    run(archive, output, "--workers", "1")
    return {name: content for name, content in files_of(output).items() if "failed" not in name}


def assert_same_files(output, expected):
    made = {name: content for name, content in files_of(output).items() if "failed" not in name}
    assert made == expected
    assert sum(name.endswith(".npy") for name in made) == NUM_CLIPS


def claiming_pids(output):
    """Processes that are at a video now."""
    pids = []
    for claim in Path(output).rglob(".*.claim"):
        try:
            pids.append(json.loads(claim.read_text())["pid"])
        except OSError:
            continue  # just released
    return pids


def await_pid(output, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        pids = claiming_pids(output)
        if pids and len(list(Path(output).rglob("*.npy"))) >= 3:
            return pids[0]
        time.sleep(0.002)
    raise AssertionError("no process has claimed a video")


@on_cluster
def test_two_workers_make_the_files_of_one_process(archive, by_one_process, tmp_path):
    said = run(archive, tmp_path, *RAY)
    assert_same_files(tmp_path, by_one_process)
    assert f"{NUM_CLIPS} videos extracted, 0 there already, 1 bad" in said
    with (tmp_path / "bad_items.csv").open(newline="") as file:
        (bad,) = csv.DictReader(file)
    assert bad["path"].endswith("broken.mp4")


@on_cluster
def test_what_a_killed_worker_was_at_is_done_by_another(archive, by_one_process, tmp_path):
    process = start(archive, tmp_path, *RAY)
    os.kill(await_pid(tmp_path, process), signal.SIGKILL)
    said, status = finish(process)
    assert status == 0, said
    assert_same_files(tmp_path, by_one_process)
    assert not claiming_pids(tmp_path)


@on_cluster
def test_a_killed_run_is_gone_on_with(archive, by_one_process, tmp_path):
    process = start(archive, tmp_path, *RAY)
    await_pid(tmp_path, process)
    process.kill()
    process.communicate()
    while claiming_pids(tmp_path) and any(Path(f"/proc/{pid}").exists() for pid in claiming_pids(tmp_path)):
        time.sleep(0.1)  # Ray ends the workers of a driver that is gone
    done = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert 0 < len(done) < NUM_CLIPS
    said = run(archive, tmp_path, *RAY)
    assert f"{NUM_CLIPS - len(done)} videos extracted, {len(done)} there already" in said
    assert_same_files(tmp_path, by_one_process)
    assert {path: path.stat().st_mtime_ns for path in done} == done


@on_cluster
def test_a_cluster_that_is_not_there_is_told(archive, tmp_path):
    said, status = finish(start(archive, tmp_path, "--ray", "127.0.0.1:1"))
    assert status == 2
    assert "no Ray cluster at '127.0.0.1:1'" in said


@pytest.mark.parametrize("settings", [{"num_actors": 0}, {"cpus": -1.0}, {"gpus": float("nan")}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ConfigError, match="must be at least"):
        ClusterConfig("local", **settings)
