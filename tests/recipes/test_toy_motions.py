"""The world and the run that the trajectory benchmark and the example of a reward from text are made with."""

import numpy as np
import pytest

from narravid.config import from_dict, to_dict
from narravid.errors import ConfigError
from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.trajectory_lists import ListedPrompt, read_trajectories
from narravid.inference.trajectory_scores import score_trajectories
from narravid.models.kinds import load_pixel_dual_encoder
from narravid.recipes.milnce import MILNCERecipe
from narravid.recipes.toy_motions import motion_training, motion_world, train_motion_model
from narravid.synthetic.files import PLAN_FILE
from narravid.synthetic.world import ToyWorld
from narravid.video.watched import WatchedDecoder


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


def test_a_folder_of_another_world_is_refused_before_anything_is_drawn(tmp_path) -> None:
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / PLAN_FILE).write_text("{}")
    with pytest.raises(ValueError, match="holds another toy world"):
        train_motion_model(tmp_path, num_steps=2, seed=0)
    assert [path.name for path in (tmp_path / "world").iterdir()] == [PLAN_FILE]


@pytest.mark.slow
def test_a_model_is_trained_that_knows_every_word_and_scores_real_recordings(tmp_path, shared_data) -> None:
    folder = train_motion_model(tmp_path, num_steps=2, seed=0)
    model = load_pixel_dual_encoder(folder)
    sentences = [step.sentence for step in motion_world().space.steps()]
    known = set(model.vocabulary.words)
    assert {word for sentence in sentences for word in sentence.split()} <= known
    with pytest.raises(ConfigError, match="already holds a run"):
        train_motion_model(tmp_path, num_steps=2, seed=0)
    with pytest.raises(ValueError, match="holds another toy world"):
        train_motion_model(tmp_path, num_steps=2, seed=1)
    recordings = read_trajectories([str(shared_data / "trajectories")])
    with WatchedDecoder() as decoder:
        scores = score_trajectories(
            recordings,
            [ListedPrompt(sentence) for sentence in sentences],
            encoder=ClipEncoder(model),
            decoder=decoder,
        )
    assert not scores.bad
    assert scores.similarity.shape == (11, 72)
    assert np.abs(scores.similarity).max() <= 1 + 1e-6
    assert np.ptp(scores.similarity, axis=0).min() > 1e-6  # by a model hardly trained, but told apart
    assert np.ptp(scores.similarity, axis=1).min() > 1e-4  # and so are the sentences
