"""A model of motions: a toy world in which shapes go all four ways, and the training run that learns from it.

It is what the trajectory benchmark and the example of a reward from text are made with.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from narravid.recipes.milnce import MILNCERecipe
from narravid.synthetic.files import write_world
from narravid.synthetic.steps import StepSpace
from narravid.synthetic.world import ToyWorld, WorldConfig, preset
from narravid.training.run import MODEL_FOLDER

__all__ = ["motion_training", "motion_world", "train_motion_model"]


def motion_world() -> WorldConfig:
    """The smallest preset with all four ways to go: 72 steps of 2 to 3 seconds, told a little out of time."""
    tiny = preset("tiny")
    space = StepSpace(
        colours=tiny.space.colours,
        shapes=tiny.space.shapes,
        motions=("left", "right", "up", "down", "grow", "spin"),
    )
    return replace(tiny, space=space, num_train_videos=72, num_test_repetitions=0)


def motion_training(root: Path, *, num_steps: int, seed: int) -> MILNCERecipe:
    """A training run of a few minutes on one core: the smallest of MIL-NCE, without an evaluation.

    Args:
        root: The videos, with their transcripts as heard beside them.
        num_steps: Training steps of 48 clips each.
        seed: Seed of the run.

    Returns:
        The recipe.
    """
    tiny = MILNCERecipe.presets()["tiny"]()
    return replace(
        tiny,
        data=replace(tiny.data, root=str(root), captions=None),
        evaluation=replace(tiny.evaluation, pairs=None),
        trainer=replace(tiny.trainer, num_steps=num_steps, evaluate_at_start=False),
        seed=seed,
    )


def train_motion_model(folder: Path, *, num_steps: int, seed: int) -> Path:
    """Draw the world and learn from its narration.

    Args:
        folder: Where the world and the run go; one that holds this world already keeps it.
        num_steps: Training steps.
        seed: Of the world and of the run.

    Returns:
        The folder of the model.

    Raises:
        ValueError: If the folder holds another world.
        ConfigError: If it holds a run.
    """
    write_world(ToyWorld(motion_world(), seed=seed), folder / "world")
    run = folder / "run"
    motion_training(folder / "world" / "train", num_steps=num_steps, seed=seed).train(run)
    return run / MODEL_FOLDER
