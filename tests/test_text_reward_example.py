"""The example of an agent that learns from a sentence: its search, its policies, a run with tiny settings."""

from __future__ import annotations

import importlib
import json
import math
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from narravid.inference.text_reward import TextReward
from narravid.training.run import MODEL_FOLDER
from small_corpus import small_recipe, write_narrated_videos
from tiny_models import TinyDualEncoder

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str):
    sys.path.insert(0, str(EXAMPLES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    """A small model, hardly trained, that knows "left" and "right" among other words of the prompts."""
    folder = tmp_path_factory.mktemp("small")
    for transcript in write_narrated_videos(folder / "videos").glob("*.vtt"):
        told = transcript.read_text().replace("moves over", "moves from left to right over")
        transcript.write_text(told)
    recipe = small_recipe(folder / "videos", num_steps=1)
    replace(recipe, model=replace(recipe.model, max_words=8)).train(folder / "run")
    return folder / "run" / MODEL_FOLDER


def test_the_search_follows_its_best_candidates() -> None:
    method = example("cross_entropy").CrossEntropyMethod(
        2, seed=0, population=4, num_elites=2, least_std=0.25
    )
    candidates = np.array([[0.0, 9.0], [1.0, 4.0], [9.0, 9.0], [3.0, 4.0]])
    method.learn(candidates, np.array([-1.0, 5.0, 0.0, 7.0]))
    assert method.mean.tolist() == [2.0, 4.0]
    assert method.std.tolist() == [1.0, 0.25]  # no less than is kept


def test_the_search_finds_the_top_of_a_hill() -> None:
    def find(seed: int) -> np.ndarray:
        method = example("cross_entropy").CrossEntropyMethod(
            3, seed=seed, population=30, num_elites=6, least_std=0.01
        )
        for _ in range(40):
            candidates = method.propose()
            assert candidates.shape == (30, 3)
            method.learn(candidates, -((candidates - [1.0, -2.0, 0.5]) ** 2).sum(axis=1))
        return method.mean

    np.testing.assert_allclose(find(0), [1.0, -2.0, 0.5], atol=0.05)
    assert find(1).tolist() == find(1).tolist()
    assert find(1).tolist() != find(2).tolist()


def test_the_search_refuses_to_keep_everyone() -> None:
    with pytest.raises(ValueError, match="num_elites"):
        example("cross_entropy").CrossEntropyMethod(2, seed=0, population=4, num_elites=4)


def test_each_policy_answers_its_own_observation() -> None:
    policies = example("cross_entropy").LinearPolicies(observation_dim=2, action_dim=2)
    assert policies.num_parameters == 6
    parameters = np.array([[1.0, 2.0, 0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, -1.0, 3.0, 0.25]])
    observations = np.array([[0.1, 0.2], [0.3, -0.4]], dtype=np.float32)
    expected = [
        [math.tanh(0.1 + 0.4 + 0.5), 0.0],
        [0.0, math.tanh(-0.3 - 1.2 + 0.25)],
    ]
    np.testing.assert_allclose(policies.act(parameters, observations), expected, atol=1e-6)
    alone = policies.act(parameters[1], observations)  # one policy for all
    np.testing.assert_allclose(alone[1], expected[1], atol=1e-6)
    assert alone[0, 1] == pytest.approx(math.tanh(-0.1 + 0.6 + 0.25), abs=1e-6)


@pytest.mark.slow
def test_a_tiny_run_writes_its_numbers_and_pictures(tmp_path, model_folder, monkeypatch, capsys) -> None:
    arguments = (
        *("--model", str(model_folder), "--episodes", "6", "--seeds", "3", "--generations", "2"),
        *("--population", "7", "--test-episodes", "3"),
    )
    monkeypatch.setattr(sys, "argv", ["text_reward.py", str(tmp_path), *arguments])
    example("text_reward").main()
    findings = json.loads((tmp_path / "text_reward.json").read_text())
    alone, with_baseline = findings["rewards"]["alone"], findings["rewards"]["with baseline"]
    assert alone["rank_correlation"]["num_episodes"] == len(alone["text_rewards"]) == 6
    assert alone["true_returns"] == with_baseline["true_returns"]
    assert alone["text_rewards"] != with_baseline["text_rewards"]
    (agent,) = findings["agents"]
    assert agent["seed"] == 3
    assert len(agent["text_rewards"]) == len(agent["true_returns"]) == 2
    differences = np.subtract(agent["test_returns"], agent["random_returns"])
    assert agent["gain"] == pytest.approx(differences.mean())
    assert agent["interval"][0] <= agent["gain"] <= agent["interval"][1]
    assert "of 1 agents beat the random one" in capsys.readouterr().out
    for name in ("correlation", "learning_curves", "strips"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 200


@pytest.fixture(scope="module")
def agents():
    """The module, a short search's settings, a reward, and what came of that search with seed 1."""
    module = example("text_reward_agents")
    search = module.Search(num_generations=1, population=5, num_elites=2, num_trials=2, num_test_episodes=2)
    reward = TextReward(TinyDualEncoder(num_words=12), "a red square")
    return module, search, reward, module.learn(reward, search, seed=1)


def test_the_same_seed_gives_the_same_agent(agents) -> None:
    module, search, reward, agent = agents
    assert module.learn(reward, search, seed=1).to_dict() == agent.to_dict()
    assert module.learn(reward, search, seed=2).parameters.tolist() != agent.parameters.tolist()


def test_an_agent_learns_from_the_text_alone(agents) -> None:
    module, _, reward, agent = agents
    candidates = np.random.default_rng(1).standard_normal((5, 10))
    policies = module.LinearPolicies(observation_dim=4, action_dim=2)
    first = module.SEARCH_SEED + module.AGENTS_APART
    arena = module.Arena(reward, 5)
    played = [arena.play(partial(policies.act, candidates), [seed] * 5) for seed in (first, first + 1)]
    by_text, by_progress = ((played[0][kind] + played[1][kind]) / 2 for kind in (0, 1))
    followed, not_followed = (
        candidates[sorted(range(5), key=lambda number: -scores[number])[:2]].mean(axis=0)
        for scores in (by_text, by_progress)
    )
    np.testing.assert_allclose(agent.parameters, followed, atol=1e-12)
    assert np.abs(followed - not_followed).max() > 0.1  # the true return would have led elsewhere
    assert agent.text_rewards == [pytest.approx(by_text.mean(), abs=1e-6)]
    assert agent.true_returns == [pytest.approx(by_progress.mean())]


def test_an_agent_is_judged_in_new_episodes_beside_a_random_one(agents) -> None:
    module, _, reward, agent = agents
    first = module.TEST_SEED + module.AGENTS_APART
    assert agent.first_test_episode == first
    policies = module.LinearPolicies(observation_dim=4, action_dim=2)
    arena = module.Arena(reward, 2)
    _, learned = arena.play(partial(policies.act, agent.parameters), [first, first + 1])
    generator = np.random.default_rng([1, 1])
    drawn = lambda observations: generator.uniform(-1, 1, (2, 2)).astype(np.float32)  # noqa: E731
    _, random = arena.play(drawn, [first, first + 1])
    assert agent.test_returns.tolist() == learned.tolist()
    assert agent.random_returns.tolist() == random.tolist()


def test_no_two_purposes_and_no_two_agents_share_an_episode() -> None:
    module, text_reward = example("text_reward_agents"), example("text_reward")
    most = 50_000  # episodes of one purpose, far more than are played
    firsts = [text_reward.CORRELATION_SEED]
    for seed in range(30):
        firsts += [start + seed * module.AGENTS_APART for start in (module.SEARCH_SEED, module.TEST_SEED)]
    assert np.diff(sorted(firsts)).min() >= most
    assert min(firsts) > 100_000 + most  # what was looked at while the example was made


def test_an_episode_is_rewarded_by_the_text_at_its_end() -> None:
    module = example("text_reward_agents")
    reward = TextReward(TinyDualEncoder(num_words=12), "a red square")
    rewards, returns = module.Arena(reward, 2).play(module.random_agent(0), [5, 6])
    act = module.random_agent(0)
    envs = [module.ToyWorldEnv(module.ENVIRONMENT, render_mode="rgb_array") for _ in range(2)]
    observations = np.stack([env.reset(seed=seed)[0] for env, seed in zip(envs, (5, 6), strict=True)])
    frames = [[env.render()] for env in envs]
    progress = [0.0, 0.0]
    for _ in range(module.ENVIRONMENT.num_steps):
        for number, action in enumerate(act(observations)):
            _, _, _, _, info = envs[number].step(action)
            frames[number].append(envs[number].render())
            progress[number] = info["progress"]
    np.testing.assert_allclose(rewards, reward([np.stack(episode) for episode in frames]), atol=1e-6)
    np.testing.assert_allclose(returns, progress, atol=1e-9)


def test_an_agent_that_goes_left_is_judged_by_the_true_return() -> None:
    module = example("text_reward_agents")
    returns, randoms = np.array([0.5, 0.3, 0.4]), np.array([0.1, -0.1, 0.3])
    agent = module.Agent(0, np.zeros(10), [0.1], [0.2], returns, randoms)
    assert agent.gain == pytest.approx(0.3)
    assert "+0.40, random +0.10, better by +0.30" in str(agent)
    left = lambda observations: np.tile(np.float32([-1, 0]), (len(observations), 1))  # noqa: E731
    frames = module.film(left, seed=1)
    reds = [
        np.nonzero((frame[..., 0] > 150) & (frame[..., 1] < 90))[1].mean()
        for frame in (frames[0], frames[-1])
    ]
    assert reds[1] < reds[0] - 8
