"""The training run of the demo: small enough for a laptop, with everything that MIL-NCE needs."""

from __future__ import annotations

from pathlib import Path

from narravid.data.narrated import ClipSampling
from narravid.models.s3d import S3DConfig
from narravid.recipes.milnce import MILNCERecipe
from narravid.recipes.narrated_config import NarratedDataConfig, NarratedModelConfig
from narravid.training.config import TrainerConfig
from narravid.training.optim import OptimConfig
from narravid.types import ClipSpec
from narravid.video.transforms import Augmentation

__all__ = ["demo_training"]


def demo_training(root: Path, *, captions: Path | None, num_steps: int, seed: int) -> MILNCERecipe:
    """The training run of the demo: a small S3D that a CPU can train in a minute or two.

    Args:
        root: The videos.
        captions: The transcripts, None for those beside the videos.
        num_steps: Training steps.
        seed: Seed of the run.

    Returns:
        The recipe.
    """
    return MILNCERecipe(
        data=NarratedDataConfig(
            root=str(root),
            captions=captions,
            batch_size=16,
            sampling=ClipSampling(
                clips_per_video=4,
                num_candidates=4 if captions is None else 1,
                min_caption_seconds=0.0,
                whole_seconds=False,
            ),
            crop="center",
            # Left and right matter here, so nothing is mirrored.
            augmentation=Augmentation(flip_probability=0.0, brightness=0.15, shift_pixels=5),
            storage="memory",
        ),
        model=NarratedModelConfig(
            video=S3DConfig(stem="plain", width_multiplier=0.25, num_inception_blocks=5, embed_dim=128),
            word_dim=64,
            hidden_dim=256,
            clip_spec=ClipSpec(num_frames=8, fps=4.0, size_pixels=48),
            max_words=12,
            similarity="cosine",
            temperature=0.1,
        ),
        optim=OptimConfig(name="adamw", lr=3e-3, weight_decay=1e-3, max_grad_norm=5.0),
        trainer=TrainerConfig(num_steps=num_steps, checkpoint_every_steps=100),
        seed=seed,
        device="cpu",
        workers=0,  # the files are the demo's own, and there is no core to spare for loading ahead
    )
