"""Extraction on a Ray cluster of this machine: the files of one process, whatever dies on the way."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from extraction_doubles import files_of
from models.small_models import small_model
from narravid.errors import ConfigError, NarravidError
from narravid.inference import cluster_crew
from narravid.inference.cluster import ClusterConfig
from narravid.inference.extract_job import ExtractionJob
from narravid.inference.extract_plan import ExtractionPlan
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
        env=os.environ | {"OMP_NUM_THREADS": "1", "RAY_ADDRESS": "127.0.0.1:1"},  # which local must not heed
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
    for claim in Path(output).rglob(".*.npy.claim"):
        try:
            pids.append(json.loads(claim.read_text())["pid"])
        except (OSError, ValueError):
            continue  # just released
    return pids


def await_pid(output, process, *, num_done=3):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        pids = claiming_pids(output)
        if pids and len(list(Path(output).rglob("*.npy"))) >= num_done:
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
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in claiming_pids(tmp_path)):
        assert time.monotonic() < deadline, "Ray ends the workers of a driver that is gone"
        time.sleep(0.1)
    done = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert 0 < len(done) < NUM_CLIPS
    said = run(archive, tmp_path, *RAY)
    assert f"{NUM_CLIPS - len(done)} videos extracted, {len(done)} there already" in said
    assert_same_files(tmp_path, by_one_process)
    assert {path: path.stat().st_mtime_ns for path in done} == done


@pytest.fixture(scope="module")
def few(archive, tmp_path_factory):
    """A folder of eight short clips and a long one."""
    folder = tmp_path_factory.mktemp("few")
    write_clips(folder, count=8, seconds=1)
    write_clips(folder / "long", count=1, seconds=20)
    return folder


def kill_those_at(output, process):
    """Kill whatever claims a video, for as long as a run lasts; who was killed."""
    killed = set()
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        for pid in set(claiming_pids(output)) - killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        time.sleep(0.002)
    return killed


@on_cluster
def test_a_video_that_kills_its_actors_is_bad_and_no_other(archive, few, tmp_path):
    process = start(archive, tmp_path, *RAY, "--max-bad-share", "1", videos=few)
    killed = kill_those_at(tmp_path / "long", process)
    said, status = finish(process)
    assert (status, len(killed)) == (0, 3), said
    assert "8 videos extracted, 0 there already, 1 bad" in said
    (bad,) = csv.DictReader((tmp_path / "bad_items.csv").read_text().splitlines())
    assert "3 actors died" in bad["reason"]
    assert Path(bad["path"]).parent.parent.name == "long"


@on_cluster
def test_actors_that_do_not_start_end_the_run_and_make_no_video_bad(archive, few, tmp_path):
    model = shutil.copytree(archive / "model", tmp_path / "model")
    output = tmp_path / "features"
    process = start(archive, output, *RAY, "--model", model, videos=few)
    await_pid(output, process, num_done=0)
    model.rename(tmp_path / "moved")
    kill_those_at(output, process)  # so that others have to be started
    said, status = finish(process)
    assert status == 2
    assert "actors do not start (3 in a row)" in said
    assert str(model) in said
    assert not list(csv.DictReader((output / "bad_items.csv").read_text().splitlines()))


SHARED_CLUSTER = """
import os, subprocess, sys, ray
quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
here = ray.init(address="local", num_cpus=3, **quiet)
@ray.remote
class Other:
    def ready(self): return True
others = [Other.options(num_cpus=1).remote() for _ in range(2)]
ray.get([other.ready.remote() for other in others])
address = here.address_info["gcs_address"]
done = subprocess.run([*sys.argv[2:], "--ray", address, "--ray-actors", "2"])
others.append(Other.options(num_cpus=1).remote())
ray.get(others[-1].ready.remote())
early = subprocess.run([sys.executable, "-c", sys.argv[1], address])
crowded = subprocess.run([*sys.argv[2:], "--ray", address, "--ray-actors", "2", "--ray-cpus", "2"])
print("statuses", done.returncode, early.returncode, crowded.returncode)
"""
"""A cluster in which others hold two places of three, then all, and runs that want two places of it."""

IMPATIENT = """
import sys
from pathlib import Path
from narravid.errors import NarravidError
from narravid.inference.cluster import ClusterConfig, extract_on_cluster
from narravid.inference.extract_job import ExtractionJob
from narravid.inference.extract_list import ListedVideo
from narravid.inference.extract_plan import ExtractionPlan
from narravid.inference.extract_report import ExtractionReport
plan = ExtractionPlan(num_frames=4, fps=4.0, stride_frames=4, size_pixels=8, layer="embedding")
items = [ListedVideo(Path("a.mp4").absolute(), Path("a.npy").absolute())]
config = ClusterConfig(sys.argv[1], num_actors=2, place_seconds=3.0)
try:
    extract_on_cluster(items, ExtractionJob("none", plan), config, report=ExtractionReport())
except NarravidError as error:
    print("refused:", error)
"""


@on_cluster
def test_actors_without_a_place_hold_nothing_up(archive, few, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SHARED_CLUSTER, IMPATIENT, *command(archive, tmp_path / "out", videos=few)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said, _ = finish(process)
    assert "9 videos extracted, 0 there already, 0 bad" in said
    assert "refused: 0 of 2 actors have been placed in 3 s" in said
    assert "room for 1 such actors" in said
    assert "statuses 0 0 2" in said
    assert not list(tmp_path.rglob(".*"))


@on_cluster
@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1"])
def test_a_cluster_that_is_not_there_is_told(archive, tmp_path, address):
    said, status = finish(start(archive, tmp_path, "--ray", address))
    assert status == 2
    assert f"no Ray cluster at '{address}'" in said
    assert "not known" not in said


@pytest.mark.parametrize(
    "settings", [{"num_actors": 0}, {"cpus": -1.0}, {"gpus": float("nan")}, {"videos_at_once": 0}]
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ConfigError, match="must be at least"):
        ClusterConfig("local", **settings)


def test_a_machine_with_another_file_system_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_crew, "SEE_SECONDS", 0.0)
    plan = ExtractionPlan(num_frames=4, fps=4.0, stride_frames=4, size_pixels=8, layer="embedding")
    actor = cluster_crew.ExtractionActor(
        ExtractionJob("none", plan),
        seen_by_all=tmp_path / "of another",
        num_threads=torch.get_num_threads(),
        videos_at_once=1,
    )
    with pytest.raises(NarravidError, match=f"the machine {actor.place()} does not see {tmp_path}"):
        actor.open()


@on_cluster
def test_a_video_that_no_actor_finds_is_bad(archive, tmp_path):
    table = tmp_path / "in.csv"
    (there,) = (archive / "videos" / "0").glob("000.mp4")
    table.write_text(f"video_path,feature_path\n{there},a\n{tmp_path / 'no.mp4'},b\n")
    words = [*command(archive, tmp_path, *RAY, "--max-bad-share", "1"), "--csv", str(table)]
    at = words.index("--videos")
    done = subprocess.run([*words[:at], *words[at + 2 :]], capture_output=True, text=True, timeout=300)
    assert "1 videos extracted, 0 there already, 1 bad" in done.stdout, done.stderr
    assert "no such file" in done.stdout
