"""What the two processes of test_distributed.py do, and the same in one process to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from narravid import distributed
from narravid.batches import NarratedBatch
from narravid.losses import MILNCELoss
from narravid.tasks.contrastive import ContrastiveTask
from tiny_models import TinyDualEncoder

CLIPS_PER_PROCESS = 3


def make_batch(start: int, stop: int) -> NarratedBatch:
    """Clips `start` to `stop` of one fixed global batch."""
    generator = torch.Generator().manual_seed(7)
    total = 2 * CLIPS_PER_PROCESS
    clips = torch.randint(0, 256, (total, 3, 2, 4, 4), generator=generator, dtype=torch.uint8)
    tokens = torch.randint(0, 12, (total, 2, 5), generator=generator)
    return NarratedBatch(
        clips[start:stop],
        tokens[start:stop],
        tuple(f"video{index}" for index in range(start, stop)),
        torch.zeros(stop - start, dtype=torch.float64),
    )


def train_once(batch: NarratedBatch) -> dict[str, torch.Tensor]:
    """Loss and gradients of a task in float64, averaged over the processes."""
    model = TinyDualEncoder(similarity="cosine", temperature=0.2).double()
    task = ContrastiveTask(model, MILNCELoss())
    values = task.training_step(batch)
    values["loss"].backward()
    distributed.average_gradients(task.parameters())
    values = {name: value.detach() for name, value in values.items()}
    return values | {name: parameter.grad.clone() for name, parameter in task.named_parameters()}


def weighted_square(gathered: torch.Tensor) -> torch.Tensor:
    """A loss whose gradient differs at every entry."""
    weights = torch.arange(1.0, gathered.numel() + 1, dtype=gathered.dtype).view_as(gathered)
    return (weights * gathered**2).sum()


def run_all() -> dict[str, Any]:
    """Everything that needs a process group; one start of two processes serves all tests."""
    rank = distributed.rank()
    results: dict[str, Any] = {
        "rank": rank,
        "world_size": distributed.world_size(),
        "initialised": distributed.is_initialised(),
    }
    distributed.barrier()

    # Not contiguous, as the embeddings of a transposed layer are.
    own = (torch.arange(6, dtype=torch.float64).view(3, 2) + 10 * rank).T.requires_grad_()
    gathered = distributed.gather_with_gradient(own)
    weighted_square(gathered).backward()
    results["gathered"], results["gathered_gradient"] = gathered.detach(), own.grad.clone()

    # Every process weighs the gathered tensor differently: the parts of all of them must arrive.
    own.grad = None
    (distributed.gather_with_gradient(own) * (rank + 1)).sum().backward()
    results["summed_gradient"] = own.grad.clone()

    try:
        distributed.gather_with_gradient(torch.zeros(2, 4 + rank))
    except ValueError as error:
        results["shape_error"] = str(error)

    try:
        distributed.init_from_torchrun("cpu")
    except ValueError as error:
        results["second_init_error"] = str(error)

    used, unused, never_used, frozen = (nn.Parameter(torch.ones(2)) for _ in range(4))
    frozen.requires_grad_(False)
    used.grad = torch.tensor([1.0, 5.0]) * (rank + 1)
    if rank == 0:
        unused.grad = torch.tensor([4.0, 8.0])
    distributed.average_gradients([used, frozen, never_used, unused])
    results["averaged"] = [used.grad, unused.grad]
    results["untouched"] = frozen.grad is None and never_used.grad is None

    start = rank * CLIPS_PER_PROCESS
    results["task"] = train_once(make_batch(start, start + CLIPS_PER_PROCESS))
    return results
