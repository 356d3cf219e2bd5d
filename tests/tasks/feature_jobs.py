"""What the two processes of test_features_distributed.py do, and the same in one process to compare with."""

from __future__ import annotations

from typing import Any

import torch

from models.small_aligners import FEATURE_DIM, small_aligner
from narravid import distributed
from narravid.batches import FeatureBatch, WindowBatch
from narravid.losses import (
    MaxMarginRankingLoss,
    MILNCELoss,
    TemporalAlignmentConfig,
    TemporalAlignmentLoss,
)
from narravid.models.gated_embedding import GatedDualEncoder, GatedDualEncoderConfig
from narravid.tasks.alignment import AlignmentTask
from narravid.tasks.contrastive import FeatureContrastiveTask
from narravid.tasks.objectives import MaxMarginObjective
from narravid.tasks.task import Task
from narravid.text.word_vectors import WordVectors
from narravid.text.words import Vocabulary
from narravid.types import FeatureSpec

SHARES = {0: slice(0, 4), 1: slice(4, 6)}
"""Items of the two processes; the second has fewer, and fewer sentences."""


def feature_task(loss: torch.nn.Module) -> FeatureContrastiveTask:
    generator = torch.Generator().manual_seed(2)
    config = GatedDualEncoderConfig(
        feature_spec=FeatureSpec(("a", "b"), (3, 4)), word_dim=5, sentence_dim=7, embed_dim=6
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GatedDualEncoder(config)
    model.attach_words(WordVectors(Vocabulary("abcdefgh"), torch.randn(9, 5, generator=generator)))
    return FeatureContrastiveTask(model.double(), loss)


def feature_batch(share: slice, *, num_candidates: int) -> FeatureBatch:
    generator = torch.Generator().manual_seed(7)
    features = torch.randn(6, 7, generator=generator)
    tokens = torch.randint(0, 9, (6, num_candidates, 4), generator=generator)
    return FeatureBatch(features[share], tokens[share], tuple("aabbcc")[share])


def window_batch(share: slice) -> WindowBatch:
    """The items of a share; only those of the first have a third sentence."""
    generator = torch.Generator().manual_seed(8)
    text_mask = torch.ones(6, 3, dtype=torch.bool)
    text_mask[4:, 2:] = text_mask[1, 1:] = False
    feature_mask = torch.ones(6, 8, dtype=torch.bool)
    feature_mask[5, 6:] = False
    positives = torch.rand(6, 3, 8, generator=generator) < 0.4
    features = torch.randn(6, 8, FEATURE_DIM, generator=generator)
    tokens = torch.randint(0, 7, (6, 3, 5), generator=generator)
    positions = torch.rand(6, 3, 2, generator=generator)
    num_sentences = int(text_mask[share].sum(dim=1).max())
    return WindowBatch(
        features[share],
        feature_mask[share],
        tokens[share, :num_sentences],
        text_mask[share, :num_sentences],
        positives[share, :num_sentences],
        positions[share, :num_sentences],
        tuple("abcdef")[share],
    )


def alignment_task(*, momentum: float | None = None, **config: Any) -> AlignmentTask:
    loss = TemporalAlignmentLoss(TemporalAlignmentConfig(**config))
    model = small_aligner(text_positions=True).double()
    task = AlignmentTask(model, loss, random_positions=momentum is None, momentum=momentum)
    if momentum is not None:
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in task.network.target.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(noise, alpha=0.2)
    return task


def train_once(task: Task[Any], batch: Any) -> dict[str, torch.Tensor]:
    """Scalars and gradients of a step, averaged over the processes."""
    task.begin_step(11, seed=3)
    values = task.training_step(batch)
    values["loss"].backward()
    distributed.average_gradients(task.parameters())
    numbers = {name: value.detach() for name, value in values.items()}
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:  # one without any counts as zero, as it does between processes
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
            numbers[f"gradient {name}"] = gradient
    return numbers


def run_share(share: slice) -> dict[str, dict[str, torch.Tensor]]:
    """All objectives on a share of one fixed global batch."""
    return {
        "ranking": train_once(
            feature_task(MaxMarginObjective(MaxMarginRankingLoss(clips_per_video=2))),
            feature_batch(share, num_candidates=1),
        ),
        "mil-nce": train_once(feature_task(MILNCELoss()), feature_batch(share, num_candidates=2)),
        "stage 1": train_once(alignment_task(), window_batch(share)),
        "stage 2": train_once(
            alignment_task(momentum=0.9, loss_threshold=0.5, agreement="keep"), window_batch(share)
        ),
        "head": train_once(
            alignment_task(use_alignability_head=True, count_padded_seconds=False), window_batch(share)
        ),
    }


def run_own_share() -> dict[str, dict[str, torch.Tensor]]:
    """The same in a process group, on the share of this process."""
    return run_share(SHARES[distributed.rank()])
