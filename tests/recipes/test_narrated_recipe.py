"""What recipes on narrated videos share: any loss, weights to start from, presets, toy worlds."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.small_cpd import small_cpd, small_extractor
from models.small_viclip import small_viclip
from narravid.config import from_dict, to_dict
from narravid.data.narrated import ClipSampling
from narravid.errors import CheckpointError, ConfigError
from narravid.models.hub import load, save_model
from narravid.recipes.htm_aa import HTMAARecipe
from narravid.recipes.milnce import MILNCERecipe
from narravid.recipes.narrated_config import EvaluationConfig
from narravid.recipes.registry import RECIPES, resume_run
from narravid.recipes.vt_twins import VTTwinsDataConfig, VTTwinsRecipe
from narravid.synthetic.camera import SceneConfig
from narravid.synthetic.world import PRESETS, preset
from narravid.tasks.objectives import MaxMarginConfig, ObjectiveConfig, S2DTWConfig
from narravid.training import checkpoint
from narravid.training.logging import read_log
from narravid.training.run import read_run_config
from small_corpus import small_recipe, write_narrated_videos
from tiny_corpus import make_tiny_s3d, save_tiny_s3d

NARRATED = (MILNCERecipe, VTTwinsRecipe, HTMAARecipe)
IN_A_ROW = ClipSampling(clips_per_video=3, num_candidates=1, captions="consecutive", min_caption_seconds=0.0)
OBJECTIVES = {
    "mil-nce": (ObjectiveConfig(), ClipSampling(clips_per_video=2, num_candidates=2)),
    "info-nce": (
        ObjectiveConfig(loss="info-nce", similarity="cosine", temperature=0.07),
        ClipSampling(clips_per_video=2, num_candidates=1, place="around_middle"),
    ),
    "max-margin": (
        ObjectiveConfig(loss="max-margin", max_margin=MaxMarginConfig(hard_negative_rate=0.7)),
        ClipSampling(clips_per_video=2, num_candidates=1),
    ),
    "s2dtw": (
        ObjectiveConfig(
            loss="s2dtw",
            similarity="cosine",
            s2dtw=S2DTWConfig(augmentation=True, max_shift=1, sharpness=1.0),
        ),
        IN_A_ROW,
    ),
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_narrated_videos(tmp_path_factory.mktemp("videos"))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def recipe_with(videos: Path, objective: ObjectiveConfig, sampling: ClipSampling, **trainer) -> MILNCERecipe:
    recipe = small_recipe(videos, **trainer)
    return replace(recipe, data=replace(recipe.data, sampling=sampling), objective=objective)


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


# ---------------------------------------------------------------- any loss


@pytest.mark.parametrize(
    "loss", [pytest.param(loss, marks=pytest.mark.slow if loss != "s2dtw" else ()) for loss in OBJECTIVES]
)
def test_with_every_loss_a_run_that_was_cut_ends_as_a_whole_one(videos, tmp_path, loss):
    recipe = recipe_with(videos, *OBJECTIVES[loss], checkpoint_every_steps=2, log_every_steps=1)
    recipe.train(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut", ignore=shutil.ignore_patterns("model"))
    checkpoint.checkpoint_path(tmp_path / "cut", 4).unlink()
    result = resume_run(tmp_path / "cut")
    assert (result.step, result.resumed_at) == (4, 2)
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    losses = [entry["loss"] for entry in read_log(tmp_path / "cut")]
    assert losses == [entry["loss"] for entry in read_log(tmp_path / "whole")]


@pytest.mark.slow
def test_the_augmentation_changes_what_is_learnt_and_the_seed_what_it_draws(videos, tmp_path):
    objective, sampling = OBJECTIVES["s2dtw"]
    plain = replace(objective, s2dtw=replace(objective.s2dtw, augmentation=False))
    recipe_with(videos, plain, sampling, num_steps=1).train(tmp_path / "plain")
    recipe_with(videos, objective, sampling, num_steps=1).train(tmp_path / "augmented")
    assert not equal(weights(tmp_path / "plain"), weights(tmp_path / "augmented"))


def test_losses_and_samplings_that_do_not_fit_are_refused(videos):
    with pytest.raises(ValueError, match=r"info-nce takes one caption per clip, got num_candidates=2"):
        recipe_with(videos, OBJECTIVES["info-nce"][0], ClipSampling(num_candidates=2))
    with pytest.raises(ValueError, match=r"s2dtw compares sequences, got clips_per_video=1"):
        recipe_with(videos, OBJECTIVES["s2dtw"][0], ClipSampling(num_candidates=1))


# ---------------------------------------------------------------- weights to start from


def initial_models():
    return {"S3D": make_tiny_s3d(seed=5), "CPD": small_cpd(), "ViCLIP": small_viclip()}


@pytest.mark.parametrize(
    "kind", ["S3D", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("CPD", "ViCLIP"))]
)
def test_any_pixel_dual_encoder_can_be_trained_on_and_resumed_without_its_file(
    videos, tmp_path, kind, caplog
):
    model = initial_models()[kind]
    init = tmp_path / "init"
    save_model(model, init)
    recipe = replace(small_recipe(videos, num_steps=2, checkpoint_every_steps=1), init=str(init))
    recipe = replace(
        recipe,
        objective=ObjectiveConfig(similarity="cosine", temperature=0.5),
        trainer=replace(recipe.trainer, batch_norm="frozen"),
        optim=replace(recipe.optim, lr=1e-4),
    )
    with caplog.at_level(logging.WARNING):
        recipe.train(tmp_path / "run")
    assert "init brings its own network, words and clips" in caplog.text  # small_recipe shapes a model
    shutil.rmtree(init)
    trained = load(tmp_path / "run")
    assert type(trained) is type(model)
    assert trained.config == model.config
    before, after = model.state_dict(), trained.state_dict()
    assert before.keys() == after.keys()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved
    assert not [key for key in moved if "running" in key]
    shutil.copytree(tmp_path / "run", tmp_path / "cut", ignore=shutil.ignore_patterns("model"))
    checkpoint.checkpoint_path(tmp_path / "cut", 2).unlink()
    resume_run(tmp_path / "cut")
    assert equal(weights(tmp_path / "run"), weights(tmp_path / "cut"))


def test_weights_to_start_from_may_be_given_other_clips(videos, tmp_path):
    model = small_cpd()
    save_model(model, tmp_path / "cpd")
    save_model(small_viclip(), tmp_path / "viclip")
    recipe = replace(small_recipe(videos), init=str(tmp_path / "cpd"))
    assert model.clip_spec.mean != recipe.model.clip_spec.mean
    kept, changed = (replace(recipe, keep_clips=keep).first_model([]) for keep in (True, False))
    assert kept.clip_spec == model.clip_spec != recipe.model.clip_spec
    assert changed.clip_spec == changed.config.clip_spec
    assert changed.clip_spec == replace(
        recipe.model.clip_spec, mean=model.clip_spec.mean, std=model.clip_spec.std
    )
    longer = replace(recipe.model, clip_spec=replace(recipe.model.clip_spec, num_frames=8))
    fixed = replace(recipe, model=longer, init=str(tmp_path / "viclip"), keep_clips=False)
    with pytest.raises(ConfigError, match=r"viclip cannot take model.clip_spec: .* the video tower"):
        fixed.first_model([])


def test_only_options_of_the_model_that_are_lost_are_warned_of(videos, tmp_path, caplog):
    save_model(make_tiny_s3d(seed=5), tmp_path / "s3d")
    preset = MILNCERecipe.presets()["tiny"]()
    replace(preset, init=str(tmp_path / "s3d")).first_model([])
    assert caplog.text == ""
    words = replace(preset.data, vocabulary=tmp_path / "s3d" / "vocabulary.json")
    replace(preset, init=str(tmp_path / "s3d"), data=words).first_model([])
    assert "data.vocabulary has no effect" in caplog.text
    longer = replace(preset.model, clip_spec=replace(preset.model.clip_spec, num_frames=16))
    lost = replace(preset, init=str(tmp_path / "s3d"), model=longer, keep_clips=False)
    lost.first_model([])
    assert "options" not in caplog.text
    replace(lost, model=replace(longer, max_words=3)).first_model([])
    assert "of model's options only clip_spec counts" in caplog.text


def test_a_plateau_needs_something_to_evaluate_on(videos, tmp_path):
    recipe = small_recipe(videos)
    recipe = replace(recipe, optim=replace(recipe.optim, schedule="plateau", warmup_steps=0))
    with pytest.raises(ConfigError, match="say what to evaluate on"):
        recipe.train(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_starts_at_the_measure_of_its_initial_weights(videos, tmp_path):
    pairs = tmp_path / "pairs.csv"
    rows = [f"{videos / name}1.mp4,{name} moves" for name in ("red", "green", "blue")]
    pairs.write_text("\n".join(["video_path,text", *rows]) + "\n")
    init = str(save_tiny_s3d(tmp_path / "init", seed=1))
    recipe = small_recipe(videos, num_steps=1, evaluate_at_start=True)
    recipe = replace(recipe, model=type(recipe)(recipe.data).model, evaluation=EvaluationConfig(pairs=pairs))
    ranks = []
    for name in ("a", "b"):
        replace(recipe, init=init, seed=len(ranks)).train(tmp_path / name)
        [at_start] = [e for e in read_log(tmp_path / name) if e["event"] == "evaluation" and e["step"] == 0]
        ranks.append(at_start["MeanR"])
    assert ranks[0] == ranks[1]  # whatever the seed


def test_what_is_no_pixel_dual_encoder_is_refused_before_a_folder_is_made(videos, tmp_path):
    save_model(small_extractor(), tmp_path / "extractor")
    for init, message in (
        (str(tmp_path / "none"), "no such file or folder"),
        (str(tmp_path / "extractor"), "this needs a pixel dual encoder"),
    ):
        with pytest.raises(CheckpointError, match=message):
            replace(small_recipe(videos), init=init).train(tmp_path / "run")
    recipe = small_recipe(videos)
    with pytest.raises(
        ConfigError, match=r"frozen batch normalisation .* --init, or set --trainer.batch-norm"
    ):
        replace(recipe, trainer=replace(recipe.trainer, batch_norm="frozen")).train(tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- published settings and presets


def test_vt_twins_starts_from_the_published_setting(videos):
    recipe = VTTwinsRecipe(VTTwinsDataConfig(root="videos"))
    sampling, spec = recipe.data.sampling, recipe.model.clip_spec
    assert (sampling.clips_per_video, sampling.captions, sampling.num_candidates) == (8, "consecutive", 1)
    assert (sampling.place, sampling.min_caption_seconds, sampling.whole_seconds) == ("inside", 0.0, True)
    assert (spec.num_frames, spec.size_pixels, spec.fps) == (32, 224, 10.0)
    assert recipe.objective == ObjectiveConfig(loss="s2dtw", similarity="cosine", temperature=1.0)
    assert recipe.objective.s2dtw == S2DTWConfig(gamma=0.1, skip_cost=0.5, augmentation=False)
    optim = recipe.optim
    assert (optim.name, optim.lr, optim.warmup_steps, optim.schedule) == ("adam", 1e-3, 100_000, "cosine")
    assert recipe.trainer.num_epochs == 300
    assert (recipe.evaluation.similarity, recipe.model.similarity) == ("dot", "dot")
    paper = VTTwinsRecipe.presets()["paper"]()
    augmented = replace(recipe.objective, s2dtw=S2DTWConfig(augmentation=True, max_shift=2, sharpness=50.0))
    assert paper == replace(recipe, data=replace(recipe.data, root=""), objective=augmented)


def test_htm_aa_starts_from_the_published_setting():
    [data] = [part.type for part in dataclasses.fields(HTMAARecipe) if part.name == "data"]
    assert data == "HTMAADataConfig"
    recipe = from_dict(HTMAARecipe, {"data": {"root": "videos"}}, source="test")
    sampling, spec = recipe.data.sampling, recipe.model.clip_spec
    assert (sampling.clips_per_video, sampling.place, sampling.num_candidates) == (2, "around_middle", 1)
    assert (sampling.longer_than_seconds, sampling.shorter_than_seconds) == (64.0, 2000.0)
    assert (spec.num_frames, spec.size_pixels, spec.fps) == (16, 224, 5.0)
    assert recipe.objective == ObjectiveConfig(loss="info-nce", similarity="cosine", temperature=0.07)
    optim = recipe.optim
    assert (optim.name, optim.lr, optim.weight_decay, optim.decay) == ("adamw", 1e-4, 1e-5, "matrices")
    assert (optim.warmup_steps, optim.schedule) == (1000, "cosine")
    assert (recipe.trainer.num_epochs, recipe.trainer.batch_norm) == (40, "frozen")
    assert (recipe.data.batch_size, recipe.dtype) == (16, "bfloat16")


@pytest.mark.parametrize("kind", NARRATED)
def test_presets_are_whole_recipes_and_survive_being_saved(kind):
    assert RECIPES[kind.name] is kind
    assert "tiny" in kind.presets()
    for make in kind.presets().values():
        recipe = make()
        assert type(recipe) is kind
        assert from_dict(kind, to_dict(recipe), source="test") == recipe
        assert make.__doc__


def test_a_preset_without_data_asks_for_it(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.root is not set"):
        VTTwinsRecipe.presets()["paper"]().train(tmp_path / "run")


# ---------------------------------------------------------------- toy worlds


@pytest.fixture
def speck(tmp_path, monkeypatch):
    """A toy world of two videos in a cache of its own."""
    world = replace(
        preset("tiny"),
        num_train_videos=2,
        num_test_repetitions=1,
        steps_per_video=24,
        scene=SceneConfig(
            width=16, height=16, fps=4.0, min_step_seconds=1.0, max_step_seconds=1.5, max_pause_seconds=0.2
        ),
    )
    monkeypatch.setitem(PRESETS, "speck", world)
    monkeypatch.setenv("NARRAVID_HOME", str(tmp_path / "home"))
    return "toy:speck"


def on_speck(recipe):
    data = replace(recipe.data, root="toy:speck", batch_size=2)
    if data.captions is not None:
        data = replace(data, captions=Path("toy:speck"))
    evaluation = replace(recipe.evaluation, pairs=Path("toy:speck"), num_windows=1)
    model = small_recipe(Path("videos")).model
    trainer = replace(recipe.trainer, num_steps=2)
    return replace(recipe, data=data, evaluation=evaluation, model=model, trainer=trainer)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NARRATED)
def test_tiny_presets_train_on_toy_worlds_and_save_where_these_lie(speck, tmp_path, kind):
    recipe = on_speck(kind.presets()["tiny"]())
    run = tmp_path / "run"
    recipe.train(run)
    steps = [entry["step"] for entry in read_log(run) if entry["event"] == "evaluation"]
    assert steps == [0, 2]
    saved = from_dict(kind, read_run_config(run)[1], source="test")
    home = tmp_path / "home" / "toy"
    assert Path(saved.data.root).parent.parent == home
    assert Path(saved.data.root).name == "train"
    assert saved.evaluation.pairs.name == "test_pairs.csv"
    captions = {MILNCERecipe: None, VTTwinsRecipe: None, HTMAARecipe: "aligned_captions.csv"}[kind]
    assert (saved.data.captions and saved.data.captions.name) == captions
    assert resume_run(run).step == 2


@pytest.mark.slow
def test_true_captions_of_a_toy_world_can_be_trained_on(speck, tmp_path):
    recipe = on_speck(MILNCERecipe.presets()["tiny"]())
    recipe = replace(recipe, data=replace(recipe.data, captions=Path(speck)))
    recipe.train(tmp_path / "run")
    saved = from_dict(MILNCERecipe, read_run_config(tmp_path / "run")[1], source="test")
    assert saved.data.captions.parts[-2:] == ("true_transcripts", "train")


@pytest.mark.slow
@pytest.mark.parametrize("kind", NARRATED)
def test_tiny_presets_beat_their_untrained_start(tmp_path, kind):
    kind.presets()["tiny"]().train(tmp_path / "run")
    start, end = [entry["R@10"] for entry in read_log(tmp_path / "run") if entry["event"] == "evaluation"]
    assert end > start + 0.25
