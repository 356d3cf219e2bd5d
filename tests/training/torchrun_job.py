"""Trains a toy task as one of the processes of `torchrun`; dies by SIGKILL where it is told to, but once.

Arguments: run folder, "RANK STEP" at which to die or "never", share of dropped units.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from narravid import distributed
from narravid.data.order import BatchOrder
from narravid.losses import InfoNCELoss
from narravid.tasks.task import Task
from narravid.training.config import Evaluation, TrainerConfig, TrainingData
from narravid.training.optim import OptimConfig
from narravid.training.trainer import Trainer

NUM_ITEMS, BATCH_SIZE, NUM_STEPS = 23, 7, 9


class PairTask(Task[torch.Tensor]):
    """The halves of a vector through a network each; dropout where asked for."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.left, self.right = (
            nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 6))
            for _ in range(2)
        )
        self.double()
        self.die_at: int | None = None

    def embed(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.left(batch[:, :4]), self.right(batch[:, 4:])

    def objective(self, embeddings: tuple[torch.Tensor, ...], batch: torch.Tensor) -> dict[str, torch.Tensor]:
        left, right = (distributed.gather_with_gradient(side) for side in embeddings)
        return {"loss": InfoNCELoss()(left, right)}

    def begin_step(self, step: int, *, seed: int) -> None:
        if step == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)


class Met:
    """Counts the items that a process was given, and writes down what all of them were."""

    def __init__(self, run: Path) -> None:
        self.run, self.num_items = run, 0

    def write(self, others=()) -> None:
        total = self.num_items + sum(other["num_items"] for other in others)
        (self.run / "num_items.txt").write_text(str(total))

    def state_dict(self) -> dict[str, int]:
        return {"num_items": self.num_items}

    def load_state_dict(self, state) -> None:
        self.num_items = state["num_items"]


def make_data(run: Path) -> TrainingData[torch.Tensor]:
    items = torch.randn(NUM_ITEMS, 8, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    order = BatchOrder(
        NUM_ITEMS, BATCH_SIZE, seed=2, rank=distributed.rank(), world_size=distributed.world_size()
    )
    met = Met(run)

    def batches(epoch: int, start_batch: int):
        for indexes in order.batches(epoch, start_batch):
            met.num_items += len(indexes)
            yield items[indexes]

    return TrainingData(batches, order.num_batches, met)


def main() -> None:
    torch.set_num_threads(1)
    run, death, dropout = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    with distributed.process_group("cpu"):
        task = PairTask(dropout)
        if death != "never" and distributed.restart_count() == 0:
            rank, step = map(int, death.split())
            task.die_at = step if rank == distributed.rank() else None
        trainer = Trainer(
            task,
            OptimConfig(name="adamw", lr=1e-2, max_grad_norm=1.0),
            config=TrainerConfig(
                num_steps=NUM_STEPS, checkpoint_every_steps=2, evaluate_every_steps=4, log_every_steps=2
            ),
            data=make_data(run),
            run=run,
            evaluation=Evaluation(lambda: {"weight": float(task.left[0].weight.sum())}, "weight"),
            export=lambda folder: torch.save(task.state_dict(), folder.parent / "model.pt"),
        )
        trainer.fit(seed=5, resume=distributed.restart_count() > 0)
        torch.save(task.state_dict(), run / f"end_of_rank_{distributed.rank()}.pt")


if __name__ == "__main__":
    main()
