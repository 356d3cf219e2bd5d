"""`narravid train RECIPE --preset NAME`: what it starts from, what overrides it, what help and errors say."""

from __future__ import annotations

from pathlib import Path

import pytest

from narravid.cli.main import main
from narravid.cli.options import parse_options
from narravid.cli.train import TRAIN_COMMANDS
from narravid.errors import ConfigError
from narravid.recipes.registry import RECIPES


def parsed(*words: str):
    recipe, *options = words
    command = parse_options(TRAIN_COMMANDS[recipe], options, program=f"narravid train {recipe}")
    assert command is not None
    return command


def test_every_recipe_has_a_command_and_a_tiny_preset():
    assert TRAIN_COMMANDS.keys() == RECIPES.keys()
    for name, kind in RECIPES.items():
        command = parsed(name, "--preset", "tiny", "--output", "run")
        assert command.recipe == kind.presets()["tiny"]()
        assert command.output == Path("run")


@pytest.mark.parametrize("words", [("--preset", "tiny"), ("--preset=tiny",)])
def test_options_override_the_preset_wherever_they_stand(words):
    options = ("--output", "run", "--seed", "7", "--data.batch-size", "5", *words, "--trainer.num-steps", "9")
    recipe = parsed("milnce", *options).recipe
    tiny = RECIPES["milnce"].presets()["tiny"]()
    assert (recipe.seed, recipe.data.batch_size, recipe.trainer.num_steps) == (7, 5, 9)
    assert recipe.data.sampling == tiny.data.sampling
    assert recipe.model == tiny.model
    assert recipe.trainer.evaluate_at_start


def test_without_a_preset_the_published_setting_holds_and_the_data_must_be_named(capsys):
    recipe = parsed("vt-twins", "--data.root", "videos", "--output", "run").recipe
    assert recipe.data.sampling.clips_per_video == 8
    assert recipe.optim.warmup_steps == 100_000
    with pytest.raises(ConfigError, match=r"--data\.root"):
        parsed("vt-twins", "--output", "run")
    with pytest.raises(ConfigError, match="--output"):
        parsed("vt-twins", "--preset", "tiny")


def test_an_unknown_preset_is_refused_with_those_there_are(capsys):
    assert main(["train", "vt-twins", "--preset", "papre", "--output", "run"]) == 2
    said = capsys.readouterr().err
    assert said == "narravid: there is no preset 'papre'; there are tiny, paper (did you mean 'paper'?)\n"
    assert main(["train", "milnce", "--output", "run", "--preset"]) == 2
    assert "--preset" in capsys.readouterr().err


def test_help_says_what_presets_there_are_and_what_they_are_for(capsys):
    assert main(["train", "vt-twins", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Presets, for --preset: tiny A toy world on a CPU" in shown
    assert "paper The published setting with temporal data augmentation; needs --data.root." in shown
    assert "--preset {None}|STR" in shown
    assert "--objective.s2dtw.augmentation" in shown
