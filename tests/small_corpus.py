"""A folder of narrated videos and a recipe so small that a training step takes milliseconds."""

from __future__ import annotations

from pathlib import Path

from narravid.data.narrated import ClipSampling
from narravid.models.s3d import S3DConfig
from narravid.recipes.milnce import MILNCERecipe
from narravid.recipes.narrated_config import NarratedDataConfig, NarratedModelConfig
from narravid.training.config import TrainerConfig
from narravid.training.optim import OptimConfig
from narravid.types import ClipSpec
from tiny_corpus import COLOURS, write_colour_video

TRANSCRIPT = """WEBVTT

00:00.000 --> 00:01.000
here is the {colour} ground

00:01.000 --> 00:02.000
a square moves over {colour}

00:02.000 --> 00:03.000
it leaves the {colour} picture
"""


def write_narrated_videos(folder: Path) -> Path:
    """Two videos of each of three colours, with what is said in them."""
    for name, colour in COLOURS.items():
        for take in (1, 2):
            video = write_colour_video(folder / f"{name}{take}.mp4", colour, seconds=2.0 + take)
            video.with_suffix(".vtt").write_text(TRANSCRIPT.format(colour=name), encoding="utf-8")
    return folder


def small_recipe(root: Path, *, num_steps: int = 4, **trainer: int) -> MILNCERecipe:
    """The published recipe with everything made small; evaluation is off."""
    return MILNCERecipe(
        data=NarratedDataConfig(root, batch_size=3, sampling=ClipSampling(num_candidates=2)),
        model=NarratedModelConfig(
            video=S3DConfig(stem="plain", width_multiplier=0.125, num_inception_blocks=1, embed_dim=8),
            word_dim=8,
            hidden_dim=8,
            clip_spec=ClipSpec(num_frames=4, fps=4.0, size_pixels=16),
            max_words=6,
        ),
        optim=OptimConfig(lr=1e-3),
        trainer=TrainerConfig(num_steps=num_steps, **trainer),
        device="cpu",
        workers=0,
    )


SMALL_OPTIONS = (
    *("--data.batch-size", "3", "--data.sampling.num-candidates", "2", "--device", "cpu"),
    *("--model.video.width-multiplier", "0.125", "--model.video.num-inception-blocks", "1"),
    *("--model.video.embed-dim", "8", "--model.word-dim", "8", "--model.hidden-dim", "8"),
    *("--model.clip-spec.num-frames", "4", "--model.clip-spec.fps", "4"),
    *("--model.clip-spec.size-pixels", "16", "--model.max-words", "6"),
)
"""The same for `narravid train milnce`, without --data.root, --output and the number of steps."""
