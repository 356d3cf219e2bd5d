"""The recipes by name, and how a run folder leads back to its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from narravid.config import from_dict
from narravid.errors import ConfigError
from narravid.recipes import cpd, cpd_finetune, howto100m, htm_aa, milnce, tan, vt_twins
from narravid.training.config import TrainingResult
from narravid.training.run import CONFIG_NAME, read_run_config

__all__ = ["RECIPES", "Recipe", "resume_run"]


class Recipe(Protocol):
    """A frozen dataclass that holds everything a run needs."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @classmethod
    def presets(cls) -> Mapping[str, Callable[[], Self]]:
        """Whole recipes by name; the first line of each one's documentation says what it is for."""

    def train(self, run: Path, *, resume: bool = False) -> TrainingResult:
        """Train in a run folder."""


RECIPES: dict[str, type[Recipe]] = {
    milnce.RECIPE_NAME: milnce.MILNCERecipe,
    vt_twins.RECIPE_NAME: vt_twins.VTTwinsRecipe,
    htm_aa.RECIPE_NAME: htm_aa.HTMAARecipe,
    cpd.RECIPE_NAME: cpd.CPDRecipe,
    cpd_finetune.RECIPE_NAME: cpd_finetune.CPDFineTuningRecipe,
    howto100m.RECIPE_NAME: howto100m.HowTo100MRecipe,
    tan.RECIPE_NAME: tan.TanRecipe,
}


def resume_run(run: Path, *, device: str | None = None, workers: int | None = None) -> TrainingResult:
    """Go on with a run from nothing but its folder.

    Args:
        run: The run folder.
        device: Device to use instead of the run's own.
        workers: Decoding processes to use instead of the run's own number.

    Returns:
        What came of the run.

    Raises:
        ConfigError: If the folder holds no run, or one of an unknown recipe.
    """
    name, config = read_run_config(run)
    if name not in RECIPES:
        raise ConfigError(f"{run / CONFIG_NAME}: unknown recipe {name!r}", key=name, valid=RECIPES)
    recipe: Any = from_dict(RECIPES[name], config, source=str(run / CONFIG_NAME))
    changes = {"device": device, "workers": workers}
    recipe = dataclasses.replace(
        recipe, **{key: value for key, value in changes.items() if value is not None}
    )
    result: TrainingResult = recipe.train(run, resume=True)
    return result
