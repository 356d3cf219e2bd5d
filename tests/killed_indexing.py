"""Kills indexing runs at seeded moments and finishes the index; run as a program by the test of the index.

Usage: python killed_indexing.py INDEX FILMS SEED NUM_KILLS. Prints one JSON list: for each killed run whether
the kill struck inside a write of LanceDB, and what the index then held of each video (a digest of its rows).
A run starts from what the killed ones before it left; when one gets to its end alive, the index is put back
to where it was at first. Each run is a forked child, so that the imports are paid once.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from inference_doubles import FakeDecoder, LinearDualEncoder
from narravid.inference.clip_table import ClipTable
from narravid.inference.embedder import Embedder
from narravid.inference.index import VideoIndex
from narravid.inference.index_folder import has_info


def main() -> None:
    index, films, seed, num_kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    start = index.with_name("start")
    copy_index(index, start)
    run_seconds = time_run(index, films)
    copy_index(start, index)
    runs: list[dict[str, object]] = []
    while len(runs) < num_kills:
        writing = mmap.mmap(-1, 1)
        delay = float(rng.uniform(0.0, run_seconds))
        status = in_child(partial(index_until_killed, index, films, writing=writing, delay=delay))
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            runs.append({"in_write": writing[0] == 1, "held": read_state(index)})
        else:
            assert status == 0, "a run failed by itself"
            copy_index(start, index)
    assert in_child(partial(run_indexing, index, films)) == 0, "the last run did not finish"
    sys.stdout.write(json.dumps(runs))


def copy_index(source: Path, target: Path) -> None:
    """Make `target` what `source` is, which may be nothing."""
    shutil.rmtree(target, ignore_errors=True)
    if source.exists():
        shutil.copytree(source, target)


def time_run(index: Path, films: Path) -> float:
    """Seconds that an undisturbed run takes."""
    started = time.perf_counter()
    assert in_child(partial(run_indexing, index, films)) == 0
    return time.perf_counter() - started


def read_state(index: Path) -> dict[str, str]:
    """What the index holds, read in a child: LanceDB's threads must not run in a process that forks."""
    target = index.with_name("state.json")
    assert in_child(partial(write_state, index, target)) == 0, "the index cannot be read after a kill"
    return json.loads(target.read_text())


def in_child(work: Callable[[], object]) -> int:
    """Wait status of a forked child that does `work`."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def run_indexing(index: Path, films: Path) -> None:
    model = LinearDualEncoder()
    made = VideoIndex.open_or_create(index, model, model_path="m")
    made.add([films], Embedder(model), decoder=FakeDecoder(), commit_seconds=0.0)


def index_until_killed(index: Path, films: Path, *, writing: mmap.mmap, delay: float) -> None:
    for name in ("create", "commit", "compact"):
        setattr(ClipTable, name, flagged(getattr(ClipTable, name), writing))
    threading.Thread(target=kill_after, args=(delay,), daemon=True).start()
    run_indexing(index, films)


def flagged(method: Callable[..., object], writing: mmap.mmap) -> Callable[..., object]:
    """The method, with a byte set in shared memory while it runs."""

    def wrapped(*args: object, **options: object) -> object:
        writing[0] = 1
        result = method(*args, **options)
        writing[0] = 0
        return result

    return wrapped


def kill_after(delay: float) -> None:
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGKILL)


def write_state(index: Path, target: Path) -> None:
    target.write_text(json.dumps(digests(index) if has_info(index) else {}))


def digests(index: Path) -> dict[str, str]:
    """A digest of every video's rows: times and vectors to the bit."""
    rows = VideoIndex.open(index).rows()
    result = {}
    for number, path in enumerate(rows.paths):
        chosen = rows.path_numbers == number
        columns = (rows.start_seconds, rows.end_seconds, rows.vectors)
        result[path] = hashlib.sha256(b"".join(column[chosen].tobytes() for column in columns)).hexdigest()
    return result


if __name__ == "__main__":
    main()
