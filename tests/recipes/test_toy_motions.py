"""The world and the run that the trajectory benchmark and the example of a reward from text are made with."""

import pytest

import narravid
from narravid.config import from_dict, to_dict
from narravid.recipes.milnce import MILNCERecipe
from narravid.recipes.toy_motions import motion_training, motion_world, train_motion_model
from narravid.synthetic.world import ToyWorld


def test_the_world_goes_all_four_ways_and_tells_each_step() -> None:
    world = ToyWorld(motion_world(), seed=0)
    assert {step.motion for step in world.steps} == {"left", "right", "up", "down", "grow", "spin"}
    assert len(world.steps) == 4 * 3 * 6
    shown = [timed.step for video in world.videos for timed in video.steps]
    assert {shown.count(step) for step in world.steps} == {12}
    assert all(2 <= timed.span.duration_seconds <= 3.002 for video in world.videos for timed in video.steps)


def test_the_run_learns_from_what_is_heard_and_can_be_written_down(tmp_path) -> None:
    recipe = motion_training(tmp_path, num_steps=7, seed=3)
    assert (recipe.trainer.num_steps, recipe.seed, recipe.data.root) == (7, 3, str(tmp_path))
    assert recipe.data.captions is None
    assert recipe.evaluation.pairs is None
    assert recipe.data.augmentation.flip_probability == 0  # left and right are what it is about
    assert from_dict(MILNCERecipe, to_dict(recipe), source="test") == recipe


@pytest.mark.slow
def test_a_model_is_trained_and_knows_the_words_of_the_world(tmp_path) -> None:
    model = narravid.load(train_motion_model(tmp_path, num_steps=2, seed=0))
    sentences = ("the red square moves to the left", "the crimson box slides right")
    red, crimson = model.encode_text(sentences)
    assert not red.equal(crimson)
