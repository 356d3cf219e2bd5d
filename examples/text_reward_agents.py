"""Agents that move the red square of a toy world and learn from a text; see `text_reward.py`."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from cross_entropy import CrossEntropyMethod, LinearPolicies

from narravid.evaluation.recorded_episodes import record_episodes
from narravid.inference.text_reward import TextReward
from narravid.inference.vector_reward_wrapper import VectorTextRewardWrapper
from narravid.metrics.bootstrap import Outcomes, bootstrap_interval
from narravid.recipes.toy_motions import motion_world
from narravid.synthetic.toy_environment import ToyEnvironmentConfig, ToyWorldEnv

ENVIRONMENT = ToyEnvironmentConfig(colour="red", shape="square", goal="left", scene=motion_world().scene)
SEARCH_SEED, TEST_SEED, AGENTS_APART = 600_000, 700_000, 1_000_000
"""The first episodes that agent 0 learns from and is judged by, and how much later those of agent k begin, k
times: fewer than 100,000 episodes each, so that no two agents and no two purposes share one."""
POLICIES = LinearPolicies(observation_dim=4, action_dim=2)

FloatArray = npt.NDArray[np.float64]
FrameArray = npt.NDArray[np.uint8]
Act = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
"""From (N, 4) observations to (N, 2) actions."""


@dataclass(frozen=True)
class Search:
    """How an agent searches and is judged.

    Attributes:
        num_generations: Generations.
        population: Policies tried in each, in as many environments.
        num_elites: How many of them the next generation follows.
        num_trials: Episodes that each policy plays; all of a generation play the same ones.
        num_test_episodes: New episodes by which the last policy is judged.
    """

    num_generations: int = 12
    population: int = 32
    num_elites: int = 6
    num_trials: int = 2
    num_test_episodes: int = 50


@dataclass(frozen=True, eq=False)
class Agent:
    """What came of one search.

    Attributes:
        seed: Its seed.
        parameters: (P,) of the policy that it ended with.
        text_rewards: (G,) mean of each generation.
        true_returns: (G,) mean of each generation, which the search did not see.
        test_returns: (E,) true returns of the last policy in new episodes.
        random_returns: (E,) true returns of the random agent in the same episodes.
    """

    seed: int
    parameters: FloatArray
    text_rewards: list[float]
    true_returns: list[float]
    test_returns: FloatArray
    random_returns: FloatArray

    @property
    def first_test_episode(self) -> int:
        """The seed of the first episode by which it was judged; the others follow."""
        return TEST_SEED + AGENTS_APART * self.seed

    @property
    def gain(self) -> float:
        """By how much it beats the random agent on the true return, in frame heights."""
        return float((self.test_returns - self.random_returns).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the gain, over the episodes."""
        episodes = tuple(str(number) for number in range(len(self.test_returns)))
        return bootstrap_interval(Outcomes("mean", self.test_returns - self.random_returns, episodes))

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"agent {self.seed}: true return {self.test_returns.mean():+.2f}, random "
            f"{self.random_returns.mean():+.2f}, better by {self.gain:+.2f} [{low:+.2f}, {high:+.2f}]"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types."""
        return {
            "seed": self.seed,
            "parameters": self.parameters.tolist(),
            "text_rewards": self.text_rewards,
            "true_returns": self.true_returns,
            "test_returns": self.test_returns.tolist(),
            "random_returns": self.random_returns.tolist(),
            "gain": self.gain,
            "interval": list(self.interval),
        }


class Arena:
    """Environments side by side, in which a text gives the reward.

    Args:
        reward: The text with its model.
        num_envs: How many, N.
    """

    def __init__(self, reward: TextReward, num_envs: int) -> None:
        make = partial(ToyWorldEnv, ENVIRONMENT, render_mode="rgb_array")
        self._envs = VectorTextRewardWrapper(gymnasium.vector.SyncVectorEnv([make] * num_envs), reward)

    def play(self, act: Act, seeds: Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """One episode in each environment.

        Args:
            act: What the agents do.
            seeds: N, one for each episode.

        Returns:
            (N,) rewards from the text and (N,) true returns.
        """
        observations, infos = self._envs.reset(seed=list(seeds))
        rewards = np.zeros(len(seeds))
        for _ in range(ENVIRONMENT.num_steps):
            observations, given, _, _, infos = self._envs.step(act(observations))
            rewards += given
        return rewards, infos["environment_return"]

    def close(self) -> None:
        """Close the environments."""
        self._envs.close()


def learn(reward: TextReward, search: Search, *, seed: int) -> Agent:
    """Search for a policy by the text alone, then judge the one that the search ended with.

    Args:
        reward: The text with its model.
        search: How.
        seed: Of the search, of the episodes and of the random agent.

    Returns:
        What came of it.
    """
    method = CrossEntropyMethod(
        POLICIES.num_parameters, seed=seed, population=search.population, num_elites=search.num_elites
    )
    text_rewards, true_returns = [], []
    episode = SEARCH_SEED + AGENTS_APART * seed
    with closing(Arena(reward, search.population)) as arena:
        for _ in range(search.num_generations):
            candidates = method.propose()
            act = partial(POLICIES.act, candidates)
            trials = range(episode, episode + search.num_trials)
            played = [arena.play(act, [trial] * search.population) for trial in trials]
            episode += search.num_trials
            rewards, returns = np.mean(played, axis=0)
            method.learn(candidates, rewards)
            text_rewards.append(float(rewards.mean()))
            true_returns.append(float(returns.mean()))
    first = TEST_SEED + AGENTS_APART * seed
    episodes = range(first, first + search.num_test_episodes)
    with closing(Arena(reward, search.num_test_episodes)) as arena:
        _, learned = arena.play(partial(POLICIES.act, method.mean), episodes)
        _, random = arena.play(random_agent(seed), episodes)
    return Agent(seed, method.mean, text_rewards, true_returns, learned, random)


def random_agent(seed: int) -> Act:
    """Actions drawn uniformly, whatever is observed."""
    generator = np.random.default_rng([seed, 1])

    def act(observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return generator.uniform(-1, 1, (len(observations), 2)).astype(np.float32)

    return act


def film(act: Act, *, seed: int) -> FrameArray:
    """The frames of one episode, (n, H, W, 3)."""
    env = ToyWorldEnv(ENVIRONMENT, render_mode="rgb_array")
    with closing(env):
        (episode,) = record_episodes(
            env, lambda observation: act(observation[None])[0], num_episodes=1, seed=seed
        )
    return episode.frames
