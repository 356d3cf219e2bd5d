"""The MIL-NCE recipe on a few small videos: what it writes, what it refuses, and that it resumes exactly."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from narravid.bad_items import BadItems, TooManyBadItemsError
from narravid.config import from_dict, to_dict
from narravid.errors import CheckpointError, ConfigError, NarravidError
from narravid.models.hub import load, save_model
from narravid.recipes.milnce import MILNCERecipe
from narravid.recipes.registry import RECIPES, resume_run
from narravid.text.words import Vocabulary
from narravid.training import checkpoint
from narravid.training.logging import read_log
from narravid.training.run import read_run_config
from small_corpus import small_recipe, write_narrated_videos
from tiny_corpus import make_tiny_s3d


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_narrated_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def finished(videos, tmp_path_factory):
    """A whole run of four steps, two to an epoch."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    result = small_recipe(videos, log_every_steps=1).train(run)
    return run, result


def weights(run):
    return load_file(run / "model" / "model.safetensors")


def test_a_run_leaves_everything_that_a_reader_needs(finished, videos):
    run, result = finished
    assert result.step == 4
    assert [entry["step"] for entry in read_log(run)] == [1, 2, 3, 4]
    assert [entry["epoch"] for entry in read_log(run)] == [0, 0, 1, 1]
    assert (run / "bad_items.csv").read_text() == "path,reason,times\n"
    for name in ("config.json", "environment.json", "initial_model/config.json", "corpus.json", "curves.png"):
        assert (run / name).is_file(), name
    assert json.loads((run / "corpus.json").read_text())["num_captions"] == 18
    model = load(run)
    assert model.encode_text(["a red square"]).shape == (1, 8)
    assert model.clip_spec.crop == "center"


def test_the_vocabulary_is_built_from_the_captions_and_word_vectors_are_trained(finished, videos):
    run, _ = finished
    words = load(run / "initial_model").vocabulary
    assert {"red", "green", "blue", "square"} <= set(words)
    assert "webvtt" not in words
    shorter = small_recipe(videos, num_steps=1)
    state = checkpoint.load_checkpoint(checkpoint.checkpoint_path(run, 4))
    moved = [key for key in state["model"] if "word_embedding" in key]
    assert moved
    assert shorter.model.word_vectors is None
    assert load(run).text.word_embedding.weight.requires_grad


def test_the_configuration_leads_back_to_the_same_recipe_with_absolute_paths(finished, videos):
    run, _ = finished
    name, config = read_run_config(run)
    assert RECIPES[name] is MILNCERecipe
    assert from_dict(MILNCERecipe, config, source="test") == small_recipe(videos, log_every_steps=1)
    assert to_dict(from_dict(MILNCERecipe, config, source="test")) == config


def test_relative_paths_are_saved_as_absolute_ones(videos, tmp_path, monkeypatch):
    monkeypatch.chdir(videos)
    recipe = small_recipe(videos, num_steps=1)
    relative = dataclasses.replace(recipe.data, root=type(videos)("../" + videos.name))
    dataclasses.replace(recipe, data=relative).train(tmp_path / "run")
    assert read_run_config(tmp_path / "run")[1]["data"]["root"] == str(videos)


def test_the_defaults_are_the_published_setting(tmp_path):
    recipe = MILNCERecipe(small_recipe(tmp_path).data.__class__(tmp_path))
    assert (recipe.optim.name, recipe.optim.lr, recipe.optim.schedule) == ("adam", 1e-3, "cosine")
    assert (recipe.model.clip_spec.num_frames, recipe.model.clip_spec.fps) == (16, 5.0)
    assert (recipe.model.clip_spec.size_pixels, recipe.model.max_words) == (224, 20)
    assert (recipe.model.similarity, recipe.model.temperature) == ("dot", None)
    assert recipe.data.sampling.num_candidates == 5
    assert recipe.data.augmentation.flip_probability == 0.5


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(finished, videos, tmp_path):
    run, _ = finished
    small_recipe(videos, log_every_steps=1).train(tmp_path / "again")
    dataclasses.replace(small_recipe(videos), seed=1).train(tmp_path / "other")
    first, again, other = weights(run), weights(tmp_path / "again"), weights(tmp_path / "other")
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_a_run_cut_after_each_step_resumes_to_the_same_weights(finished, videos, tmp_path):
    run, _ = finished
    kept = tmp_path / "kept"
    small_recipe(videos, log_every_steps=1, checkpoint_every_steps=1, keep_checkpoints=9).train(kept)
    for step in (1, 2, 3):
        cut = tmp_path / f"cut{step}"
        shutil.copytree(kept, cut, ignore=shutil.ignore_patterns("model", "curves.png"))
        for other, path in checkpoint.list_checkpoints(cut):
            if other > step:
                path.unlink()
        resume_run(cut)
        assert all(torch.equal(value, weights(cut)[key]) for key, value in weights(run).items()), step
        losses = [entry["loss"] for entry in read_log(cut)]
        assert losses == [entry["loss"] for entry in read_log(run)]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_and_memory_storage_do_not_change_where_resuming_leads(finished, videos, tmp_path, workers):
    run, _ = finished
    shutil.copytree(run, tmp_path / "cut")
    for _, path in checkpoint.list_checkpoints(tmp_path / "cut"):
        path.unlink()
    resume_run(tmp_path / "cut", workers=workers, device="cpu")
    assert all(torch.equal(value, weights(tmp_path / "cut")[key]) for key, value in weights(run).items())
    recipe = small_recipe(videos)
    in_memory = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, storage="memory"))
    in_memory.train(tmp_path / "memory")
    dataclasses.replace(in_memory, workers=workers).train(tmp_path / "watched")
    first, second = weights(tmp_path / "memory"), weights(tmp_path / "watched")
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_evaluating_while_training_leaves_the_weights_as_they_would_be(finished, videos, tmp_path):
    run, _ = finished
    pairs = tmp_path / "pairs.csv"
    rows = [f"{videos / name}1.mp4,a {name} square" for name in ("red", "green", "blue")]
    pairs.write_text("\n".join(["video_path,text", *rows]) + "\n")
    recipe = small_recipe(videos, log_every_steps=1, evaluate_every_steps=1)
    evaluation = dataclasses.replace(recipe.evaluation, pairs=pairs, num_windows=1)
    result = dataclasses.replace(recipe, evaluation=evaluation).train(tmp_path / "run")
    assert 0 <= result.metrics["R@1"] <= 1
    assert result.metrics["R@10"] == 1.0
    assert result.best_step == 1
    events = [entry["event"] for entry in read_log(tmp_path / "run")]
    assert events == ["train", "evaluation"] * 4
    theirs = checkpoint.load_checkpoint(checkpoint.checkpoint_path(run, 4))["model"]
    ours = checkpoint.load_checkpoint(checkpoint.checkpoint_path(tmp_path / "run", 4))["model"]
    assert all(torch.equal(theirs[key], ours[key]) for key in theirs)


def test_given_word_vectors_stay_fixed(videos, tmp_path):
    words = ["square", "red", "green", "blue"]
    Vocabulary(words).save(tmp_path / "words.json")
    table = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", table)
    recipe = small_recipe(videos, num_steps=2)
    recipe = dataclasses.replace(
        recipe,
        data=dataclasses.replace(recipe.data, vocabulary=tmp_path / "words.json"),
        model=dataclasses.replace(recipe.model, word_vectors=tmp_path / "vectors.npy"),
    )
    recipe.train(tmp_path / "run")
    trained = load(tmp_path / "run").text.word_embedding.weight
    np.testing.assert_array_equal(trained[1:].detach().numpy(), table)
    assert not trained[0].any()


# ---------------------------------------------------------------- what is refused, before a folder is made


def refused(recipe, run, message, error=ConfigError):
    with pytest.raises(error, match=message):
        recipe.train(run)
    assert not run.exists()


def changed(recipe, part, **values):
    return dataclasses.replace(recipe, **{part: dataclasses.replace(getattr(recipe, part), **values)})


def test_faults_of_the_data_are_named_with_a_remedy(videos, tmp_path, caplog):
    recipe, run = small_recipe(videos), tmp_path / "run"
    refused(changed(recipe, "data", root=tmp_path / "none"), run, r"data\.root: .*none is not a folder")
    refused(changed(recipe, "data", captions=tmp_path / "none"), run, r"data\.captions")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(changed(recipe, "data", root=empty), run, "no narrated video: found no video")
    shutil.copy(videos / "red1.mp4", empty / "silent.mp4")
    refused(
        changed(recipe, "data", root=empty), run, r"1 videos, none of them usable \(.*silent.mp4: no tran"
    )
    refused(
        changed(recipe, "data", batch_size=256),
        run,
        r"batch_size is 256 videos, but .* has only 6 narrated ones; set --data\.batch-size to 6 or less",
    )
    refused(changed(recipe, "data", vocabulary=tmp_path / "words.json"), run, "words.json", NarravidError)
    refused(changed(recipe, "data", min_word_count=10_000), run, "no vocabulary can be built")
    refused(changed(recipe, "evaluation", pairs=tmp_path / "pairs.csv"), run, "pairs.csv", NarravidError)


def test_videos_that_cannot_be_used_are_counted_and_named_and_the_rest_is_trained_on(tmp_path, caplog):
    root = write_narrated_videos(tmp_path / "videos")
    (root / "red1.vtt").unlink()
    (root / "blue1.vtt").write_text("no header")
    recipe = changed(small_recipe(root, num_steps=1), "data", max_bad_share=0.2)
    with caplog.at_level(logging.WARNING):
        recipe.train(tmp_path / "run")
    assert "2 of 6 videos are left out" in caplog.text
    assert "red1.mp4: no transcript" in caplog.text
    table = BadItems.read(tmp_path / "run" / "bad_items.csv")
    assert table.reasons.keys() == {str(root / "red1.mp4"), str(root / "blue1.mp4")}
    assert "no transcript of the same name" in table.reasons[str(root / "red1.mp4")]
    assert "blue1.vtt, line 1" in table.reasons[str(root / "blue1.mp4")]
    with pytest.raises(TooManyBadItemsError, match=r"1 of 6 items .* more than 5%.*stopped.bad_items\.csv"):
        small_recipe(root, num_steps=1).train(tmp_path / "stopped")
    assert len(BadItems.read(tmp_path / "stopped" / "bad_items.csv")) == 2
    recipe.train(tmp_path / "stopped")  # nothing is in its way


def test_faults_of_other_settings_are_named(videos, tmp_path):
    recipe, run = small_recipe(videos), tmp_path / "run"
    refused(dataclasses.replace(recipe, device="cuda:99"), run, "device 'cuda:99' cannot be used")
    refused(dataclasses.replace(recipe, device="toaster"), run, "device 'toaster' cannot be used")
    refused(changed(recipe, "optim", warmup_steps=50), run, "warmup_steps is 50", ValueError)
    with pytest.raises(ValueError, match="needs the vocabulary they belong to"):
        changed(recipe, "model", word_vectors=tmp_path / "vectors.npy")
    with pytest.raises(ValueError, match="at least 2 clips"):
        changed(recipe, "data", batch_size=1)
    with pytest.raises(ValueError, match="even number of frames and pixels"):
        changed(
            recipe,
            "model",
            video=dataclasses.replace(recipe.model.video, stem="space_to_depth"),
            clip_spec=dataclasses.replace(recipe.model.clip_spec, num_frames=5),
        )
    with pytest.raises(ValueError, match="must not be negative"):
        dataclasses.replace(recipe, seed=-1)
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'bfloat16', .*, got 'int8'"):
        dataclasses.replace(recipe, dtype="int8")
    for setting, values, message in (
        ("data", {"storage": "disk"}, "storage must be one of 'files', 'memory', got 'disk'"),
        ("data", {"batch_size": 0}, "batch_size must be at least 1"),
        ("data", {"max_vocabulary_words": 0}, "max_vocabulary_words must be at least 1"),
        ("data", {"max_memory_gib": 0.0}, "max_memory_gib must be positive"),
        ("data", {"max_bad_share": 1.5}, "max_bad_share must be 0 to 1"),
        ("evaluation", {"num_windows": 0}, "num_windows and batch_size must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            changed(recipe, setting, **values)


def test_a_folder_that_holds_a_run_is_refused_and_untouched(finished, videos):
    run, _ = finished
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.raises(ConfigError, match=r"already holds a run: go on with `narravid resume"):
        small_recipe(videos).train(run)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


# ---------------------------------------------------------------- resuming


def test_resuming_on_other_videos_is_refused(tmp_path):
    root = write_narrated_videos(tmp_path / "videos")
    run = tmp_path / "run"
    small_recipe(root, num_steps=2).train(run)
    text = (root / "red1.vtt").read_text()
    (root / "red1.vtt").write_text(text.replace("red", "rosy"))
    with pytest.raises(ConfigError, match=r"what the run is trained on has changed since .* began"):
        resume_run(run)
    (root / "red1.vtt").unlink()
    with pytest.raises(ConfigError, match=r"6 videos, 18 captions then, 5 videos, 15 captions now"):
        resume_run(run)
    (root / "red1.vtt").write_text(text)
    assert resume_run(run).step == 2
    (run / "corpus.json").unlink()
    with pytest.raises(ConfigError, match=r"corpus\.json, which says what the run is trained on, is gone"):
        resume_run(run)


def test_folders_without_a_run_or_with_an_unknown_one_are_refused(finished, tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        resume_run(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    content = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**content, "recipe": "milnse"}))
    with pytest.raises(ConfigError, match=r"unknown recipe 'milnse' \(did you mean 'milnce'"):
        resume_run(run)
    content["config"]["optim"]["learning_rate"] = 3
    (run / "config.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"unknown key 'optim\.learning_rate'"):
        resume_run(run)
    del content["config"]["optim"]["learning_rate"]
    (run / "config.json").write_text(json.dumps(content))
    save_model(make_tiny_s3d(), run / "initial_model")
    with pytest.raises(CheckpointError, match="does not fit this run's model"):
        resume_run(run)
