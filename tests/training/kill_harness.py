"""Trains a toy task in forked processes that die by SIGKILL at chosen points, and resumes them.

Run as a program by test_resume.py: PyTorch is imported once, each session of a run is a fork of it. Prints
one JSON object: for every scenario, whether it ended with the weights of a run that was never interrupted.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import torch
from torch import nn

from narravid.training import checkpoint
from narravid.training.config import Evaluation, TrainerConfig, TrainingData
from narravid.training.logging import RunLog, read_log
from narravid.training.optim import OptimConfig
from narravid.training.trainer import Trainer

NUM_STEPS = 7
STEPS_PER_EPOCH = 3
NUM_RANDOM_KILLS = 20
MEASURED = re.compile("second|wait|memory")
"""What the clock and the system say, in the log."""
REAL_SAVE = torch.save
REAL_WRITE = RunLog.write
REAL_REPLACE = Path.replace


class ToyTask(nn.Module):
    """Batch norm has buffers, dropout draws random numbers: both must survive a resume."""

    def __init__(self) -> None:
        super().__init__()
        generator_state = torch.get_rng_state()
        torch.manual_seed(3)
        self.net = nn.Sequential(
            nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 6)
        )
        torch.set_rng_state(generator_state)
        self.num_calls = 0
        self.die_in_step: int | None = None

    def training_step(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        self.num_calls += 1
        if self.num_calls == self.die_in_step:
            die()
        return {"loss": (self.net(batch) - batch.flip(1)).square().mean()}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def batches(epoch: int, start_batch: int):
    for index in range(start_batch, STEPS_PER_EPOCH):
        generator = torch.Generator().manual_seed(1000 * epoch + index)
        yield torch.randn(8, 6, generator=generator)


def session(run: Path, *, die_at: tuple[str, int] | None, every: int, steps: int = NUM_STEPS) -> None:
    """One process's share of a run; dies at the n-th passage of a point, counted from 1."""
    task = ToyTask()
    point, count = die_at or ("nowhere", 0)
    if point == "step":
        task.die_in_step = count
    arm(point, count)

    def measure() -> dict[str, float]:
        return {"loss": float((task.net(torch.ones(4, 6)) - 1).square().mean())}

    def export(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        REAL_SAVE(task.state_dict(), folder / "weights.pt")

    trainer = Trainer(
        task,
        OptimConfig(name="adamw", lr=1e-2, weight_decay=0.1, max_grad_norm=1.0),
        config=TrainerConfig(
            num_steps=steps,
            log_every_steps=2,
            checkpoint_every_steps=every,
            evaluate_every_steps=3,
            keep_checkpoints=1,
            evaluate_at_start=True,
            ema_decay=0.9,
            micro_batch_size=5,
            micro_batches="accumulated",
        ),
        data=TrainingData(batches, STEPS_PER_EPOCH),
        run=run,
        # The first evaluation is the best one, which a resumed run must remember.
        evaluation=Evaluation(measure, metric="loss", better="higher"),
        export=export,
    )
    torch.manual_seed(os.getpid())
    trainer.fit(seed=5, resume=run.exists())


def arm(point: str, count: int) -> None:
    """Make the n-th passage of a point the process's last act."""
    passed = 0

    def reached() -> bool:
        nonlocal passed
        passed += 1
        return passed == count

    def half_save(content, path) -> None:
        REAL_SAVE(content, path)
        if reached():
            whole = Path(path).read_bytes()
            Path(path).write_bytes(whole[: len(whole) // 2])
            die()

    def torn_write(log, entry) -> None:
        if reached():
            os.write(log._descriptor, json.dumps(entry).encode()[:9])
            die()
        REAL_WRITE(log, entry)

    def late_replace(path, target):
        if Path(target).suffix == ".pt" and reached():
            die()
        return REAL_REPLACE(path, target)

    torch.save = half_save if point == "half-written checkpoint" else REAL_SAVE
    RunLog.write = torn_write if point == "torn log line" else REAL_WRITE
    Path.replace = late_replace if point == "before renaming" else REAL_REPLACE


def forked(run: Path, **options) -> int:
    """Run a session in a child and give its process id."""
    child = os.fork()
    if child == 0:
        try:
            session(run, **options)
            os._exit(0)
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(1)  # never back into the parent's loop
    return child


def finish(run: Path, **options) -> int:
    """Wait for a session; gives its exit status, negative when a signal ended it."""
    _, status = os.waitpid(forked(run, **options), 0)
    return os.waitstatus_to_exitcode(status)


def outcome(run: Path, steps: int = NUM_STEPS) -> dict[str, object]:
    state = checkpoint.load_checkpoint(checkpoint.checkpoint_path(run, steps))
    log = [
        {key: value for key, value in entry.items() if not MEASURED.search(key)} for entry in read_log(run)
    ]
    tensors = [
        *state["model"].values(),
        *state["average"]["averages"].values(),
        *torch.load(run / "model" / "weights.pt").values(),
    ]
    for moments in state["optimisation"]["optimizer"]["state"].values():
        tensors += moments.values()
    best = state["progress"]["best_step"], state["progress"]["best_value"]
    return {
        "tensors": tensors,
        "log": log,
        "best": best,
        "left": [path.name for path in run.rglob("*.partial")],
    }


def same(first: dict[str, object], second: dict[str, object]) -> bool:
    pairs = zip(first["tensors"], second["tensors"], strict=True)
    return (
        all(torch.equal(left, right) for left, right in pairs)
        and first["log"] == second["log"]
        and first["best"] == second["best"]
        and second["left"] == []
    )


def die_everywhere(folder: Path) -> dict[str, object]:
    """Every step and every point of a run, once: die there, resume, compare."""
    assert finish(folder / "whole", die_at=None, every=2) == 0
    whole = outcome(folder / "whole")
    assert whole["best"][0] == 3
    results = {}
    points = [("step", count) for count in range(1, NUM_STEPS + 1)]
    points += [
        (point, count)
        for point in ("half-written checkpoint", "before renaming", "torn log line")
        for count in range(1, 5)
    ]
    for point, count in points:
        run = folder / f"{point} {count}"
        first = finish(run, die_at=(point, count), every=2)
        second = finish(run, die_at=None, every=2)
        results[f"{point} {count}"] = {
            "killed": first == -signal.SIGKILL,
            "resumed": second == 0,
            "same": second == 0 and same(whole, outcome(run)),
        }
    return results


def die_at_random(folder: Path, seed: int) -> dict[str, object]:
    """Kill a run from outside again and again, at seeded random moments, until it has come to its end."""
    steps = 600
    assert finish(folder / "whole", die_at=None, every=1, steps=steps) == 0
    rng = random.Random(seed)
    run, num_kills = folder / "killed", 0
    while True:
        child = forked(run, die_at=None, every=1, steps=steps)
        if num_kills < NUM_RANDOM_KILLS:
            time.sleep(rng.uniform(0.02, 0.1))
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != -signal.SIGKILL:
            break
        num_kills += 1
    equal = status == 0 and same(outcome(folder / "whole", steps), outcome(run, steps))
    return {"num_kills": num_kills, "status": status, "same": equal}


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        session(Path(folder) / "warm", die_at=None, every=2)  # what is loaded on first use is loaded now
        mode, seed = sys.argv[1], int(sys.argv[2])
        result = die_everywhere(Path(folder)) if mode == "everywhere" else die_at_random(Path(folder), seed)
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
