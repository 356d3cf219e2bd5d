"""How a run of any recipe begins, and what it says when too many of its files are bad."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from narravid import distributed
from narravid.bad_items import BAD_ITEMS_NAME, BadItems, TooManyBadItemsError
from narravid.errors import ConfigError
from narravid.files import write_json
from narravid.models.hub import load
from narravid.protocols import Model
from narravid.recipes.corpus import CORPUS_NAME
from narravid.training.config import TrainerConfig
from narravid.training.run import create_run, refuse_existing_run

__all__ = [
    "INITIAL_FOLDER",
    "bad_items_named",
    "begin_run",
    "load_initial_model",
    "refuse_frozen_noise",
    "refuse_large_batch",
    "warn_of_unused_model",
]

INITIAL_FOLDER = "initial_model"
"""The model that a run was begun with, in its folder."""

_log = logging.getLogger(__name__)


def refuse_frozen_noise(trainer: TrainerConfig, *, init: str | None) -> None:
    """Frozen batch normalisation needs statistics, which random weights do not have.

    Args:
        trainer: How the run trains.
        init: Weights that it starts from.

    Raises:
        ConfigError: If it is to train on frozen statistics and starts from random weights.
    """
    if init is None and trainer.batch_norm == "frozen":
        raise ConfigError(
            "frozen batch normalisation keeps the statistics of trained weights: name some with --init,"
            " or set --trainer.batch-norm own to start from random ones",
            key="init",
        )


def load_initial_model(run: Path, *, device: torch.device) -> Model:
    """The model that a run was begun with.

    Raises:
        ConfigError: If the run folder lacks it.
        CheckpointError: If it is damaged.
    """
    folder = run / INITIAL_FOLDER
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}, the model that the run was begun with, is gone, or an earlier version of Narravid"
            " began the run: put it back, or start a new run"
        )
    return load(folder, device=device)


def warn_of_unused_model(recipe: Any, *, but_for_clips: bool = False) -> None:  # noqa: ANN401 - any recipe
    """`init` brings its own network: say so where options of `model` were chosen as well.

    Args:
        recipe: A recipe with a field `model`.
        but_for_clips: Whether the clips are those of `model` nevertheless.
    """
    [default] = [field.default_factory for field in fields(recipe) if field.name == "model"]
    presets = type(recipe).presets().values()
    usual = [default(), *(preset().model for preset in presets)]  # type: ignore[operator]
    chosen = recipe.model
    if but_for_clips:
        usual = [replace(model, clip_spec=chosen.clip_spec) for model in usual]
    if chosen not in usual:
        if but_for_clips:
            _log.warning("init brings its own network and words: of model's options only clip_spec counts")
        else:
            _log.warning("init brings its own network, words and clips: the options of model have no effect")


def refuse_large_batch(batch_size: int, num_items: int) -> None:
    """What is trained on must fill at least one batch.

    Raises:
        ConfigError: If it does not.
    """
    if batch_size > num_items:
        raise ConfigError(
            f"data.batch_size is {batch_size}, but there are only {num_items} to draw from; set"
            f" --data.batch-size to {num_items} or less",
            key="data.batch_size",
        )


def begin_run(
    run: Path,
    *,
    recipe: str,
    config: Mapping[str, Any],
    corpus: Mapping[str, object],
    save_start: Callable[[Path], None],
) -> None:
    """Lay down a new run folder; of several processes the first one does it, the others wait.

    Args:
        run: The folder; made when absent.
        recipe: Name of the recipe.
        config: The recipe's whole configuration in JSON types.
        corpus: What the batches depend on besides the configuration.
        save_start: Writes into the folder what the run begins with.

    Raises:
        ConfigError: If the folder holds a run by now, or cannot be written; nothing in it is touched then.
    """
    refuse_existing_run(run)  # again: preparing may take long, and another run may have begun
    if distributed.rank() == 0:
        save_start(run)
        write_json(run / CORPUS_NAME, corpus)
    create_run(run, recipe=recipe, config=config)


@contextmanager
def bad_items_named(run: Path, bad: BadItems) -> Iterator[None]:
    """Leave the table of the bad files in the run folder where too many of them end the block.

    Args:
        run: The run folder.
        bad: What could not be used so far.

    Raises:
        TooManyBadItemsError: That of the block; says where the table is and how to bear more.
    """
    try:
        yield
    except TooManyBadItemsError as error:
        table = run / BAD_ITEMS_NAME
        if distributed.rank() == 0:  # the table of another process would replace that of all
            bad.write(table)
        raise TooManyBadItemsError(
            f"{error}; all of them are in {table}; data.max_bad_share sets how many are borne"
        ) from error
