"""Features of a toy world as the recipes find them: drawn once, with captions and truth beside them."""

from __future__ import annotations

import numpy as np
import pytest

from narravid.data.annotations.howto100m import read_caption_json
from narravid.data.annotations.htm_align import read_htm_align
from narravid.evaluation.pairs import read_pairs_csv
from narravid.recipes import toy_data
from narravid.recipes.howto100m import HowTo100MRecipe
from narravid.recipes.tan import TanRecipe
from narravid.recipes.toy_features import toy_features
from narravid.synthetic.camera import SceneConfig
from narravid.synthetic.narration import NarrationConfig
from narravid.synthetic.steps import StepSpace
from narravid.synthetic.world import WorldConfig

SMALLEST = WorldConfig(
    num_train_videos=2,
    num_test_repetitions=1,
    steps_per_video=2,
    space=StepSpace(colours=("red", "green"), shapes=("circle",), motions=("left",)),
    scene=SceneConfig(
        width=32, height=24, fps=6.0, min_step_seconds=1.0, max_step_seconds=1.5, num_backgrounds=1
    ),
    narration=NarrationConfig(cut_share=1.0, told_share=1.0),
)


@pytest.fixture
def features(tmp_path, monkeypatch):
    monkeypatch.setenv("NARRAVID_HOME", str(tmp_path))
    monkeypatch.setitem(toy_data.PRESETS, "smallest", SMALLEST)
    return toy_features("toy:smallest")


def test_features_captions_and_truth_belong_together(features):
    captions = {video.video_id: video.read().track for video in read_caption_json(features.captions)}
    assert set(captions) == {"train0000", "train0001"}
    names = {"train0000", "train0001", "test0000"}
    for folder in (features.features_2d, features.features_3d, features.features_seconds):
        assert {path.stem for path in folder.glob("*.npy")} == names
    [video] = read_htm_align(features.alignment)
    assert video.video_id == "test0000"
    shown = [sentence for sentence in video.sentences if sentence.is_alignable]
    steps = {pair.span for pair in read_pairs_csv(features.test_pairs)}
    assert {sentence.span for sentence in shown} == steps
    num_seconds = len(np.load(features.features_seconds / "test0000.npy", allow_pickle=False))
    assert all(sentence.span.end_seconds <= num_seconds for sentence in shown)
    # every caption was cut in two, and is whole again
    assert all(len(sentence.text.split()) >= 4 for sentence in shown)


def test_they_are_computed_once(features):
    before = features.alignment.stat().st_mtime_ns
    assert toy_features("toy:smallest") == features
    assert features.alignment.stat().st_mtime_ns == before


@pytest.mark.parametrize("recipe", [HowTo100MRecipe, TanRecipe])
def test_tiny_presets_are_whole(recipe):
    for name, make in recipe.presets().items():
        made = make()
        assert made.trainer.evaluate_at_start, name
        assert (made.device, made.seed) == ("cpu", 0)
