"""The recipe of the temporal aligner: both stages, what is left out, and that it resumes exactly."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from narravid.bad_items import BadItems
from narravid.errors import CheckpointError, ConfigError
from narravid.models.aligner import TemporalAligner
from narravid.models.hub import load
from narravid.recipes.registry import resume_run
from narravid.recipes.tan import TanRecipe
from narravid.recipes.tan_config import AlignmentObjectiveConfig
from narravid.training import checkpoint
from narravid.training.logging import read_log
from narravid.video.durations import ALIGNMENT_DURATIONS
from small_features import small_tan, write_features
from tiny_corpus import save_tiny_s3d


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def first(features, tmp_path_factory):
    """A first stage of four steps with a checkpoint of each."""
    run = tmp_path_factory.mktemp("runs") / "first"
    small_tan(features, checkpoint_every_steps=1, keep_checkpoints=9, evaluate_at_start=True).train(run)
    return run


def second_stage(features, first, **trainer):
    recipe = small_tan(features, **trainer)
    objective = AlignmentObjectiveConfig(agreement="keep", momentum=0.5, use_alignability_head=True)
    return dataclasses.replace(recipe, stage=2, init=str(first), objective=objective)


@pytest.fixture(scope="module")
def second(features, first, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "second"
    second_stage(features, first, checkpoint_every_steps=1, keep_checkpoints=9).train(run)
    return run


def weights(run):
    return load_file(run / "model" / "model.safetensors")


def resumed_after(run, step, target):
    shutil.copytree(run, target, ignore=shutil.ignore_patterns("model", "curves.png"))
    for other, path in checkpoint.list_checkpoints(target):
        if other > step:
            path.unlink()
    resume_run(target)
    return target


def last_state(run):
    return checkpoint.load_checkpoint(checkpoint.checkpoint_path(run, 4))["model"]


def test_a_first_stage_leaves_an_aligner_that_opens(first):
    model = load(first)
    assert isinstance(model, TemporalAligner)
    evaluations = [entry for entry in read_log(first) if entry["event"] == "evaluation"]
    assert [entry["step"] for entry in evaluations] == [0, 4]
    assert all(0 <= entry["R@1"] <= 1 and 0 <= entry["ROC-AUC"] <= 1 for entry in evaluations)
    trained = [entry for entry in read_log(first) if entry["event"] == "train"]
    assert {"loss", "dual", "joint"} <= trained[0].keys()
    assert "kept_share" not in trained[0]


def test_a_second_stage_has_the_average_of_the_weights_and_half_of_the_sentences(first, second):
    trained = [entry for entry in read_log(second) if entry["event"] == "train"]
    assert all(entry["kept_share"] == pytest.approx(0.5, abs=0.13) for entry in trained)
    assert {"alignability", "confident_share"} <= trained[0].keys()
    state = last_state(second)
    name = "encoders.video_projection.weight"
    online, target = state[f"network.online.{name}"], state[f"network.target.{name}"]
    assert not torch.equal(online, target)
    assert torch.equal(weights(second)[name], online)
    begun = load_file(second / "initial_model" / "model.safetensors")
    assert torch.equal(begun[name], weights(first)[name])
    assert "encoders.alignability_head.weight" in begun


def test_the_average_follows_the_weights_of_each_step(second):
    name = "encoders.video_projection.weight"
    average = load_file(second / "initial_model" / "model.safetensors")[name]
    for step in (1, 2, 3, 4):
        state = checkpoint.load_checkpoint(checkpoint.checkpoint_path(second, step))["model"]
        average = 0.5 * average + 0.5 * state[f"network.online.{name}"]
        torch.testing.assert_close(state[f"network.target.{name}"], average)


@pytest.mark.parametrize("stage", [pytest.param("first", marks=pytest.mark.slow), "second"])
def test_a_run_cut_after_two_steps_resumes_to_the_same_weights(request, tmp_path, stage):
    run = request.getfixturevalue(stage)
    cut = resumed_after(run, 2, tmp_path / "cut")
    assert all(torch.equal(value, last_state(cut)[key]) for key, value in last_state(run).items())
    assert all(torch.equal(value, weights(cut)[key]) for key, value in weights(run).items())
    losses = [entry["loss"] for entry in read_log(cut) if entry["event"] == "train"]
    assert losses == [entry["loss"] for entry in read_log(run) if entry["event"] == "train"]


def test_the_defaults_are_the_published_setting():
    recipe = TanRecipe()
    assert (recipe.data.batch_size, recipe.data.sampling.window_seconds) == (128, 64)
    assert recipe.data.durations == ALIGNMENT_DURATIONS
    assert (recipe.optim.name, recipe.optim.lr, recipe.optim.weight_decay) == ("adamw", 1e-4, 1e-5)
    assert (recipe.optim.warmup_steps, recipe.optim.schedule, recipe.trainer.num_epochs) == (
        1000,
        "cosine",
        20,
    )
    assert recipe.objective.loss_config(stage=1, alignability_layer=2).loss_threshold == 0
    assert recipe.objective.loss_config(stage=2, alignability_layer=2).loss_threshold == 0.5
    assert (recipe.objective.momentum, recipe.objective.temperature) == (0.999, 0.07)
    assert (recipe.model.embed_dim, recipe.model.num_encoder_layers, recipe.model.num_joint_layers) == (
        512,
        6,
        6,
    )
    assert (recipe.model.features.dims, recipe.model.max_words) == ((1024,), 32)


def test_held_out_and_long_videos_are_left_out(features, tmp_path):
    folder = tmp_path / "features"
    shutil.copytree(features, folder)
    np.save(folder / "2d" / "video5.npy", np.ones((20, 4), np.float16), allow_pickle=False)
    (tmp_path / "held_out.txt").write_text("video0\nvideo1\n")
    recipe = small_tan(folder, num_steps=1)
    data = dataclasses.replace(
        recipe.data, held_out=tmp_path / "held_out.txt", max_video_seconds=15.0, batch_size=4
    )
    with pytest.raises(ConfigError, match=r"data.batch_size is 4, but there are only 3"):
        dataclasses.replace(recipe, data=data).train(tmp_path / "run")


def test_the_sentence_tower_may_come_from_an_s3d(features, tmp_path):
    save_tiny_s3d(tmp_path / "s3d")
    recipe = small_tan(features)
    model = dataclasses.replace(recipe.model, sentences_from=str(tmp_path / "s3d"), freeze_sentences=True)
    recipe = dataclasses.replace(recipe, model=model)
    data = recipe.find_data(BadItems())
    aligner, source = recipe.first_model(data), load(tmp_path / "s3d")
    assert aligner.vocabulary == source.vocabulary
    tower = aligner.text.state_dict()
    assert all(torch.equal(value, tower[key]) for key, value in source.text.state_dict().items())
    recipe.build_task(data, aligner)
    assert not any(parameter.requires_grad for parameter in aligner.text.parameters())


def test_what_does_not_fit_is_told(features, first, tmp_path):
    recipe = small_tan(features)
    with pytest.raises(ConfigError, match="stage 2 goes on from a first stage: set --init"):
        dataclasses.replace(recipe, stage=2).train(tmp_path / "run")
    save_tiny_s3d(tmp_path / "s3d")
    with pytest.raises(CheckpointError, match="holds a S3DDualEncoder, and an aligner is trained here"):
        dataclasses.replace(recipe, init=str(tmp_path / "s3d")).train(tmp_path / "run")
    model = dataclasses.replace(recipe.model, sentences_from=str(first))
    with pytest.raises(CheckpointError, match="model.sentences_from needs an S3D dual encoder"):
        dataclasses.replace(recipe, model=model).train(tmp_path / "run")
    model = dataclasses.replace(recipe.model, max_positions=recipe.data.sampling.window_seconds - 1)
    with pytest.raises(
        ConfigError, match=r"window_seconds is \d+, and the aligner has positions for \d+ sec"
    ):
        dataclasses.replace(recipe, model=model).train(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\]"):
        AlignmentObjectiveConfig(momentum=2.0)
