"""What this process and those that it started hold: memory, open files, threads, processes."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["assert_steady", "needs_proc"]

NUM_WARM_CLIPS, NUM_CLIPS = 300, 3000
MOST_GROWTH_MEBIBYTES = 5.0  # per thousand clips

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads from /proc what is held")


@dataclass(frozen=True)
class Use:
    """What a process and its children hold."""

    mebibytes: float
    num_files: int
    num_threads: int
    num_processes: int


def use() -> Use:
    """Of this process and its children, those that ended but were not waited for among them."""
    gc.collect()
    processes = [Path(f"/proc/{os.getpid()}"), *children(os.getpid())]
    pages = sum(int((process / "statm").read_text().split()[1]) for process in processes)
    return Use(
        pages * resource.getpagesize() / 2**20,
        sum(len(list((process / "fd").iterdir())) for process in processes),
        sum(len(list((process / "task").iterdir())) for process in processes),
        len(processes),
    )


def children(parent: int) -> list[Path]:
    """Folders below /proc of the processes that a process started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        if int(after_name[1]) == parent:
            found.append(stat.parent)
    return found


def assert_steady(decode: Callable[[int], None]) -> None:
    """Nothing may be left behind by thousands of clips.

    Args:
        decode: Decodes so many clips; called again it goes on with others.
    """
    decode(NUM_WARM_CLIPS)
    before = use()
    decode(NUM_CLIPS)
    after = use()
    growth = (after.mebibytes - before.mebibytes) / (NUM_CLIPS / 1000)
    assert growth < MOST_GROWTH_MEBIBYTES, f"{growth:.1f} MiB per thousand clips"
    assert after.num_files <= before.num_files
    assert after.num_threads <= before.num_threads
    assert after.num_processes <= before.num_processes
