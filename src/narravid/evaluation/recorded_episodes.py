"""Episodes of an environment with their frames and true returns, to judge rewards by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from narravid.evaluation.reward_diagnostics import RewardDiagnostics, diagnose
from narravid.inference.episode_frames import EpisodeFrames, FrameArray, check_frame
from narravid.inference.reward_schedule import check_render_mode
from narravid.inference.text_reward import TextReward

if TYPE_CHECKING:
    import gymnasium

__all__ = ["RecordedEpisode", "diagnose_reward", "record_episodes"]

MAX_STEPS = 10_000
EPISODES_AT_ONCE = 32
"""Episodes that are scored by one call of a reward, which copies their frames."""


@dataclass(frozen=True, eq=False, slots=True)
class RecordedEpisode:
    """One episode.

    Attributes:
        frames: (n, H, W, 3) uint8 RGB, spread evenly from the first to the last.
        frame_numbers: Which of the episode's frames these are; frame 0 is that after the reset.
        true_return: Sum of the environment's rewards.
        num_steps: Steps that were made.
    """

    frames: FrameArray
    frame_numbers: tuple[int, ...]
    true_return: float
    num_steps: int


def record_episodes(
    env: gymnasium.Env[Any, Any],
    policy: Callable[[Any], Any] | None = None,
    *,
    num_episodes: int,
    seed: int,
    num_frames: int = 32,
    max_steps: int = MAX_STEPS,
    reduced: Callable[[FrameArray], FrameArray] | None = None,
) -> list[RecordedEpisode]:
    """Play episodes and keep of each a few frames, however long it is.

    All are held in memory: 100 episodes of 32 frames of 640 × 480 pixels are 2.9 GB, and 480 MB if they are
    reduced for a model of 224 pixels.

    Args:
        env: An environment with render_mode="rgb_array". Of one with a `TextRewardWrapper` around it, the
            environment's own rewards are summed.
        policy: From an observation to an action; None for actions drawn from the action space.
        num_episodes: How many.
        seed: Episode i is reset with seed + i, and its drawn actions follow from seed + i too, by a source
            of their own: it is the same whichever others are recorded. To see how results vary with the
            seed, take seeds at least num_episodes apart, or the same episodes come again.
        num_frames: Frames kept of each: as many as the model sees that is to be judged.
        max_steps: Where an episode is cut off that does not end.
        reduced: From a frame to the frame that is kept of it, both (H, W, 3) uint8, such as `reduced` of the
            `TextReward` that is to be judged, whose scores stay the same. None: kept as rendered.

    Returns:
        The episodes, in order.

    Raises:
        ValueError: If the environment does not render frames, or a number is below 1.
    """
    if num_episodes < 1 or max_steps < 1:
        raise ValueError(f"num_episodes and max_steps must be at least 1, got {num_episodes} and {max_steps}")
    check_render_mode(env.render_mode)
    act = policy if policy is not None else lambda _: env.action_space.sample()
    frames = EpisodeFrames(num_frames)

    def draw() -> FrameArray:
        frame = check_frame(env.render())
        return frame if reduced is None else reduced(frame)

    episodes = []
    for episode_seed in range(seed, seed + num_episodes):
        env.action_space.seed(_action_seed(episode_seed))
        episodes.append(_play(env, act, frames, draw=draw, seed=episode_seed, max_steps=max_steps))
    return episodes


def diagnose_reward(
    reward: TextReward, episodes: Sequence[RecordedEpisode], *, seed: int = 0
) -> RewardDiagnostics:
    """Score recorded episodes and compare the scores with the true returns.

    Args:
        reward: The text with its model.
        episodes: As recorded, of one environment.
        seed: Of the bootstrap.

    Returns:
        Rewards, true returns and how far their orders agree.

    Raises:
        ValueError: If there is no episode.
    """
    rewards: list[float] = []
    for start in range(0, max(1, len(episodes)), EPISODES_AT_ONCE):
        some = [episode.frames for episode in episodes[start : start + EPISODES_AT_ONCE]]
        rewards += np.atleast_1d(reward(some)).tolist()
    return diagnose(reward.prompt, rewards, [episode.true_return for episode in episodes], seed=seed)


def _action_seed(episode_seed: int) -> int:
    # Seeded alike, the generators of environment and action space would draw the same numbers.
    return int(np.random.SeedSequence([episode_seed, 1]).generate_state(1)[0])


def _play(
    env: gymnasium.Env[Any, Any],
    act: Callable[[Any], Any],
    frames: EpisodeFrames,
    *,
    draw: Callable[[], FrameArray],
    seed: int,
    max_steps: int,
) -> RecordedEpisode:
    observation, _ = env.reset(seed=seed)
    frames.clear()
    frames.add(draw())
    true_return, num_steps, over = 0.0, 0, False
    while not over:
        observation, reward, terminated, truncated, info = env.step(act(observation))
        num_steps += 1
        true_return += float(info.get("environment_reward", reward))
        over = bool(terminated or truncated) or num_steps == max_steps
        if over or frames.wants_next:
            frames.add(draw())
        else:
            frames.skip()
    return RecordedEpisode(frames.frames(), tuple(frames.numbers()), true_return, num_steps)
