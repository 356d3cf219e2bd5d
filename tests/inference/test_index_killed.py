"""An index survives SIGKILL at any moment and ends up as if nothing had happened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import killed_indexing
from inference_doubles import write_fake_video

NUM_FILMS = 28


def write_films(folder: Path, numbers: range, *, seed: int) -> None:
    for number in numbers:
        write_fake_video(folder / f"{number:02}.mp4", seconds=1.0 + number % 4, seed=seed + number)


def run_killer(index: Path, films: Path, *, seed: int, num_kills: int) -> list[dict[str, Any]]:
    arguments = [str(index), str(films), str(seed), str(num_kills)]
    done = subprocess.run(
        [sys.executable, killed_indexing.__file__, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_killed_runs(tmp_path: Path, *, seed: int, num_kills: int) -> list[dict[str, Any]]:
    """Index some films, change half of them and add more under kills; compare with an undisturbed run."""
    films, index, undisturbed = tmp_path / "films", tmp_path / "index", tmp_path / "undisturbed"
    write_films(films, range(NUM_FILMS // 2), seed=0)
    killed_indexing.run_indexing(index, films)
    old = killed_indexing.digests(index)
    write_films(films, range(NUM_FILMS // 4), seed=1000)
    write_films(films, range(NUM_FILMS // 2, NUM_FILMS), seed=0)
    killed_indexing.run_indexing(undisturbed, films)
    new = killed_indexing.digests(undisturbed)

    runs = run_killer(index, films, seed=seed, num_kills=num_kills)
    for run in runs:
        assert set(old) <= set(run["held"])  # nothing that was indexed is ever lost
        for path, digest in run["held"].items():
            assert digest in {old.get(path), new[path]}  # whole videos only, of the old file or the new
    assert killed_indexing.digests(index) == new
    return runs


@pytest.mark.slow
def test_a_killed_run_started_again_gives_the_rows_of_an_undisturbed_one(tmp_path: Path):
    runs = check_killed_runs(tmp_path, seed=0, num_kills=8)
    assert any(run["in_write"] for run in runs)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_many_killed_runs(tmp_path: Path, seed: int):
    runs = check_killed_runs(tmp_path, seed=seed, num_kills=60)
    assert sum(run["in_write"] for run in runs) >= 10


@pytest.mark.slow
def test_a_creation_killed_at_once_is_repeated(tmp_path: Path):
    """The first runs are killed while the index is being made."""
    films = tmp_path / "films"
    write_films(films, range(6), seed=0)
    run_killer(tmp_path / "index", films, seed=5, num_kills=6)
    killed_indexing.run_indexing(tmp_path / "undisturbed", films)
    assert killed_indexing.digests(tmp_path / "index") == killed_indexing.digests(tmp_path / "undisturbed")
