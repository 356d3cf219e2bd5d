"""MIL-NCE: S3D and a sentence tower from scratch on narrated videos.

Miech et al., End-to-End Learning of Visual Representations from Uncurated Instructional Videos, CVPR 2020,
arXiv 1912.06430. The defaults are the published setting: clips of 16 frames of 224 pixels at 5 fps, 5 caption
candidates, Adam at 1e-3 with warm-up and cosine, 300 epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from narravid.data.narrated import ClipSampling
from narravid.recipes.narrated_config import NarratedDataConfig
from narravid.recipes.narrated_recipe import NarratedRecipe
from narravid.recipes.tiny import tiny_data, tiny_evaluation, tiny_model, tiny_optim, tiny_trainer

__all__ = ["RECIPE_NAME", "MILNCERecipe"]

RECIPE_NAME = "milnce"


@dataclass(frozen=True)
class MILNCERecipe(NarratedRecipe):
    """A MIL-NCE training run; the options are those of `NarratedRecipe`, whose defaults are its own."""

    name: ClassVar[str] = RECIPE_NAME

    @classmethod
    def presets(cls) -> Mapping[str, Callable[[], Self]]:
        """Whole recipes by name."""
        return {"tiny": cls._tiny}

    @classmethod
    def _tiny(cls) -> Self:
        """A toy world on a CPU, in about a minute."""
        return cls(
            data=tiny_data(
                NarratedDataConfig,
                ClipSampling(
                    clips_per_video=4, num_candidates=3, min_caption_seconds=0.0, whole_seconds=False
                ),
                batch_size=12,
            ),
            model=tiny_model(),
            optim=tiny_optim(),
            trainer=tiny_trainer(180),
            evaluation=tiny_evaluation(),
            device="cpu",
            workers=0,
        )
