"""What keeps a run from beginning, and what it leaves when too many files are bad."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from narravid.bad_items import BadItems, TooManyBadItemsError
from narravid.errors import ConfigError
from narravid.recipes.beginning import bad_items_named, begin_run, load_initial_model
from narravid.recipes.cpd import CPDRecipe
from narravid.recipes.cpd_config import InstanceConfig
from narravid.recipes.cpd_finetune import CPDFineTuningRecipe
from narravid.recipes.htm_aa import HTMAADataConfig, HTMAARecipe


def begin(run, *, batch_size):
    begin_run(
        run,
        recipe="test",
        config={"batch_size": batch_size},
        corpus={"num_videos": batch_size},
        save_start=lambda folder: (folder / "start").write_text(str(batch_size)),
    )


def test_a_run_that_began_meanwhile_is_left_as_it_is(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    begin(run, batch_size=3)
    files = {path.name: path.read_bytes() for path in run.iterdir()}
    assert files["start"] == b"3"
    assert json.loads(files["corpus.json"]) == {"num_videos": 3}
    assert json.loads(files["config.json"]) == {"recipe": "test", "config": {"batch_size": 3}}
    with pytest.raises(ConfigError, match="already holds a run"):
        begin(run, batch_size=4)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == files


@pytest.mark.parametrize(
    "recipe", [CPDRecipe(), CPDFineTuningRecipe(), HTMAARecipe(HTMAADataConfig(root="toy:tiny"))]
)
def test_random_weights_have_no_statistics_to_freeze(tmp_path, recipe):
    frozen = replace(recipe, trainer=replace(recipe.trainer, batch_norm="frozen"))
    with pytest.raises(ConfigError, match=r"frozen batch normalisation .* name some with --init"):
        frozen.train(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_many_bad_files_are_all_in_the_table(tmp_path):
    bad = BadItems()
    bad.add("a.mp4", "no such file")
    with (
        pytest.raises(TooManyBadItemsError, match=r"too many; all of them are in .*bad_items\.csv"),
        bad_items_named(tmp_path, bad),
    ):
        raise TooManyBadItemsError("too many")
    assert "a.mp4,no such file,1" in (tmp_path / "bad_items.csv").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_negatives": 0}, "num_negatives must be at least 1, got 0"),
        ({"temperature": 0.0}, r"temperature must be positive, got 0\.0"),
        ({"bank_momentum": 1.0}, r"bank_momentum must lie in \[0, 1\), got 1\.0"),
    ],
)
def test_settings_of_the_memory_are_judged_before_anything_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        InstanceConfig(**options)


def test_a_run_without_its_first_model_is_told_so(tmp_path):
    with pytest.raises(ConfigError, match=r"initial_model, the model that the run was begun with, is gone"):
        load_initial_model(tmp_path, device=torch.device("cpu"))
