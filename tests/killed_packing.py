"""Kills packing runs and finishes the pack; run as a program by the test of packing.

Usage: python killed_packing.py ARCHIVE PACK steps
       python killed_packing.py ARCHIVE PACK moments SEED NUM_KILLS

`steps` kills a run before every renaming of a finished file, each once, and after the last. `moments` kills
runs at times drawn by the seed; one that gets to its end alive is begun anew. Each run starts from what the
killed ones before it left. Prints one JSON list of the kills. Each run is a forked child, so that the
imports are paid once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from narravid.data.corpus import FoundVideos, find_narrated_videos
from narravid.data.pack_format import INFO_NAME, PackSettings
from narravid.data.packing import pack_archive
from packable_archive import MAX_BAD_SHARE, MAX_SEGMENT_SECONDS, VIDEOS_PER_SHARD

SETTINGS = PackSettings(max_segment_seconds=MAX_SEGMENT_SECONDS, videos_per_shard=VIDEOS_PER_SHARD)


def main() -> None:
    archive, pack, mode, *numbers = sys.argv[1:]
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the program runs
    run = partial(run_packing, find_narrated_videos(Path(archive)), Path(archive), Path(pack))
    kills = kill_at_steps(run) if mode == "steps" else kill_at_moments(run, Path(pack), *map(int, numbers))
    assert in_child(run) == 0, "the last run did not finish"
    sys.stdout.write(json.dumps(kills))


def run_packing(found: FoundVideos, archive: Path, pack: Path) -> None:
    pack_archive(found, archive, pack, settings=SETTINGS, max_bad_share=MAX_BAD_SHARE)


def kill_at_steps(run: Callable[[], None]) -> list[str]:
    """When each run was killed: at the first step where none was killed before."""
    kills: list[str] = []
    while True:
        reader, writer = os.pipe()
        status = in_child(partial(run_until_renaming, run, kills, writer))
        os.close(writer)
        with os.fdopen(reader) as said:
            kill = said.read()
        if status == 0:
            return kills
        assert is_killed(status)
        assert kill not in kills, "a run makes no progress"
        kills.append(kill)


def run_until_renaming(run: Callable[[], None], kills: Sequence[str], writer: int) -> None:
    rename = Path.replace

    def kill_once(moment: str) -> None:
        if moment not in kills:
            os.write(writer, moment.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def killing(path: Path, target: Path) -> None:
        kill_once(f"before {Path(target).name}")
        rename(path, target)
        if Path(target).name == INFO_NAME:  # after the others is as before the next one
            kill_once(f"after {INFO_NAME}")

    Path.replace = killing
    run()


def kill_at_moments(run: Callable[[], None], pack: Path, seed: int, num_kills: int) -> list[float]:
    """After how many seconds each run was killed."""
    rng = np.random.default_rng(seed)
    started = time.perf_counter()
    assert in_child(run) == 0
    run_seconds = time.perf_counter() - started
    shutil.rmtree(pack)
    kills: list[float] = []
    while len(kills) < num_kills:
        delay = float(rng.uniform(0.0, run_seconds))
        status = in_child(partial(run_for, run, delay))
        if is_killed(status):
            kills.append(delay)
        else:
            assert status == 0, "a run failed by itself"
            shutil.rmtree(pack)
    return kills


def run_for(run: Callable[[], None], seconds: float) -> None:
    threading.Thread(target=kill_after, args=(seconds,), daemon=True).start()
    run()


def kill_after(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def is_killed(status: int) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def in_child(work: Callable[[], object]) -> int:
    """Wait status of a forked child that does `work`."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


if __name__ == "__main__":
    main()
