"""Training steps of the memory bank, in one process and in each of two."""

from __future__ import annotations

import torch

from narravid import distributed
from narravid.losses import MemoryBank, MemoryBankNCELoss

NUM_SAMPLES, DIM, GLOBAL_BATCH, NUM_NEGATIVES, NUM_STEPS = 11, 4, 6, 5, 3


def train_steps() -> dict[str, torch.Tensor]:
    """Losses, gradients and the final state of three steps; the gradients are of this process's own rows."""
    world, rank = distributed.world_size(), distributed.rank()
    own = slice(rank * GLOBAL_BATCH // world, (rank + 1) * GLOBAL_BATCH // world)
    bank = MemoryBank(NUM_SAMPLES, DIM, generator=torch.Generator().manual_seed(0)).double()
    criterion = MemoryBankNCELoss(bank, temperature=0.2)
    data = torch.Generator().manual_seed(1)
    noise = torch.Generator().manual_seed(2)
    results = {}
    for step in range(NUM_STEPS):
        video, text = torch.randn(2, GLOBAL_BATCH, DIM, generator=data, dtype=torch.float64)
        # Some samples come several times, within a process and across.
        indices = torch.randint(NUM_SAMPLES // 3, (GLOBAL_BATCH,), generator=data)
        video, text = video[own].clone().requires_grad_(), text[own].clone().requires_grad_()
        negatives = criterion.draw_negatives(len(video), num_negatives=NUM_NEGATIVES, generator=noise)
        parts = criterion.parts(video, text, indices[own], negatives=negatives)
        parts.loss.backward()
        # What average_gradients makes of a shared weight: the sum over rows, divided by the processes.
        results |= {
            f"loss{step}": parts.loss.detach(),
            f"video_negative{step}": parts.video_negative.detach(),
            f"video_gradient{step}": video.grad / world,
            f"text_gradient{step}": text.grad / world,
        }
    return results | {f"state.{name}": value.clone() for name, value in criterion.state_dict().items()}
