"""The CPD recipe on a few small videos: what it writes, what it refuses, and that it resumes exactly."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from narravid.config import from_dict, to_dict
from narravid.data.captioned import CaptionedClip
from narravid.errors import CheckpointError, ConfigError
from narravid.evaluation.pairs import RetrievalPair, read_pairs_csv
from narravid.evaluation.retrieval import evaluate_pairs
from narravid.inference.embedder import Embedder
from narravid.losses.curriculum import TextEncoderCurriculum
from narravid.models.cpd import PRE_TRAINING_CLIPS
from narravid.models.hub import load
from narravid.recipes.cpd import CPDRecipe
from narravid.recipes.cpd_config import CaptionedDataConfig, CPDModelConfig
from narravid.recipes.registry import RECIPES, resume_run
from narravid.training import checkpoint
from narravid.training.logging import read_log
from narravid.training.optim_config import ParameterGroup
from narravid.training.run import read_run_config
from narravid.training.schedules import learning_rate_at
from narravid.video.watched import WatchedDecoder
from small_clips import small_cpd_recipe, write_clip_lists


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_clip_lists(tmp_path_factory.mktemp("lists"))


@pytest.fixture(scope="module")
def finished(lists, tmp_path_factory):
    """A whole run of four steps, two to an epoch, that keeps the state after each."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    recipe = small_cpd_recipe(lists, log_every_steps=1, checkpoint_every_steps=1, keep_checkpoints=9)
    return run, recipe.train(run)


def weights(run):
    return load_file(run / "model" / "model.safetensors")


def state_at(run, step):
    return checkpoint.load_checkpoint(checkpoint.checkpoint_path(run, step))["model"]


def changed(recipe, part, **changes):
    return replace(recipe, **{part: replace(getattr(recipe, part), **changes)})


def test_a_run_leaves_a_model_that_embeds_and_the_memory_in_its_checkpoints(finished, lists):
    run, result = finished
    assert result.step == 4
    assert [entry["epoch"] for entry in read_log(run)] == [0, 0, 1, 1]
    assert {"loss", "video_positive", "text_negative", "grad_norm"} <= read_log(run)[0].keys()
    model = load(run)
    assert model.encode_text(["a square on red"]).shape == (1, 4)
    assert {"square", "red", "on"} <= set(model.pieces.pieces)
    first, last = state_at(run, 1), state_at(run, 4)
    assert last["loss.bank.video_memory"].shape == (6, 4)
    assert torch.equal(first["loss.bank.text_normaliser"], last["loss.bank.text_normaliser"])
    moved = (first["loss.bank.video_memory"] != last["loss.bank.video_memory"]).any(dim=1)
    assert moved.all()  # each of the six samples came in the second epoch
    assert json.loads((run / "corpus.json").read_text())["num_samples"] == 6


@pytest.mark.parametrize(
    "step", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_run_that_was_cut_resumes_to_the_same_weights_and_memory(finished, tmp_path, step):
    run, _ = finished
    cut = tmp_path / "cut"
    shutil.copytree(run, cut, ignore=shutil.ignore_patterns("model", "curves.png"))
    for other, path in checkpoint.list_checkpoints(cut):
        if other > step:
            path.unlink()
    resume_run(cut)
    assert all(torch.equal(value, weights(cut)[key]) for key, value in weights(run).items())
    expected = state_at(run, 4)
    assert all(torch.equal(value, expected[key]) for key, value in state_at(cut, 4).items())
    assert [entry["loss"] for entry in read_log(cut)] == [entry["loss"] for entry in read_log(run)]


def test_resuming_on_other_samples_is_refused(finished, lists, tmp_path):
    run, _ = finished
    cut = shutil.copytree(run, tmp_path / "cut")
    name, config = read_run_config(cut)
    others = tmp_path / "pairs.csv"
    others.write_text((lists / "pairs.csv").read_text().replace("a square", f"{lists}/a"))
    shutil.copy(lists / "pairs.csv", others)
    others.write_text(others.read_text().replace("a square on red 0", "something else"))
    config["data"]["pairs"] = str(others)
    (cut / "config.json").write_text(json.dumps({"recipe": name, "config": config}))
    with pytest.raises(ConfigError, match=r"has changed since .* \(6 samples then, 6 samples now\)"):
        resume_run(cut)


def test_the_configuration_leads_back_to_the_same_recipe(finished, lists):
    run, _ = finished
    name, config = read_run_config(run)
    assert RECIPES[name] is CPDRecipe
    again = from_dict(CPDRecipe, config, source="test")
    assert again == small_cpd_recipe(lists, log_every_steps=1, checkpoint_every_steps=1, keep_checkpoints=9)
    assert to_dict(again) == config


def test_the_defaults_are_the_published_setting():
    recipe = CPDRecipe()
    optim = recipe.optim
    assert (optim.name, optim.momentum, optim.weight_decay, optim.max_grad_norm) == ("sgd", 0.9, 1e-4, 20.0)
    rates = [learning_rate_at(optim, epoch, num_steps=300, steps_per_epoch=1) for epoch in range(300)]
    expected = [0.1] * 100 + [0.01] * 101 + [0.001] * 49 + [0.0001] * 50
    assert rates == pytest.approx(expected)
    [group] = optim.groups
    curriculum = TextEncoderCurriculum()
    assert (group.first_epoch, group.lr, group.schedule) == (
        curriculum.frozen_epochs,
        curriculum.learning_rate,
        "constant",
    )
    assert (recipe.data.batch_size, recipe.trainer.num_epochs) == (256, 300)
    assert (recipe.objective.num_negatives, recipe.objective.temperature) == (16_392, 0.07)
    assert recipe.objective.bank_momentum == 0.5
    assert recipe.model.clip_spec == PRE_TRAINING_CLIPS
    assert recipe.model.max_tokens == 64
    assert recipe.data.augmentation.flip_probability == 0.5


def measured(run, pairs):
    """Retrieval by the model that a run left, apart from the run."""
    with WatchedDecoder() as decoder:
        return evaluate_pairs(Embedder(load(run)), pairs, num_windows=4, decoder=decoder).text_to_video


def test_evaluation_finds_the_clips_of_held_out_sentences(lists, tmp_path):
    recipe = changed(small_cpd_recipe(lists, num_steps=1), "evaluation", pairs=lists / "pairs.csv")
    result = changed(recipe, "trainer", evaluate_at_start=True).train(tmp_path / "run")
    events = [entry["event"] for entry in read_log(tmp_path / "run")]
    assert events.count("evaluation") == 2
    assert result.metrics == measured(tmp_path / "run", read_pairs_csv(lists / "pairs.csv"))


def test_instagram_trains_on_its_training_videos_and_is_judged_by_its_validation_videos(
    lists, tmp_path, caplog
):
    root = tmp_path / "videos"
    root.mkdir()
    entries = {"gone": {"subset": "validation", "caption": "not there"}}
    for number in range(6):
        part = "training" if number < 4 else "validation"
        entries[str(number)] = {"subset": part, "caption": f"clip {number}"}
        shutil.copy(lists / "red.mp4", root / f"trimmed_resize_{number}.mp4")
    (tmp_path / "list.json").write_text(json.dumps(entries))
    recipe = small_cpd_recipe(lists, num_steps=1)
    data = CaptionedDataConfig(batch_size=2, instagram=tmp_path / "list.json", root=root)
    recipe = changed(replace(recipe, data=data), "objective", num_negatives=3)
    assert recipe.read_samples().samples[3] == CaptionedClip(root / "trimmed_resize_3.mp4", "clip 3")
    result = recipe.train(tmp_path / "run")
    held_out = [
        RetrievalPair(str(root / f"trimmed_resize_{number}.mp4"), f"clip {number}") for number in (4, 5)
    ]
    assert result.metrics == measured(tmp_path / "run", held_out)
    assert "judged without 1 of 3 validation videos; the first, " in caplog.text
    assert state_at(tmp_path / "run", 1)["loss.bank.video_memory"].shape == (4, 4)


@pytest.mark.slow
def test_a_run_may_begin_with_the_weights_of_another(finished, lists, tmp_path):
    run, _ = finished
    recipe = replace(small_cpd_recipe(lists, num_steps=1), init=str(run))
    recipe = changed(recipe, "model", max_tokens=5)  # without effect
    recipe = changed(recipe, "optim", lr=1e-30, weight_decay=0.0)
    recipe.train(tmp_path / "run")
    before, after = weights(run), weights(tmp_path / "run")
    trained = [key for key in before if "running" not in key and "num_batches" not in key]
    assert all(torch.equal(before[key], after[key]) for key in trained)
    assert load(tmp_path / "run").config.max_tokens == 10
    shutil.rmtree(tmp_path / "run" / "model")
    for _, path in checkpoint.list_checkpoints(tmp_path / "run"):
        path.unlink()
    resume_run(tmp_path / "run")
    assert all(torch.equal(value, weights(tmp_path / "run")[key]) for key, value in after.items())


def write_distilbert(folder, recipe):
    """A published text encoder of the recipe's shape, with vocabulary."""
    model = load(recipe)
    text = model.config.text
    config = {
        "vocab_size": text.num_pieces,
        "max_position_embeddings": text.max_positions,
        "dim": text.hidden_dim,
        "hidden_dim": text.feedforward_dim,
        "n_layers": text.num_layers,
        "n_heads": text.num_heads,
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    model.pieces.save(folder / "vocab.txt")
    encoder = {key: 0.5 * value for key, value in model.text.encoder.state_dict().items()}
    save_file({f"distilbert.{key}": value for key, value in encoder.items()}, folder / "model.safetensors")
    return encoder


def test_a_published_text_encoder_stays_as_it_is_until_its_first_epoch(finished, lists, tmp_path):
    encoder = write_distilbert(tmp_path / "distilbert", finished[0])
    recipe = small_cpd_recipe(lists, num_steps=4, checkpoint_every_steps=1, keep_checkpoints=9)
    recipe = replace(recipe, model=replace(recipe.model, text_init=str(tmp_path / "distilbert")))
    group = ParameterGroup("model.text.encoder", lr=3e-5, first_epoch=1, schedule="constant")
    changed(recipe, "optim", groups=(group,)).train(tmp_path / "run")
    for key, value in encoder.items():
        assert torch.equal(state_at(tmp_path / "run", 2)[f"model.text.encoder.{key}"], value), key
    name = "transformer.layer.0.ffn.lin1.weight"
    after = state_at(tmp_path / "run", 4)[f"model.text.encoder.{name}"]
    assert 0 < (after - encoder[name]).abs().max() < 1e-2


def refused(recipe, run, message, error=ConfigError):
    with pytest.raises(error, match=message):
        recipe.train(run)
    assert not run.exists()


def test_faults_are_named_with_a_remedy_before_the_work_begins(finished, lists, tmp_path):
    recipe, run = small_cpd_recipe(lists), tmp_path / "run"
    refused(
        changed(recipe, "data", batch_size=7),
        run,
        "data.batch_size is 7, but there are only 6 to draw from; set --data.batch-size to 6 or less",
    )
    refused(
        changed(recipe, "objective", num_negatives=6),
        run,
        "num_negatives is 6, drawn from only 6 samples; set --objective.num-negatives below that",
    )
    refused(changed(recipe, "data", pairs=None), run, "there is nothing to learn from: set data.pairs, or")
    frozen = CPDRecipe().optim
    refused(
        replace(recipe, optim=frozen),
        run,
        "freezes model.text.encoder until epoch 150, and its weights would",
    )
    wrong = changed(recipe, "model", text_init=str(lists))
    refused(wrong, run, "no published DistilBERT: there is no model.safetensors", CheckpointError)
    with pytest.raises(ValueError, match="go together"):
        CaptionedDataConfig(instagram=tmp_path)
    with pytest.raises(ValueError, match=r"give data\.instagram or data\.pairs, not both"):
        CaptionedDataConfig(instagram=tmp_path, root=tmp_path, pairs=tmp_path)
    with pytest.raises(ValueError, match="set zoom to None, or storage to files"):
        CaptionedDataConfig(storage="memory")
    with pytest.raises(ValueError, match="leave out model.word_pieces"):
        CPDModelConfig(text_init="x", word_pieces=tmp_path)


def test_missing_videos_are_counted_and_many_stop_the_run(lists, tmp_path):
    entries, root = {}, tmp_path / "videos"
    root.mkdir()
    for number in range(6):
        entries[str(number)] = {"subset": "training", "caption": f"clip {number}"}
        if number:
            shutil.copy(lists / "red.mp4", root / f"trimmed_resize_{number}.mp4")
    (tmp_path / "list.json").write_text(json.dumps(entries))
    recipe = small_cpd_recipe(lists, num_steps=1)
    data = CaptionedDataConfig(batch_size=2, instagram=tmp_path / "list.json", root=root)
    with pytest.raises(Exception, match=r"1 of 6 items .* more than 5%.*bad_items\.csv"):
        replace(recipe, data=data).train(tmp_path / "run")
    replace(recipe, data=dataclasses.replace(data, max_bad_share=0.5)).train(tmp_path / "run2")
    assert "trimmed_resize_0,no such file,1" in (tmp_path / "run2" / "bad_items.csv").read_text()


def test_the_tiny_preset_is_whole():
    recipe = CPDRecipe.presets()["tiny"]()
    assert str(recipe.data.pairs) == str(recipe.evaluation.pairs) == "toy:tiny"
    assert recipe.trainer.evaluate_at_start
    assert from_dict(CPDRecipe, to_dict(recipe), source="test") == recipe
