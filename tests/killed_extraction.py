"""Extracts a list of text videos in several processes; run as a program by the tests of extraction.

Usage: python killed_extraction.py FOLDER COUNT SEED NUM_KILLS. FOLDER gets `videos`, `features` and `log`.
NUM_KILLS runs one after the other are killed at seeded moments; then two processes finish the list together.
Prints one JSON list: after each kill, the names of the features that were complete. Each run is a forked
child, so that the imports are paid once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from extraction_doubles import TextDecoder, small_worker, text_list
from narravid.data.feature_storage import read_facts
from narravid.inference.extract import extract_videos
from narravid.inference.extract_list import ListedVideo
from narravid.inference.extract_report import ExtractionReport

CHUNK_SECONDS = 0.004


def main() -> None:
    folder, count, seed, num_kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    items = text_list(folder, count=count)
    complete = []
    for _ in range(num_kills):
        child = start_child(partial(run_extraction, items, folder / "log"))
        time.sleep(float(rng.uniform(0.02, 0.25)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        complete.append([item.output.name for item in items if is_complete(item)])
    run_together(items, folder / "log", num_processes=2)
    sys.stdout.write(json.dumps(complete))


def is_complete(item: ListedVideo) -> bool:
    return item.output.exists() and read_facts(item.output) is not None


def start_child(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def run_extraction(items: list[ListedVideo], log: Path) -> ExtractionReport:
    report = ExtractionReport()
    with small_worker(TextDecoder(log, chunk_seconds=CHUNK_SECONDS)) as worker:
        extract_videos(items, worker, report=report, num_workers=2)
    return report


def run_together(items: list[ListedVideo], log: Path, *, num_processes: int) -> None:
    """Several processes on one list at the same time."""
    children = [start_child(partial(run_extraction, items, log)) for _ in range(num_processes)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * num_processes, "a run failed by itself"


if __name__ == "__main__":
    main()
