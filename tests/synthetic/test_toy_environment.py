"""The toy world as an environment: Gymnasium's own check, the way a shape goes, and what its frames show."""

import importlib
import math
import sys
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from narravid.errors import MissingExtraError
from narravid.synthetic.camera import SceneConfig
from narravid.synthetic.render import RGB, BackgroundPool
from narravid.synthetic.toy_environment import BORDER, ToyEnvironmentConfig, ToyWorldEnv

SCENE = SceneConfig(width=64, height=48, fps=8.0, num_backgrounds=3)
SMALL = ToyEnvironmentConfig(scene=SCENE)
CLEAN = replace(SCENE, noise_std=0.0, brightness_std=0.0, shake_share=0.0, num_still_objects=0)
HARD_LEFT = np.array([-1.0, 0.0], dtype=np.float32)


def rollout(env, actions, *, seed):
    """Observations, rewards and frames of one episode."""
    observation, _ = env.reset(seed=seed)
    observations, rewards, frames = [observation], [], [env.render()]
    for action in actions:
        observation, reward, _, _, _ = env.step(np.asarray(action, dtype=np.float32))
        observations.append(observation)
        rewards.append(reward)
        frames.append(env.render())
    return np.array(observations), np.array(rewards), np.array(frames)


def place_in_heights(observation, config):
    """Where the centre is, in frame heights, from an observation."""
    edges = np.array([config.scene.width / config.scene.height, 1.0])
    return BORDER + (np.asarray(observation[:2], dtype=float) + 1) / 2 * (edges - 2 * BORDER)


def still_look(scene, seed, *, own_view=False):
    """The first frame of an episode beside its small shape, from one corner of the background or its own."""
    scene = replace(scene, min_radius=0.001, max_radius=0.001)
    env = ToyWorldEnv(replace(SMALL, scene=scene), render_mode="rgb_array")
    env.reset(seed=seed)
    if not own_view:
        env._episode._scenery._origin = np.zeros(2)
    return np.delete(env.render(), np.s_[18:46], axis=1)


def test_it_is_an_environment_as_gymnasium_wants_it():
    check_env(ToyWorldEnv(SMALL, render_mode="rgb_array"))
    check_env(ToyWorldEnv(SMALL))


def test_it_is_made_from_its_specification():
    spec = ToyWorldEnv(replace(SMALL, colour="blue")).spec
    assert spec is not None
    env = gymnasium.make(spec, render_mode="rgb_array")
    assert env.unwrapped.config.colour == "blue"
    env.reset(seed=0)
    assert env.render().shape == (48, 64, 3)


def test_the_way_of_a_shape_follows_from_its_commands():
    config = replace(SMALL, max_speed=0.4, inertia=0.75, episode_seconds=1.0)
    env = ToyWorldEnv(config)
    actions = [(-1, 0), (-1, 0.5), (0, 0), (1, 0), (-7, 0)]
    observations, rewards, _ = rollout(env, actions, seed=4)
    place, velocity = place_in_heights(observations[0], config), np.zeros(2)
    for number, action in enumerate(actions):
        velocity = 0.75 * velocity + 0.25 * 0.4 * np.clip(action, -1, 1)
        place = place + velocity / 8
        np.testing.assert_allclose(place_in_heights(observations[number + 1], config), place, atol=1e-6)
        np.testing.assert_allclose(observations[number + 1][2:], velocity / 0.4, atol=1e-6)
        assert rewards[number] == pytest.approx(-velocity[0] / 8)


@pytest.mark.parametrize(
    ("goal", "action"), [("left", (-1, 0)), ("right", (1, 0)), ("up", (0, -1)), ("down", (0, 1))]
)
def test_the_true_reward_is_the_way_towards_the_goal(goal, action):
    config = replace(SMALL, goal=goal)
    observations, rewards, _ = rollout(ToyWorldEnv(config), [action] * config.num_steps, seed=1)
    first, last = (place_in_heights(observations[number], config) for number in (0, -1))
    assert rewards.sum() == pytest.approx(np.abs(last - first).sum(), abs=1e-6)
    assert rewards.sum() > 0.2
    assert observations[-1] @ (*action, 0, 0) == pytest.approx(1)  # it is at the edge
    assert observations[-1][2:].tolist() == [0, 0]  # which stopped it
    assert rewards[-1] == 0


def test_an_episode_ends_after_its_seconds_and_tells_its_progress():
    env = ToyWorldEnv(replace(SMALL, episode_seconds=1.5))
    _, info = env.reset(seed=2)
    assert info == {"progress": 0.0}
    total = 0.0
    for number in range(12):
        _, reward, terminated, truncated, info = env.step(HARD_LEFT)
        total += reward
        assert not terminated
        assert truncated == (number == 11)
        assert info["progress"] == pytest.approx(total)
    with pytest.raises(ResetNeeded, match="over"):
        env.step(HARD_LEFT)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), max_size=20), st.integers(0, 2**32))
def test_it_stays_in_its_space_and_its_return_is_the_net_way(actions, seed):
    env = ToyWorldEnv(SMALL)
    observation, _ = env.reset(seed=seed)
    start, total = observation, 0.0
    for action in actions:
        observation, reward, _, _, _ = env.step(np.array(action, dtype=np.float32))
        assert observation in env.observation_space
        total += reward
    way = place_in_heights(start, SMALL)[0] - place_in_heights(observation, SMALL)[0]
    assert total == pytest.approx(way, abs=1e-5)


def test_frames_show_the_shape_where_it_is():
    config = replace(SMALL, scene=CLEAN)
    env = ToyWorldEnv(config, render_mode="rgb_array")
    observations, _, frames = rollout(env, [(-0.7, 0.2)] * 8, seed=3)
    for observation, frame in zip(observations, frames, strict=True):
        near = np.abs(frame.astype(float) - np.asarray(RGB["red"])).sum(-1) < 90
        rows, columns = np.nonzero(near)
        x, y = place_in_heights(observation, config) * 48
        # The dark marker on its right half pulls the centre of what is red to the left.
        assert columns.mean() + 0.5 == pytest.approx(x, abs=2.0)
        assert rows.mean() + 0.5 == pytest.approx(y, abs=1.0)


def test_the_same_seed_gives_the_same_episode_however_often_it_is_rendered():
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 2))
    _, rewards, frames = rollout(ToyWorldEnv(SMALL, render_mode="rgb_array"), actions, seed=5)
    env = ToyWorldEnv(SMALL, render_mode="rgb_array")
    env.reset(seed=11)
    env.reset(seed=5)
    again = [env.step(action)[1] for action in actions.astype(np.float32)]
    assert again == rewards.tolist()
    np.testing.assert_array_equal(env.render(), frames[-1])
    np.testing.assert_array_equal(env.render(), frames[-1])
    following = [env.reset()[0] for _ in range(2)]
    assert not np.array_equal(*following)


BARE = replace(CLEAN, num_backgrounds=1)


@pytest.mark.parametrize(
    "part", [{"num_backgrounds": 8}, {"brightness_std": 0.2}, {"num_still_objects": 2}, {"noise_std": 6.0}]
)
def test_episodes_differ_in_each_part_of_their_look(part):
    # The same view in every episode, so that nothing but the part that is switched on makes a difference.
    bare = {still_look(BARE, seed).tobytes() for seed in range(5)}
    looks = [still_look(replace(BARE, **part), seed) for seed in range(5)]
    assert len(bare) == 1
    assert len({look.tobytes() for look in looks}) > 2  # two of five may share one of 8 backgrounds
    if "brightness_std" in part:
        assert np.std([look.mean() for look in looks]) > 8


def test_every_episode_has_a_view_of_its_own():
    assert len({still_look(BARE, seed, own_view=True).tobytes() for seed in range(6)}) == 6


def test_the_camera_wanders_if_it_is_to():
    for share, moves in ((1.0, True), (0.0, False)):
        env = ToyWorldEnv(replace(SMALL, scene=replace(CLEAN, shake_share=share)), render_mode="rgb_array")
        _, _, frames = rollout(env, [(0, 0)] * SMALL.num_steps, seed=2)
        assert (not np.array_equal(frames[0], frames[-1])) == moves


def test_a_background_seed_gives_the_backgrounds_of_the_world_with_that_seed():
    for seed in (0, 5):
        config = replace(SMALL, scene=CLEAN, background_seed=seed)
        env = ToyWorldEnv(config, render_mode="rgb_array")
        env.reset(seed=3)
        corner = env.render()[:6, :6]
        pool = BackgroundPool(3, height=48, width=64, seed=seed)  # as `ToyWorld` makes it
        generator = np.random.default_rng(3)
        number, origin = int(generator.integers(3)), generator.uniform(0, 1, size=2)
        view = pool.view(number, offset_x=origin[0], offset_y=origin[1])
        np.testing.assert_array_equal(corner, np.rint(view[:6, :6]).astype(np.uint8))
        other = BackgroundPool(3, height=48, width=64, seed=seed + 1)
        view = other.view(number, offset_x=origin[0], offset_y=origin[1])
        assert not np.array_equal(corner, np.rint(view[:6, :6]).astype(np.uint8))


def test_what_is_asked_too_early_or_wrongly_is_refused():
    env = ToyWorldEnv(SMALL, render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(HARD_LEFT)
    with pytest.raises(ResetNeeded, match="reset"):
        env.render()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="two finite numbers"):
        env.step(np.array([np.nan, 0.0], dtype=np.float32))
    with pytest.raises(ValueError, match="two finite numbers"):
        env.step(np.zeros(3, dtype=np.float32))
    with pytest.raises(ValueError, match="render_mode must be 'rgb_array'"):
        ToyWorldEnv(render_mode="human")
    assert ToyWorldEnv().render() is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("inertia", 1.0),
        ("max_speed", 0.0),
        ("max_speed", math.inf),
        ("max_speed", math.nan),
        ("episode_seconds", 0.1),
        ("episode_seconds", math.inf),
        ("episode_seconds", math.nan),
        ("background_seed", -1),
        ("colour", "pink"),
        ("goal", "away"),
        ("scene", SceneConfig(width=16, height=48)),
    ],
)
def test_bad_options_are_named(field, value):
    with pytest.raises(ValueError, match="narrower" if field == "scene" else field):
        replace(SMALL, **{field: value})


def test_without_gymnasium_the_message_says_what_to_install(monkeypatch):
    for loaded in [key for key in sys.modules if key == "gymnasium" or key.startswith("gymnasium.")]:
        monkeypatch.setitem(sys.modules, loaded, None)
    name = ToyWorldEnv.__module__
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"needs gymnasium.*pip install 'narravid\[rl\]'"):
        importlib.import_module(name)
