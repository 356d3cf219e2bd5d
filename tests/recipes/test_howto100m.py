"""The recipe on 2D and 3D features: what it writes, fine-tuning, bad files, and that it resumes exactly."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from narravid.bad_items import BadItems, TooManyBadItemsError
from narravid.config import from_dict
from narravid.errors import CheckpointError, ConfigError
from narravid.models.gated_embedding import GatedDualEncoder
from narravid.models.hub import load
from narravid.recipes.feature_pairs import FeatureFiles
from narravid.recipes.howto100m import HowTo100MRecipe
from narravid.recipes.registry import resume_run
from narravid.text.words import Vocabulary
from narravid.training import checkpoint
from narravid.training.logging import read_log
from narravid.training.run import read_run_config
from narravid.types import FeatureSpec
from small_features import DIM_2D, small_howto100m, write_features


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def finished(features, tmp_path_factory):
    """A whole run of four steps, two to an epoch, with a checkpoint of each."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    recipe = small_howto100m(features, checkpoint_every_steps=1, keep_checkpoints=9, evaluate_at_start=True)
    return run, recipe.train(run)


def weights(run):
    return load_file(run / "model" / "model.safetensors")


def test_a_run_leaves_a_model_that_opens(finished):
    run, result = finished
    assert result.step == 4
    entries = read_log(run)
    assert [entry["step"] for entry in entries if entry["event"] == "train"] == [1, 2, 3, 4]
    assert [entry["step"] for entry in entries if entry["event"] == "evaluation"] == [0, 4]
    # 1e-2, falling by a tenth with the second epoch
    assert [entry["lr"] for entry in entries if entry["event"] == "train"] == pytest.approx(
        [1e-2, 1e-2, 9e-3, 9e-3]
    )
    assert (run / "bad_items.csv").read_text() == "path,reason,times\n"
    model = load(run)
    assert isinstance(model, GatedDualEncoder)
    assert model.encode_text(["a red thing"]).shape == (1, 8)
    assert model.vocabulary == Vocabulary.from_captions(
        ["a red thing", "a blue thing", "a green thing"], lower_case=False
    ) or set(model.vocabulary) == {"a", "thing", "red", "green", "blue"}


def test_the_configuration_leads_back_to_the_recipe(finished, features):
    run, _ = finished
    name, config = read_run_config(run)
    assert name == "howto100m"
    rebuilt = from_dict(HowTo100MRecipe, config, source="test")
    assert rebuilt.data == small_howto100m(features).data
    assert rebuilt.model.features == FeatureSpec(("a", "b"), (4, 3))


def test_the_defaults_are_the_published_setting():
    recipe = HowTo100MRecipe()
    assert (recipe.data.batch_size, recipe.data.sampling.pairs_per_video) == (32, 64)
    assert (recipe.optim.name, recipe.optim.lr, recipe.optim.schedule) == ("adam", 1e-4, "exponential")
    assert (recipe.optim.factor, recipe.trainer.num_epochs) == (0.9, 15)
    assert recipe.objective.loss == "max-margin"
    assert (recipe.objective.max_margin.margin, recipe.objective.max_margin.hard_negative_rate) == (0.1, 0.5)
    assert (recipe.model.embed_dim, recipe.model.features.dims) == (4096, (2048, 2048))
    assert (recipe.data.features.rate_2d, recipe.data.features.rate_3d) == (1.0, 1.5)


def test_a_run_cut_in_mid_epoch_resumes_to_the_same_weights(finished, tmp_path):
    run, _ = finished
    cut = tmp_path / "cut"
    shutil.copytree(run, cut, ignore=shutil.ignore_patterns("model", "curves.png"))
    for other, path in checkpoint.list_checkpoints(cut):
        if other > 1:
            path.unlink()
    resume_run(cut, workers=2)  # reading ahead changes nothing
    assert all(torch.equal(value, weights(cut)[key]) for key, value in weights(run).items())
    losses = [entry["loss"] for entry in read_log(cut) if entry["event"] == "train"]
    assert losses == [entry["loss"] for entry in read_log(run) if entry["event"] == "train"]


def test_fine_tuning_starts_from_a_run_and_takes_pairs(finished, features):
    run, _ = finished
    first = small_howto100m(features)
    data = dataclasses.replace(first.data, kind="pairs", pairs=features / "pairs.csv", batch_size=6)
    tuned = dataclasses.replace(first, data=data, init=str(run))
    found = tuned.find_data(BadItems())
    model = tuned.first_model(found)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in weights(run).items())
    dataset = tuned.open_data(found, model)
    assert len(dataset) == 18
    batch = dataset.collate([dataset[0, 0, index] for index in range(18)])
    assert (batch.features.shape, batch.tokens.shape) == ((18, 7), (18, 1, 4))
    assert batch.video_ids[:4] == ("video0", "video0", "video0", "video1")


def test_other_objectives_can_be_chosen(features):
    recipe = small_howto100m(features)
    changed = dataclasses.replace(
        recipe, objective=dataclasses.replace(recipe.objective, loss="info-nce", temperature=0.1)
    )
    losses = []
    for one in (recipe, changed):
        data = one.find_data(BadItems())
        model = one.first_model(data)
        dataset = one.open_data(data, model)
        batch = dataset.collate([dataset[0, 0, index] for index in (0, 1, 2)])
        losses.append(one.build_task(data, model).training_step(batch)["loss"].item())
    assert losses[0] < 0.5 < losses[1]


@pytest.mark.slow
def test_bad_feature_files_are_replaced_and_named(features, tmp_path):
    folder = tmp_path / "features"
    shutil.copytree(features, folder)
    (folder / "2d" / "video1.npy").write_bytes(b"no array")
    np.save(folder / "3d" / "video2.npy", np.ones((3, 7), np.float16), allow_pickle=False)
    (folder / "3d" / "video3.npy").unlink()
    recipe = small_howto100m(folder)
    with pytest.raises(TooManyBadItemsError, match=r"bad_items.csv"):
        recipe.train(tmp_path / "stopped")
    patient = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, max_bad_share=1.0))
    patient.train(tmp_path / "run")
    bad = BadItems.read(tmp_path / "run" / "bad_items.csv")
    reasons = {
        path.rpartition("/")[2] + path.rpartition("/")[0][-2:]: why for path, why in bad.reasons.items()
    }
    assert "not a whole .npy array" in reasons["video1.npy2d"]
    assert reasons["video2.npy3d"] == "must hold features (n, 3), n at least 1, got (3, 7)"
    assert reasons["video3.npy3d"] == "there is no such feature file"


def test_word_vectors_of_a_file_are_used(features, tmp_path):
    words = Vocabulary(["red", "green", "blue"])
    words.save(tmp_path / "words.json")
    np.save(tmp_path / "vectors.npy", np.eye(4, 6, dtype=np.float32), allow_pickle=False)
    recipe = small_howto100m(features)
    model = dataclasses.replace(
        recipe.model, word_vectors=tmp_path / "vectors.npy", vocabulary=tmp_path / "words.json"
    )
    recipe = dataclasses.replace(recipe, model=model)
    table = recipe.first_model(recipe.find_data(BadItems())).word_table
    assert torch.equal(table[1:], torch.eye(4, 6)[1:])


def test_what_is_missing_is_said_before_the_work_begins(features, tmp_path):
    recipe = small_howto100m(features)
    nothing = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, captions=None))
    with pytest.raises(ConfigError, match=r"data.captions is needed here and not set"):
        nothing.train(tmp_path / "run")
    absent = dataclasses.replace(recipe.data, features=FeatureFiles(features / "2d", features / "4d"))
    with pytest.raises(ConfigError, match=r"data.features.features_3d: .*4d does not exist"):
        dataclasses.replace(recipe, data=absent).train(tmp_path / "run")
    large = dataclasses.replace(recipe.data, batch_size=99)
    with pytest.raises(ConfigError, match=r"data.batch_size is 99, but there are only 6"):
        dataclasses.replace(recipe, data=large).train(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_lists_and_features_that_would_be_passed_over_are_told(features, tmp_path):
    recipe = small_howto100m(features)
    with pytest.raises(ValueError, match="kind howto100m draws clips of narrated videos: set kind too"):
        dataclasses.replace(recipe.data, pairs=features / "pairs.csv")
    half = dataclasses.replace(
        recipe.evaluation, pairs=features / "pairs.csv", features=FeatureFiles(None, features / "3d")
    )
    with pytest.raises(ConfigError, match=r"evaluation.features.features_2d is needed here and not set"):
        dataclasses.replace(recipe, evaluation=half).train(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_of_another_kind_are_refused(finished, features, tmp_path):
    run, _ = finished
    recipe = small_howto100m(features)
    wider = dataclasses.replace(recipe.model, features=FeatureSpec(("a", "b"), (DIM_2D, 9)))
    with pytest.raises(
        CheckpointError, match=r"takes features of \[4, 3\], and model.features says \[4, 9\]"
    ):
        dataclasses.replace(recipe, model=wider, init=str(run)).train(tmp_path / "run")


def test_a_run_does_not_go_on_with_other_captions(finished, tmp_path):
    run, _ = finished
    cut = tmp_path / "cut"
    shutil.copytree(run, cut)
    (cut / "corpus.json").write_text((run / "corpus.json").read_text().replace("18", "17"))
    with pytest.raises(ConfigError, match="6 videos, 17 captions then, 6 videos, 18 captions now"):
        resume_run(cut)
