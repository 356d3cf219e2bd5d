"""Training the demo's models side by side, each in a process of its own that never outlives this one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr
from pathlib import Path

import joblib
import torch
from joblib.externals.loky import get_reusable_executor

from narravid.errors import NarravidError
from narravid.progress import progress_bar
from narravid.recipes.milnce import MILNCERecipe
from narravid.training.logging import read_log
from narravid.training.run import CONFIG_NAME

__all__ = ["read_losses", "train_side_by_side"]

POLL_SECONDS = 0.5


def train_side_by_side(
    recipes: Mapping[str, MILNCERecipe], runs: Mapping[str, Path], *, num_steps: int
) -> None:
    """Train several models at once, each with its share of the processor cores, or go on with their runs.

    What the training processes print goes to a file beside each run. An interruption or an error ends all of
    them at once, which a run folder survives at any moment.

    Args:
        recipes: What to train, by name.
        runs: The run folder of each.
        num_steps: Steps of each.

    Raises:
        NarravidError: If a training process dies, or what training raises.
    """
    num_threads = max(1, joblib.cpu_count() // len(recipes))
    # the shared pool, so that the processes that drew the world give way instead of idling beside these
    pool = get_reusable_executor(len(recipes), env={"OMP_NUM_THREADS": str(num_threads)})
    try:
        jobs = [
            pool.submit(_train, recipe, runs[name], num_threads, os.getpid())
            for name, recipe in recipes.items()
        ]
        _watch(jobs, list(runs.values()), num_steps=num_steps)
    except BrokenProcessPool as error:
        logs = ", ".join(str(_log_path(run)) for run in runs.values())
        raise NarravidError(
            f"a training process was ended from outside, perhaps for want of memory (its log: {logs}); "
            "run it again to go on"
        ) from error
    finally:
        pool.shutdown(kill_workers=True)


def read_losses(run: Path) -> list[tuple[float, float]]:
    """The (step, loss) points of a run so far."""
    return [(entry["step"], entry["loss"]) for entry in read_log(run) if entry["event"] == "train"]


def _train(recipe: MILNCERecipe, run: Path, num_threads: int, parent: int) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(num_threads)
    run.mkdir(parents=True, exist_ok=True)
    with _log_path(run).open("w", encoding="utf-8") as file, redirect_stderr(file):
        recipe.train(run, resume=(run / CONFIG_NAME).exists())


def _log_path(run: Path) -> Path:
    return run.parent / f"{run.name}.log"


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: a killed parent can no longer do so."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def _watch(jobs: Sequence[Future[None]], runs: Sequence[Path], *, num_steps: int) -> None:
    """Show the steps of all runs until every job is done or one has failed; raises what it raised."""
    with progress_bar("training", num_steps * len(runs), unit="steps") as bar:
        bar.advance(0, note="decoding the videos")
        shown = 0
        while True:
            over = [job for job in jobs if job.done()]
            losses = [read_losses(run) for run in runs]
            done = sum(int(points[-1][0]) for points in losses if points)
            note = ", ".join(f"{points[-1][1]:.2f}" for points in losses if points)
            if done > shown:
                bar.advance(done - shown, note=f"loss {note}")
                shown = done
            for job in over:
                job.result()
            if len(over) == len(jobs):
                return
            time.sleep(POLL_SECONDS)
