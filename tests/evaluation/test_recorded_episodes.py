"""Episodes recorded to judge rewards by: frames, returns, seeds, bounds, and the judgement itself."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from narravid.evaluation.recorded_episodes import diagnose_reward, record_episodes
from narravid.inference.reward_wrappers import TextRewardWrapper
from narravid.inference.text_reward import TextReward
from reward_doubles import BrighteningEnv, BrightnessModel, cosine


class SeededEnv(gymnasium.Env):
    """Shows a level that begins where the seed says and changes with every action, which is its reward."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(self, num_steps: int = 6, *, render_mode: str | None = "rgb_array") -> None:
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(0, 255, (1,), np.float32)
        self.action_space = gymnasium.spaces.Box(-10, 10, (1,), np.float32)
        self.num_steps = num_steps

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.level = 0, float(self.np_random.integers(100, 140))
        return np.array([self.level], np.float32), {}

    def step(self, action):
        self.steps += 1
        self.level += float(action[0])
        over = self.steps == self.num_steps
        return np.array([self.level], np.float32), float(action[0]), False, over, {}

    def render(self):
        return np.full((6, 6, 3), round(self.level), np.uint8)


def test_frames_and_returns_of_a_policy():
    episodes = record_episodes(
        BrighteningEnv((6,)), lambda observation: observation / 100, num_episodes=2, seed=0, num_frames=4
    )
    for episode in episodes:
        assert episode.frame_numbers == (0, 2, 4, 6)
        np.testing.assert_array_equal(episode.frames[:, 0, 0, 0], [10, 12, 14, 16])
        assert episode.true_return == pytest.approx(sum(range(10, 16)) / 100)
        assert episode.num_steps == 6


def test_random_actions_follow_from_the_seed():
    first = record_episodes(SeededEnv(), num_episodes=3, seed=7, num_frames=4)
    again = record_episodes(SeededEnv(), num_episodes=3, seed=7, num_frames=4)
    other = record_episodes(SeededEnv(), num_episodes=3, seed=70, num_frames=4)
    assert [episode.true_return for episode in first] == [episode.true_return for episode in again]
    np.testing.assert_array_equal(first[2].frames, again[2].frames)
    assert len({episode.true_return for episode in [*first, *other]}) == 6


def test_an_episode_is_the_same_whichever_others_are_recorded():
    several = record_episodes(SeededEnv(), num_episodes=3, seed=7, num_frames=4)
    (alone,) = record_episodes(SeededEnv(), num_episodes=1, seed=9, num_frames=4)
    np.testing.assert_array_equal(alone.frames, several[2].frames)
    assert alone.true_return == several[2].true_return


def test_starts_and_drawn_actions_have_sources_of_their_own():
    class Drawn(SeededEnv):
        """Its starts are drawn as its actions are."""

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.starts.append(float(np.random.default_rng(seed).uniform(-10, 10)))
            return np.zeros(1, np.float32), {}

        def step(self, action):
            if self.steps == 0:
                self.firsts.append(float(action[0]))
            return super().step(action)

    env = Drawn()
    env.starts, env.firsts = [], []
    record_episodes(env, num_episodes=40, seed=0, num_frames=1)
    assert env.starts[0] != pytest.approx(env.firsts[0], abs=1e-3)
    assert abs(np.corrcoef(env.starts, env.firsts)[0, 1]) < 0.5
    assert len(set(env.firsts)) == 40


def test_an_endless_episode_is_cut_off_and_few_frames_are_kept():
    (episode,) = record_episodes(
        BrighteningEnv((10_000,)), lambda _: np.ones(1), num_episodes=1, seed=0, num_frames=3, max_steps=200
    )
    assert (episode.num_steps, episode.true_return) == (200, 200)
    assert episode.frames.shape == (3, 8, 10, 3)
    assert episode.frame_numbers == (0, 96, 200)  # nearest to 100 among every 32nd


def test_of_an_environment_with_a_text_reward_the_own_rewards_count():
    env = TextRewardWrapper(BrighteningEnv((3,)), TextReward(BrightnessModel(), "ends bright"))
    (episode,) = record_episodes(env, lambda _: np.full(1, 0.5), num_episodes=1, seed=0)
    assert episode.true_return == 1.5


def test_a_reward_is_judged_by_the_order_of_the_returns():
    reward = TextReward(BrightnessModel(), "gets brighter")
    episodes = record_episodes(SeededEnv(), num_episodes=30, seed=0, num_frames=4)
    found = diagnose_reward(reward, episodes, seed=2)
    assert found.name == "gets brighter"
    assert found.true_returns.tolist() == [episode.true_return for episode in episodes]
    levels = episodes[4].frames[:, 0, 0, 0].astype(float)
    assert found.rewards[4] == pytest.approx(cosine(levels, "gets brighter"), abs=1e-6)
    assert found.correlation.correlation > 0.8
    assert found.correlation.low > 0.5


def test_frames_are_kept_as_small_as_the_model_sees_them():
    reward = TextReward(BrightnessModel(), "gets brighter")
    options = {"num_episodes": 3, "seed": 0, "num_frames": 4}
    full = record_episodes(BrighteningEnv((6, 5, 9)), lambda _: np.ones(1), **options)
    small = record_episodes(
        BrighteningEnv((6, 5, 9)), lambda _: np.ones(1), **options, reduced=reward.reduced
    )
    assert [episode.frames.shape for episode in full] == [(4, 8, 10, 3)] * 3
    assert [episode.frames.shape for episode in small] == [(4, 6, 6, 3)] * 3
    assert [episode.frame_numbers for episode in small] == [episode.frame_numbers for episode in full]
    np.testing.assert_array_equal(
        diagnose_reward(reward, small).rewards, diagnose_reward(reward, full).rewards
    )


def test_episodes_are_scored_some_at_a_time(monkeypatch):
    model = BrightnessModel()
    reward = TextReward(model, "gets brighter", batch_size=100)
    episodes = record_episodes(SeededEnv(), num_episodes=7, seed=0, num_frames=4)
    together = diagnose_reward(reward, episodes)
    monkeypatch.setattr("narravid.evaluation.recorded_episodes.EPISODES_AT_ONCE", 3)
    model.batch_sizes.clear()
    apart = diagnose_reward(reward, episodes)
    assert model.batch_sizes == [3, 3, 1]
    np.testing.assert_allclose(apart.rewards, together.rewards, atol=1e-6)


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="num_episodes and max_steps must be at least 1"):
        record_episodes(SeededEnv(), num_episodes=0, seed=0)
    with pytest.raises(ValueError, match="render_mode='rgb_array'"):
        record_episodes(SeededEnv(render_mode=None), num_episodes=1, seed=0)
    with pytest.raises(ValueError, match="no episode"):
        diagnose_reward(TextReward(BrightnessModel(), "gets brighter"), [])
