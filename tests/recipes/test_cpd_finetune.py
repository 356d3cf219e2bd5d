"""CPD's fine-tuning on a few small videos: trunks to start from, frozen ones, the plateau, exact resume."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from models.small_cpd import small_cpd
from narravid.config import from_dict, to_dict
from narravid.data.labelled import LabelledList, read_labels_csv
from narravid.errors import CheckpointError, ConfigError
from narravid.evaluation.classification import evaluate_accuracy
from narravid.models.cpd import FINE_TUNING_CLIPS
from narravid.models.hub import load, save_model
from narravid.recipes.cpd_finetune import CPDFineTuningRecipe, LabelledDataConfig
from narravid.recipes.registry import RECIPES, resume_run
from narravid.training import checkpoint
from narravid.training.logging import read_log
from narravid.training.run import read_run_config
from narravid.video.watched import WatchedDecoder
from small_clips import small_fine_tuning, write_clip_lists
from tiny_corpus import save_tiny_s3d


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_clip_lists(tmp_path_factory.mktemp("lists"))


@pytest.fixture(scope="module")
def finished(lists, tmp_path_factory):
    """A whole run of four steps, two to an epoch, that keeps the state after each."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    recipe = small_fine_tuning(lists, log_every_steps=1, checkpoint_every_steps=1, keep_checkpoints=9)
    return run, recipe.train(run)


def state_at(run, step):
    return checkpoint.load_checkpoint(checkpoint.checkpoint_path(run, step))["model"]


def changed(recipe, part, **changes):
    return replace(recipe, **{part: replace(getattr(recipe, part), **changes)})


def test_a_run_leaves_a_classifier_and_measures_after_each_epoch(finished, lists):
    run, result = finished
    model = load(run)
    assert model.class_logits(torch.zeros(2, 3, 2, 16, 16)).shape == (2, 3)
    assert model.config.dropout == 0.8
    measured = [entry["step"] for entry in read_log(run) if entry["event"] == "evaluation"]
    assert measured == [2, 4]
    test = read_labels_csv(lists / "labels.csv").test
    with WatchedDecoder() as decoder:
        accuracy = evaluate_accuracy(model, test, num_windows=1, decoder=decoder)
    assert (accuracy.num_clips, accuracy.missing) == (len(test), ())
    measures = {entry["step"]: entry for entry in read_log(run) if entry["event"] == "evaluation"}
    best = measures[result.best_step]
    assert (best["top1"], best["top5"]) == (accuracy.top1, accuracy.top5)
    assert {"loss", "top1"} <= read_log(run)[0].keys()
    name, config = read_run_config(run)
    assert RECIPES[name] is CPDFineTuningRecipe
    assert to_dict(from_dict(CPDFineTuningRecipe, config, source="test")) == config


@pytest.mark.parametrize("step", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_a_run_that_was_cut_resumes_to_the_same_weights(finished, tmp_path, step):
    run, _ = finished
    cut = tmp_path / "cut"
    shutil.copytree(run, cut, ignore=shutil.ignore_patterns("model", "curves.png"))
    for other, path in checkpoint.list_checkpoints(cut):
        if other > step:
            path.unlink()
    resume_run(cut)
    expected = state_at(run, 4)
    assert all(torch.equal(value, expected[key]) for key, value in state_at(cut, 4).items())


def test_the_defaults_are_the_published_setting():
    recipe = CPDFineTuningRecipe()
    optim = recipe.optim
    assert (optim.name, optim.lr, optim.momentum, optim.weight_decay) == ("sgd", 0.02, 0.9, 1e-4)
    assert (optim.schedule, optim.patience, optim.factor) == ("plateau", 5, 0.1)
    assert (recipe.data.batch_size, recipe.trainer.num_epochs) == (128, 100)
    assert (recipe.model.dropout, recipe.model.clip_spec) == (0.8, FINE_TUNING_CLIPS)
    assert recipe.backbone == "fine-tuned"


@pytest.mark.parametrize("kind", ["cpd", pytest.param("s3d", marks=pytest.mark.slow)])
def test_the_trunk_of_a_pre_trained_model_is_fine_tuned_or_kept(lists, tmp_path, kind):
    start = tmp_path / "start"
    if kind == "cpd":
        save_model(small_cpd(), start)
    else:
        save_tiny_s3d(start)
    trunk = {
        key: value
        for key, value in load_file(start / "model.safetensors").items()
        if key.startswith("video.") and not key.startswith("video.fc")
    }
    recipe = replace(small_fine_tuning(lists, num_steps=2), init=str(start))
    recipe = changed(recipe, "model", clip_spec=replace(recipe.model.clip_spec, num_frames=4, size_pixels=32))
    replace(recipe, backbone="frozen").train(tmp_path / "frozen")
    recipe.train(tmp_path / "tuned")
    frozen = load_file(tmp_path / "frozen" / "model" / "model.safetensors")
    tuned = load_file(tmp_path / "tuned" / "model" / "model.safetensors")
    assert frozen.keys() == tuned.keys() == trunk.keys() | {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(frozen[key], value) for key, value in trunk.items())
    assert not all(torch.equal(tuned[key], value) for key, value in trunk.items())
    assert not torch.equal(frozen["classifier.weight"], tuned["classifier.weight"])
    model = load(tmp_path / "tuned")
    assert model.config.class_names == read_labels_csv(lists / "labels.csv").labels
    assert model.clip_spec.mean == load(start).clip_spec.mean
    assert model.clip_spec.num_frames == 4


def test_cpds_lists_are_read_with_their_root(lists, tmp_path):
    document = {
        "labels": ["red", "green"],
        "database": {
            "red": {"subset": "training", "annotations": {"label": "red"}},
            "green": {"subset": "validation", "annotations": {"label": "green"}},
        },
    }
    (tmp_path / "list.json").write_text(json.dumps(document))
    data = LabelledDataConfig(batch_size=1, labels=tmp_path / "list.json", format="cpd", root=lists)
    found = replace(small_fine_tuning(lists), data=data).read_samples()
    assert isinstance(found, LabelledList)
    assert [clip.path.name for clip in (*found.train, *found.test)] == ["red.mp4", "green.mp4"]
    table = tmp_path / "hmdb51.csv"
    table.write_text("video_id,label,split1,split2,split3\nred.avi,wave_test,1,2,0\n")
    data = LabelledDataConfig(batch_size=1, labels=table, format="hmdb51", root=lists, split=2)
    found = replace(small_fine_tuning(lists), data=data).read_samples()
    assert (found.labels, len(found.train), len(found.test)) == (("wave",), 0, 1)


def test_absent_test_videos_are_judged_as_misses(lists, tmp_path):
    entries = {
        name: {"subset": part, "annotations": {"label": "any"}}
        for name, part in (("red", "training"), ("green", "validation"), ("gone", "validation"))
    }
    (tmp_path / "list.json").write_text(json.dumps({"labels": ["any"], "database": entries}))
    data = LabelledDataConfig(batch_size=1, labels=tmp_path / "list.json", format="cpd", root=lists)
    recipe = replace(small_fine_tuning(lists, num_steps=1), data=replace(data, max_bad_share=0.5))
    result = recipe.train(tmp_path / "run")
    assert result.metrics == {"top1": 0.5, "top5": 0.5}  # there is only one class to choose


def test_a_model_is_not_judged_where_no_test_video_is_there(lists, tmp_path, caplog):
    table = lists / "without_test.csv"
    table.write_text("video_path,label,split\nred.mp4,any,train\ngone.mp4,any,test\n")
    data = LabelledDataConfig(batch_size=1, labels=table)
    recipe = replace(small_fine_tuning(lists, num_steps=1), data=data)
    with pytest.raises(ConfigError, match="this run has none: say what to evaluate on"):
        recipe.train(tmp_path / "run")
    result = changed(recipe, "optim", schedule="constant").train(tmp_path / "run")
    assert (result.step, result.metrics) == (1, {})
    assert "none of the 1 test videos is there: the model is not judged" in caplog.text


def refused(recipe, run, message, error=ConfigError):
    with pytest.raises(error, match=message):
        recipe.train(run)
    assert not run.exists()


def test_faults_are_named_with_a_remedy_before_the_work_begins(lists, tmp_path):
    recipe, run = small_fine_tuning(lists), tmp_path / "run"
    refused(replace(recipe, backbone="frozen"), run, "its weights would be random: set init")
    refused(changed(recipe, "data", labels=None), run, r"data\.labels is not set")
    refused(changed(recipe, "data", batch_size=7), run, "set --data.batch-size to 6 or less")
    refused(replace(recipe, init=str(tmp_path / "none")), run, "no such file or folder", CheckpointError)
    with pytest.raises(ValueError, match=r"data\.root, the folder of the videos, belongs to every format"):
        LabelledDataConfig(format="ucf101")
    with pytest.raises(ValueError, match="must be one of 'fine-tuned', 'frozen'"):
        replace(recipe, backbone="cold")


def test_the_tiny_preset_is_whole():
    recipe = CPDFineTuningRecipe.presets()["tiny"]()
    assert str(recipe.data.labels) == "toy:tiny"
    assert recipe.trainer.evaluate_at_start
    assert from_dict(CPDFineTuningRecipe, to_dict(recipe), source="test") == recipe
