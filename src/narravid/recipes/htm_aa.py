"""HTM-AA: fine-tuning a dual encoder end to end on narration that was aligned automatically.

Han et al., Temporal Alignment Networks for Long-term Video, CVPR 2022, arXiv 2204.02968, section 4. The
defaults are the published setting: sentences of HTM-AA, each with the second around which the video shows
it; two of a video per step, one clip of 16 frames of 224 pixels at 5 fps for each; InfoNCE of cosines over
0.07 in both directions, summed; AdamW at 1e-4 with 1,000 steps of warm-up and cosine, 40 epochs, 16 videos in
a batch (per GPU: data.batch_size counts those of all), frozen batch normalisation, half precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from narravid.data.narrated import ClipSampling
from narravid.recipes.narrated_config import EvaluationConfig, NarratedDataConfig, NarratedModelConfig
from narravid.recipes.narrated_recipe import NarratedRecipe
from narravid.recipes.tiny import (
    TINY_WORLD,
    tiny_data,
    tiny_evaluation,
    tiny_model,
    tiny_optim,
    tiny_trainer,
)
from narravid.tasks.objectives import ObjectiveConfig
from narravid.training.config import Precision, TrainerConfig
from narravid.training.optim_config import OptimConfig
from narravid.video.durations import ALIGNED_CLIP_DURATIONS

__all__ = ["RECIPE_NAME", "HTMAADataConfig", "HTMAARecipe"]

RECIPE_NAME = "htm-aa"


@dataclass(frozen=True)
class HTMAADataConfig(NarratedDataConfig):
    """Which videos are trained on; 2 sentences of each, around their second, and 16 videos in a batch."""

    batch_size: int = 16
    sampling: ClipSampling = field(
        default_factory=lambda: ClipSampling(
            clips_per_video=2,
            num_candidates=1,
            place="around_middle",
            longer_than_seconds=ALIGNED_CLIP_DURATIONS.longer_than_seconds,
            shorter_than_seconds=ALIGNED_CLIP_DURATIONS.shorter_than_seconds,
        )
    )


@dataclass(frozen=True)
class HTMAARecipe(NarratedRecipe):
    """A training run on HTM-AA; the options are those of `NarratedRecipe`, with its own defaults."""

    name: ClassVar[str] = RECIPE_NAME
    toy_captions: ClassVar[Literal["true_captions", "aligned_captions"]] = "aligned_captions"

    data: HTMAADataConfig
    model: NarratedModelConfig = field(default_factory=lambda: NarratedModelConfig(similarity="cosine"))
    objective: ObjectiveConfig = field(
        default_factory=lambda: ObjectiveConfig(loss="info-nce", similarity="cosine", temperature=0.07)
    )
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(name="adamw", lr=1e-4, weight_decay=1e-5, warmup_steps=1000)
    )
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(num_epochs=40, batch_norm="frozen"))
    evaluation: EvaluationConfig = field(default_factory=lambda: EvaluationConfig(similarity="cosine"))
    keep_clips: bool = False
    dtype: Precision = "bfloat16"

    @classmethod
    def presets(cls) -> Mapping[str, Callable[[], Self]]:
        """Whole recipes by name."""
        return {"tiny": cls._tiny}

    @classmethod
    def _tiny(cls) -> Self:
        """A toy world on a CPU, in about a minute."""
        return cls(
            data=tiny_data(
                HTMAADataConfig,
                ClipSampling(clips_per_video=2, num_candidates=1, place="around_middle"),
                batch_size=16,
                captions=Path(TINY_WORLD),
            ),
            model=tiny_model(temperature=None),
            optim=tiny_optim(),
            # Random weights have no running statistics that would be worth freezing.
            trainer=replace(tiny_trainer(300), batch_norm="own"),
            evaluation=tiny_evaluation(),
            device="cpu",
            dtype="float32",
            workers=0,
        )
