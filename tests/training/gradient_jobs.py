"""Every objective on one fixed global batch in float64, cut into the shares of any number of processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from narravid import distributed
from narravid.batches import CaptionedBatch, LabelledBatch, NarratedBatch
from narravid.data.order import rank_share
from narravid.losses import MemoryBank
from narravid.models.frozen_batch_norm import freeze_batch_norm
from narravid.tasks.classification import ClassificationTask
from narravid.tasks.contrastive import ContrastiveTask
from narravid.tasks.instance import InstanceTask
from narravid.tasks.objectives import ObjectiveConfig, S2DTWConfig, build_objective
from narravid.training.config import TrainerConfig
from narravid.training.step import TrainingStep
from tasks.feature_jobs import alignment_task, feature_batch, feature_task, window_batch
from tiny_models import TinyDualEncoder

NUM_VIDEOS, CLIPS_PER_VIDEO = 5, 3
NUM_CLIPS = NUM_VIDEOS * CLIPS_PER_VIDEO
NUM_WINDOWS = 6
NUM_SAMPLES = 40
MICRO_BATCH_SIZE = 2

Case = Callable[[int, int], tuple[nn.Module, Any]]
"""Rank and number of processes to a task and this process's share of the batch."""


class NormalisedEncoder(TinyDualEncoder):
    """A dual encoder with batch normalisation, and with a classifier."""

    def __init__(self, **options: Any) -> None:
        super().__init__(embed_dim=6, num_words=12, **options)
        self.norm = nn.BatchNorm1d(3)
        with torch.no_grad():
            self.norm.running_mean.copy_(torch.tensor([0.1, -0.2, 0.05]))
            self.norm.running_var.copy_(torch.tensor([0.02, 0.05, 0.03]))
        self.video = self.color

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        return self.norm(super().video_features(clips))

    def classify_features(self, features: torch.Tensor) -> torch.Tensor:
        return self.color(features)


def pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (NUM_CLIPS, 3, 2, 4, 4), generator=generator, dtype=torch.uint8)


def words(*shape: int) -> torch.Tensor:
    return torch.randint(0, 12, shape, generator=torch.Generator().manual_seed(6))


def clips_of(rank: int, num_processes: int) -> slice:
    """The clips of a process: those of its videos."""
    share = rank_share(NUM_VIDEOS, rank=rank, world_size=num_processes)
    return slice(share.start * CLIPS_PER_VIDEO, share.stop * CLIPS_PER_VIDEO)


def facts(own: slice) -> tuple[tuple[str, ...], torch.Tensor]:
    ids = tuple(f"video{index // CLIPS_PER_VIDEO}" for index in range(NUM_CLIPS))
    return ids[own], torch.zeros(NUM_CLIPS, dtype=torch.float64)[own]


def narrated(config: ObjectiveConfig, *, num_candidates: int = 1, **model: Any) -> Case:
    def make(rank: int, num_processes: int) -> tuple[nn.Module, Any]:
        own = clips_of(rank, num_processes)
        task = ContrastiveTask(
            NormalisedEncoder(**model),
            build_objective(config, clips_per_video=CLIPS_PER_VIDEO),
            temperature=config.temperature,
        )
        return task, NarratedBatch(pixels()[own], words(NUM_CLIPS, num_candidates, 5)[own], *facts(own))

    return make


def memory_bank(rank: int, num_processes: int) -> tuple[nn.Module, Any]:
    own = clips_of(rank, num_processes)
    bank = MemoryBank(NUM_SAMPLES, 6, generator=torch.Generator().manual_seed(1))
    task = InstanceTask(NormalisedEncoder(similarity="cosine"), bank, num_negatives=7)
    indices = torch.randperm(NUM_SAMPLES, generator=torch.Generator().manual_seed(2))[:NUM_CLIPS]
    return task, CaptionedBatch(pixels()[own], words(NUM_CLIPS, 5)[own], indices[own], *facts(own))


def classification(rank: int, num_processes: int) -> tuple[nn.Module, Any]:
    own = clips_of(rank, num_processes)
    labels = torch.arange(NUM_CLIPS)[own] % 6
    return ClassificationTask(NormalisedEncoder()), LabelledBatch(pixels()[own], labels, *facts(own))


def windows(**options: Any) -> Case:
    def make(rank: int, num_processes: int) -> tuple[nn.Module, Any]:
        share = rank_share(NUM_WINDOWS, rank=rank, world_size=num_processes)
        return alignment_task(**options), window_batch(slice(share.start, share.stop))

    return make


def features(rank: int, num_processes: int) -> tuple[nn.Module, Any]:
    share = rank_share(NUM_WINDOWS, rank=rank, world_size=num_processes)
    task = feature_task(build_objective(ObjectiveConfig(loss="max-margin"), clips_per_video=1))
    return task, feature_batch(slice(share.start, share.stop), num_candidates=1)


CASES: dict[str, Case] = {
    "mil-nce": narrated(ObjectiveConfig(), num_candidates=3),
    "mil-nce, learned temperature": narrated(
        ObjectiveConfig(), num_candidates=2, similarity="cosine", temperature=0.2
    ),
    "info-nce": narrated(ObjectiveConfig(loss="info-nce", temperature=0.07), similarity="cosine"),
    "max-margin": narrated(ObjectiveConfig(loss="max-margin"), similarity="cosine"),
    "s2dtw": narrated(ObjectiveConfig(loss="s2dtw"), similarity="cosine"),
    "s2dtw, augmented": narrated(
        ObjectiveConfig(loss="s2dtw", s2dtw=S2DTWConfig(augmentation=True)), similarity="cosine"
    ),
    "memory bank": memory_bank,
    "classification": classification,
    "features": features,
    "alignment, stage 1": windows(),
    "alignment, stage 2": windows(momentum=0.9, loss_threshold=0.5, agreement="keep"),
    "alignment, head": windows(use_alignability_head=True, count_padded_seconds=False),
}


def gradient_of(case: Case, *, micro_batch_size: int | None) -> dict[str, torch.Tensor]:
    """Loss and gradient of a step of this process, before the optimiser moves anything."""
    task, batch = case(distributed.rank(), distributed.world_size())
    task.double()
    freeze_batch_norm(task)
    task.train()
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=0.0)
    config = TrainerConfig(micro_batch_size=micro_batch_size)
    step = TrainingStep(task, optimizer, config=config, dtype="float32", max_grad_norm=None)
    task.begin_step(4, seed=8)
    numbers = step(batch)
    task.end_step()
    found = {"loss": torch.tensor(numbers["loss"])}
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            found[f"gradient {name}"] = gradient
    return found | {f"state {name}": buffer.clone() for name, buffer in task.named_buffers()}


def refusal(**settings: Any) -> str:
    """What a step says of shares that give different numbers of micro-batches."""
    task, batch = classification(distributed.rank(), distributed.world_size())
    config = TrainerConfig(micro_batch_size=MICRO_BATCH_SIZE, **settings)
    optimizer = torch.optim.SGD(task.parameters(), lr=0.0)
    try:
        TrainingStep(task, optimizer, config=config, dtype="float32", max_grad_norm=None)(batch)
    except ValueError as error:
        return str(error)
    return ""


def run_all() -> dict[str, Any]:
    """Every case, whole and in cached micro-batches, and what is refused."""
    refusals = [refusal(micro_batches="accumulated"), refusal(batch_norm="synchronised")]
    return {"refusals": refusals} | {
        f"{name}, micro-batches of {size}": gradient_of(case, micro_batch_size=size)
        for name, case in CASES.items()
        for size in (None, MICRO_BATCH_SIZE)
    }
