"""VT-TWINS: whole videos and their narration compared as sequences that are only weakly aligned.

Ko et al., Video-Text Representation Learning via Differentiable Weak Temporal Alignment, CVPR 2022, arXiv
2203.16784. The defaults are the published program's setting: 8 captions of a video that follow each other,
one clip of 32 frames of 224 pixels at 10 fps for each, S2DTW of cosines, Adam at 1e-3 with 100,000 steps of
warm-up and cosine, 300 epochs. The preset `paper` adds the temporal data augmentation, which the paper has
and the program leaves out. As published, embeddings are compared by cosine in training and by dot product
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from narravid.data.narrated import ClipSampling
from narravid.models.s3d import S3DConfig
from narravid.recipes.narrated_config import EvaluationConfig, NarratedDataConfig, NarratedModelConfig
from narravid.recipes.narrated_recipe import NarratedRecipe
from narravid.recipes.tiny import tiny_data, tiny_evaluation, tiny_model, tiny_optim, tiny_trainer
from narravid.tasks.objectives import ObjectiveConfig, S2DTWConfig
from narravid.training.optim_config import OptimConfig
from narravid.types import ClipSpec

__all__ = ["NUM_CAPTIONS", "RECIPE_NAME", "VTTwinsDataConfig", "VTTwinsRecipe"]

RECIPE_NAME = "vt-twins"
NUM_CAPTIONS = 8


@dataclass(frozen=True)
class VTTwinsDataConfig(NarratedDataConfig):
    """Which videos are trained on; 8 captions in a row of each, and 32 videos in a batch."""

    batch_size: int = 32
    sampling: ClipSampling = field(
        default_factory=lambda: ClipSampling(
            clips_per_video=NUM_CAPTIONS, num_candidates=1, captions="consecutive", min_caption_seconds=0.0
        )
    )


@dataclass(frozen=True)
class VTTwinsRecipe(NarratedRecipe):
    """A VT-TWINS training run; the options are those of `NarratedRecipe`, with its own defaults."""

    name: ClassVar[str] = RECIPE_NAME

    data: VTTwinsDataConfig
    model: NarratedModelConfig = field(
        default_factory=lambda: NarratedModelConfig(
            video=S3DConfig(stem="space_to_depth"),
            clip_spec=ClipSpec(num_frames=32, fps=10.0, size_pixels=224),
        )
    )
    objective: ObjectiveConfig = field(
        default_factory=lambda: ObjectiveConfig(loss="s2dtw", similarity="cosine", temperature=1.0)
    )
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(warmup_steps=100_000))
    evaluation: EvaluationConfig = field(default_factory=lambda: EvaluationConfig(similarity="dot"))

    @classmethod
    def presets(cls) -> Mapping[str, Callable[[], Self]]:
        """Whole recipes by name."""
        return {"tiny": cls._tiny, "paper": cls._paper}

    @classmethod
    def _tiny(cls) -> Self:
        """A toy world on a CPU, in about a minute."""
        return cls(
            data=tiny_data(
                VTTwinsDataConfig,
                # Shorter sequences than published, and so more of them to tell apart in a small batch.
                ClipSampling(
                    clips_per_video=4,
                    num_candidates=1,
                    captions="consecutive",
                    min_caption_seconds=0.0,
                    whole_seconds=False,
                ),
                batch_size=16,
            ),
            model=tiny_model(similarity="dot", temperature=None),
            optim=replace(tiny_optim(), lr=2e-3),
            trainer=tiny_trainer(250),
            # Training by cosine leaves the lengths of embeddings free; a short one leaves them random.
            evaluation=replace(tiny_evaluation(), similarity="cosine"),
            device="cpu",
            workers=0,
        )

    @classmethod
    def _paper(cls) -> Self:
        """The published setting with temporal data augmentation; needs --data.root."""
        return cls(
            data=VTTwinsDataConfig(root=""),
            objective=ObjectiveConfig(
                loss="s2dtw", similarity="cosine", temperature=1.0, s2dtw=S2DTWConfig(augmentation=True)
            ),
        )
