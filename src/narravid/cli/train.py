"""`narravid train RECIPE`: the options are the recipe's own fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import tyro

from narravid.recipes.milnce import MILNCERecipe
from narravid.recipes.registry import Recipe
from narravid.training.config import TrainingResult
from narravid.training.logging import read_log
from narravid.training.run import MODEL_FOLDER

__all__ = ["TRAIN_COMMANDS", "Train", "TrainMILNCE", "describe_result"]

RecipeT = TypeVar("RecipeT", bound=Recipe)


@dataclass(frozen=True)
class Train(Generic[RecipeT]):
    """Train a model with a recipe.

    Attributes:
        recipe: What to train on what, and how.
        output: Folder of the run: log, checkpoints, curves and, at the end, the model. Must not hold a run.
    """

    recipe: Annotated[RecipeT, tyro.conf.arg(name="")]
    output: Path

    def run(self) -> int:
        """Train to the end and say what came of it."""
        print(describe_result(self.recipe.train(self.output), self.output))
        return 0


@dataclass(frozen=True)
class TrainMILNCE(Train[MILNCERecipe]):
    """Train S3D and a sentence tower from scratch with MIL-NCE on narrated videos."""


TRAIN_COMMANDS: dict[str, type[Train]] = {"milnce": TrainMILNCE}  # type: ignore[type-arg]


def describe_result(result: TrainingResult, run: Path) -> str:
    """What a finished run has to say, in a few lines.

    Args:
        result: As the trainer gave it.
        run: The run folder.
    """
    losses = [entry["loss"] for entry in read_log(run) if entry["event"] == "train"]
    course = f", loss {losses[0]:.4g} -> {losses[-1]:.4g}" if losses else ""
    lines = [f"{result.step} steps in {result.seconds:.0f} s{course}"]
    if result.resumed_at == result.step:
        lines.insert(0, "this run was finished already; nothing was left to train")
    if result.metrics:
        measured = ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
        lines.append(f"last evaluation: {measured}; the best was at step {result.best_step}")
    lines.append(f"model: {run / MODEL_FOLDER}   log, curves, checkpoints: {run}")
    return "\n".join(lines)
