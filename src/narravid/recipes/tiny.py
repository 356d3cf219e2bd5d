"""The parts of the smallest runs on narrated videos: a toy world, a small S3D, a minute or two on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from narravid.data.narrated import ClipSampling
from narravid.models.s3d import S3DConfig
from narravid.recipes.narrated_config import EvaluationConfig, NarratedDataConfig, NarratedModelConfig
from narravid.training.config import TrainerConfig
from narravid.training.optim_config import OptimConfig
from narravid.types import ClipSpec, Similarity
from narravid.video.transforms import Augmentation

__all__ = ["TINY_WORLD", "tiny_data", "tiny_evaluation", "tiny_model", "tiny_optim", "tiny_trainer"]

TINY_WORLD = "toy:tiny"


DataT = TypeVar("DataT", bound=NarratedDataConfig)


def tiny_data(
    kind: type[DataT], sampling: ClipSampling, *, batch_size: int, captions: Path | None = None
) -> DataT:
    """The toy world, held in memory.

    Args:
        kind: The configuration of the recipe.
        sampling: How clips and captions are drawn.
        batch_size: Videos per batch.
        captions: Captions other than those heard in the videos.
    """
    return kind(
        root=TINY_WORLD,
        captions=captions,
        batch_size=batch_size,
        sampling=sampling,
        crop="center",
        # Left and right matter here, so nothing is mirrored.
        augmentation=Augmentation(flip_probability=0.0, brightness=0.15, shift_pixels=4),
        storage="memory",
    )


def tiny_model(*, similarity: Similarity = "cosine", temperature: float | None = 0.1) -> NarratedModelConfig:
    """An S3D of a few hundred thousand weights.

    Args:
        similarity: How embeddings are compared.
        temperature: Start of a learned temperature; None for none.
    """
    return NarratedModelConfig(
        video=S3DConfig(stem="plain", width_multiplier=0.25, num_inception_blocks=4, embed_dim=64),
        word_dim=64,
        hidden_dim=128,
        clip_spec=ClipSpec(num_frames=8, fps=4.0, size_pixels=32),
        max_words=12,
        similarity=similarity,
        temperature=temperature,
    )


def tiny_optim() -> OptimConfig:
    """A short warm-up and a high rate, as there are few steps."""
    return OptimConfig(name="adamw", lr=3e-3, weight_decay=1e-3, max_grad_norm=5.0)


def tiny_trainer(num_steps: int) -> TrainerConfig:
    """Measured before the first step and after the last."""
    return TrainerConfig(num_steps=num_steps, checkpoint_every_steps=100, evaluate_at_start=True)


def tiny_evaluation() -> EvaluationConfig:
    """Retrieval of the held-out steps of the toy world."""
    return EvaluationConfig(pairs=Path(TINY_WORLD), num_windows=2, batch_size=32)
