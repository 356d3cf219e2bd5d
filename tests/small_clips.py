"""Small videos as captioned and as labelled clips, and CPD's recipes so small that a step is quick."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from narravid.models.cpd_text import DistilBERTTowerConfig
from narravid.models.resnet3d import ResNet3DConfig
from narravid.recipes.cpd import CPDRecipe
from narravid.recipes.cpd_config import CaptionedDataConfig, CPDModelConfig, InstanceConfig
from narravid.recipes.cpd_finetune import AccuracyConfig, CPDFineTuningRecipe, LabelledDataConfig
from narravid.training.config import TrainerConfig
from narravid.types import ClipSpec
from tiny_corpus import COLOURS, write_colour_video

SPEC = ClipSpec(num_frames=2, fps=4.0, size_pixels=16)
VIDEO = ResNet3DConfig(depth=10, stem_channels=2)
SMALL_TEXT = DistilBERTTowerConfig(
    max_positions=12, hidden_dim=8, feedforward_dim=8, num_layers=1, num_heads=2, head_dim=8, embed_dim=4
)


def write_clip_lists(folder: Path) -> Path:
    """Three videos of one colour each, and two spans of each in `pairs.csv` and `labels.csv`."""
    pairs = ["video_path,text,start_seconds,end_seconds"]
    labels = ["video_path,label,split,start_seconds,end_seconds"]
    for name, colour in COLOURS.items():
        write_colour_video(folder / f"{name}.mp4", colour, seconds=3.0)
        for start in (0, 1):
            pairs.append(f"{name}.mp4,a square on {name} {start},{start},{start + 2}")
            labels += [f"{name}.mp4,{name},{part},{start},{start + 2}" for part in ("train", "test")]
    (folder / "pairs.csv").write_text("\n".join(pairs) + "\n")
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    return folder


def small_cpd_recipe(folder: Path, *, num_steps: int = 4, **trainer: int) -> CPDRecipe:
    """The published recipe with everything made small; the text encoder learns from the start."""
    recipe = CPDRecipe()
    return replace(
        recipe,
        data=CaptionedDataConfig(batch_size=3, pairs=folder / "pairs.csv"),
        model=CPDModelConfig(video=VIDEO, text=SMALL_TEXT, clip_spec=SPEC, max_tokens=10),
        objective=InstanceConfig(num_negatives=4),
        optim=replace(recipe.optim, groups=()),
        trainer=TrainerConfig(num_steps=num_steps, **trainer),
        device="cpu",
        workers=0,
    )


def small_fine_tuning(folder: Path, *, num_steps: int = 4, **trainer: int) -> CPDFineTuningRecipe:
    """The published recipe with everything made small."""
    recipe = CPDFineTuningRecipe()
    return replace(
        recipe,
        data=LabelledDataConfig(batch_size=3, labels=folder / "labels.csv"),
        model=replace(recipe.model, video=VIDEO, clip_spec=SPEC),
        trainer=TrainerConfig(num_steps=num_steps, **trainer),
        evaluation=AccuracyConfig(num_windows=1),
        device="cpu",
        workers=0,
    )
