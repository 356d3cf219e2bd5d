"""An agent learns from a sentence alone: `python examples/text_reward.py OUTPUT`, some minutes on a CPU.

1. A small S3D learns from the narration of a toy world's videos; `--model` takes a trained model instead.
2. Its cosine with "the red square moves to the left" is compared with the true progress of 100 episodes in
   which a red square is moved at random.
3. For each seed the cross-entropy method searches for a policy by that cosine and nothing else; the true
   return is written down beside it and never looked at. Then the policy that the search ended with and a
   random agent play the same 50 new episodes.

OUTPUT gets text_reward.json with all numbers, correlation.png, learning_curves.png and strips.png. It is
repeatable to the last bit on one machine.

Seeds: world, model and backgrounds have seed 0, the episodes of 2 are 100,000 onwards, the agents 0 to 4,
each with episodes of its own. All were fixed before they were used, and none was tried instead of another.
What had to be chosen (200 or 600 training steps, speed and inertia of the square) was chosen on episodes
10,000 onwards and an agent of seed 20.
"""

import argparse
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from text_reward_agents import ENVIRONMENT, POLICIES, TEST_SEED, Agent, Search, film, learn, random_agent
from text_reward_pictures import draw_learning_curves, draw_strips

from narravid.evaluation.recorded_episodes import diagnose_reward, record_episodes
from narravid.evaluation.reward_diagnostics import RewardDiagnostics
from narravid.evaluation.reward_picture import reward_scatter
from narravid.files import write_json
from narravid.inference.text_reward import TextReward
from narravid.models.kinds import load_pixel_dual_encoder
from narravid.recipes.toy_motions import train_motion_model
from narravid.synthetic.toy_environment import ToyWorldEnv

PROMPT = "the red square moves to the left"
CORRELATION_SEED = 100_000
"""Of the first of the episodes that are moved at random; the others follow."""


def main() -> None:
    """Train, compare, search, judge, draw."""
    options = parse()
    output: Path = options.output
    torch.set_num_threads(1)  # more do not help a network so small
    say = Console(soft_wrap=True, highlight=False, markup=False).print
    minutes: dict[str, float] = {}
    started = processor_minutes()
    folder = options.model or train_motion_model(output, num_steps=options.train_steps, seed=0)
    minutes["drawing the world and training"] = processor_minutes() - started
    started = processor_minutes()
    reward = TextReward(load_pixel_dual_encoder(folder), PROMPT, batch_size=32)
    diagnostics = compare(reward, num_episodes=options.episodes)
    minutes["comparing"] = processor_minutes() - started
    say(f"{PROMPT!r}: {diagnostics.correlation}")
    search = Search(
        num_generations=options.generations,
        population=options.population,
        num_test_episodes=options.test_episodes,
    )
    started = processor_minutes()
    agents = [learn(reward, search, seed=seed) for seed in options.seeds]
    minutes["agents"] = processor_minutes() - started
    for agent in agents:
        say(str(agent))
    say(f"{sum(agent.gain > 0 for agent in agents)} of {len(agents)} agents beat the random one")
    say("minutes of the processor: " + ", ".join(f"{part} {spent:.1f}" for part, spent in minutes.items()))
    output.mkdir(parents=True, exist_ok=True)
    write_findings(output / "text_reward.json", diagnostics, agents, minutes)
    draw(output, diagnostics, agents)


def compare(reward: TextReward, *, num_episodes: int) -> RewardDiagnostics:
    """The text reward beside the true return of episodes that are moved at random."""
    env = ToyWorldEnv(ENVIRONMENT, render_mode="rgb_array")
    episodes = record_episodes(
        env, num_episodes=num_episodes, seed=CORRELATION_SEED, num_frames=reward.num_frames
    )
    return diagnose_reward(reward, episodes)


def draw(output: Path, diagnostics: RewardDiagnostics, agents: Sequence[Agent]) -> None:
    """The three pictures."""
    scatter = reward_scatter(
        diagnostics.rewards, diagnostics.true_returns, title=PROMPT, note=str(diagnostics.correlation)
    )
    (output / "correlation.png").write_bytes(scatter)
    draw_learning_curves(
        output / "learning_curves.png",
        [agent.text_rewards for agent in agents],
        [agent.true_returns for agent in agents],
    )
    first = agents[0]
    learned = partial(POLICIES.act, first.parameters)
    episodes = [
        ("at random", film(random_agent(first.seed), seed=TEST_SEED)),
        ("having learned", film(learned, seed=TEST_SEED)),
    ]
    draw_strips(output / "strips.png", episodes, title=f"the reward is “{PROMPT}”")


def write_findings(
    path: Path, diagnostics: RewardDiagnostics, agents: Sequence[Agent], minutes: Mapping[str, float]
) -> None:
    """All numbers as JSON."""
    episodes = zip(diagnostics.rewards.tolist(), diagnostics.true_returns.tolist(), strict=True)
    write_json(
        path,
        {
            "prompt": PROMPT,
            "rank_correlation": asdict(diagnostics.correlation),
            "episodes": [{"text_reward": reward, "true_return": true} for reward, true in episodes],
            "agents": [agent.to_dict() for agent in agents],
            "processor_minutes": dict(minutes),
        },
    )


def processor_minutes() -> float:
    """Processor time of this process and of children that have ended, all cores together."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (time.process_time() + children.ru_utime + children.ru_stime) / 60


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help="folder for world, run, numbers and pictures; a new one")
    parser.add_argument("--model", type=Path, help="a trained model; none is trained then")
    parser.add_argument("--train-steps", type=int, default=600, help="training steps of the model")
    parser.add_argument("--episodes", type=int, default=100, help="episodes that are compared")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of the agents")
    parser.add_argument("--generations", type=int, default=12, help="of each search")
    parser.add_argument("--population", type=int, default=32, help="policies tried in each generation")
    parser.add_argument("--test-episodes", type=int, default=50, help="by which an agent is judged")
    return parser.parse_args()


if __name__ == "__main__":
    main()
