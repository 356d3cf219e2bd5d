"""`narravid train RECIPE`: the options are the recipe's own fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, Self, TypeVar, get_args

import tyro

from narravid import distributed
from narravid.errors import ConfigError
from narravid.recipes.cpd import CPDRecipe
from narravid.recipes.cpd_finetune import CPDFineTuningRecipe
from narravid.recipes.howto100m import HowTo100MRecipe
from narravid.recipes.htm_aa import HTMAARecipe
from narravid.recipes.milnce import MILNCERecipe
from narravid.recipes.registry import Recipe
from narravid.recipes.tan import TanRecipe
from narravid.recipes.vt_twins import VTTwinsRecipe
from narravid.training.config import TrainingResult
from narravid.training.logging import read_log
from narravid.training.run import MODEL_FOLDER

__all__ = ["TRAIN_COMMANDS", "Train", "TrainMILNCE", "describe_result", "report_result"]

RecipeT = TypeVar("RecipeT", bound=Recipe)


@dataclass(frozen=True)
class Train(Generic[RecipeT]):
    """Train a model with a recipe.

    Attributes:
        recipe: What to train on what, and how.
        output: Folder of the run: log, checkpoints, curves and, at the end, the model. Must not hold a run.
        preset: Settings to start from, instead of the published ones; options override them.
    """

    recipe: Annotated[RecipeT, tyro.conf.arg(name="")]
    output: Path
    preset: str | None = None

    @classmethod
    def chosen_defaults(cls, words: Sequence[str]) -> Self | None:
        """What the options start from: the settings of the preset among them, or None for the published ones.

        Raises:
            ConfigError: If there is no such preset.
        """
        name = _preset_name(words)
        if name is None:
            return None
        presets = cls._presets()
        if name not in presets:
            raise ConfigError(
                f"there is no preset {name!r}; there are {', '.join(presets)}", key=name, valid=presets
            )
        return cls(recipe=presets[name](), output=tyro.MISSING, preset=name)

    @classmethod
    def help_text(cls) -> str:
        """What the command does, and which presets there are."""
        presets = cls._presets()
        width = max(map(len, presets), default=0)
        lines = [f"  {name:<{width}}  {_first_line(make)}".rstrip() for name, make in presets.items()]
        return "\n".join([_first_line(cls), "", "Presets, for --preset:", *lines])

    @classmethod
    def _presets(cls) -> Mapping[str, Callable[[], RecipeT]]:
        [recipe] = get_args(cls.__orig_bases__[0])  # type: ignore[attr-defined]
        presets: Mapping[str, Callable[[], RecipeT]] = recipe.presets()
        return presets

    def run(self) -> int:
        """Train to the end and say what came of it."""
        report_result(self.recipe.train(self.output), self.output)
        return 0


@dataclass(frozen=True)
class TrainMILNCE(Train[MILNCERecipe]):
    """Train S3D and a sentence tower from scratch with MIL-NCE on narrated videos."""


@dataclass(frozen=True)
class TrainVTTwins(Train[VTTwinsRecipe]):
    """Train S3D and a sentence tower with VT-TWINS: videos and their narration as sequences."""


@dataclass(frozen=True)
class TrainHTMAA(Train[HTMAARecipe]):
    """Fine-tune a dual encoder end to end on automatically aligned narration (HTM-AA)."""


@dataclass(frozen=True)
class TrainHowTo100M(Train[HowTo100MRecipe]):
    """Train a joint embedding of extracted features and text, or fine-tune one on pairs of a benchmark."""


@dataclass(frozen=True)
class TrainTan(Train[TanRecipe]):
    """Train a temporal aligner on features of long videos and the sentences of their speech."""


@dataclass(frozen=True)
class TrainCPD(Train[CPDRecipe]):
    """Train a 3-D ResNet and DistilBERT to tell every captioned video from all others (CPD)."""


@dataclass(frozen=True)
class TrainCPDFineTuning(Train[CPDFineTuningRecipe]):
    """Fine-tune the video trunk of a CPD or S3D model to tell actions apart."""


TRAIN_COMMANDS: dict[str, type[Train]] = {  # type: ignore[type-arg]
    "milnce": TrainMILNCE,
    "vt-twins": TrainVTTwins,
    "htm-aa": TrainHTMAA,
    "howto100m": TrainHowTo100M,
    "tan": TrainTan,
    "cpd": TrainCPD,
    "cpd-finetune": TrainCPDFineTuning,
}


def _preset_name(words: Sequence[str]) -> str | None:
    """What stands behind the last --preset, which decides the defaults before the options are read."""
    name = None
    for number, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option == "--preset":
            name = value if equals else next(iter(words[number + 1 :]), None)
    return name


def _first_line(described: object) -> str:
    return (inspect.getdoc(described) or "").split("\n")[0]


def report_result(result: TrainingResult, run: Path) -> None:
    """Print what a finished run has to say; of several processes of a run one does.

    Args:
        result: As the trainer gave it.
        run: The run folder.
    """
    if distributed.speaks_for_all():
        print(describe_result(result, run))


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
