"""Text as the reward of Gymnasium environments that render their frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsFloat

from narravid.extras import import_extra
from narravid.inference.episode_frames import FrameArray, check_frame
from narravid.inference.reward_schedule import (
    EpisodeReward,
    Infos,
    RewardMode,
    RewardSchedule,
    check_can_score,
    check_render_mode,
    score_clips,
)
from narravid.inference.text_reward import TextReward

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.error import ResetNeeded
    from gymnasium.utils import RecordConstructorArgs
else:
    gymnasium = import_extra("gymnasium", extra="rl", feature="text as the reward of an environment")
    ResetNeeded = gymnasium.error.ResetNeeded
    RecordConstructorArgs = gymnasium.utils.RecordConstructorArgs

__all__ = ["FRAME_KEY", "FrameInInfo", "TextRewardWrapper"]

FRAME_KEY = "rendered_frame"
"""Under which `FrameInInfo` puts a frame, and the vector wrapper looks for it."""


class TextRewardWrapper(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Gives an environment the reward of a text.

    The reward of a step is `reward_scale` times what the text gives for it, 0 where no score is due, plus
    `environment_weight` times the environment's own. In the infos:

    - "environment_reward", at every step: the environment's own reward;
    - "text_reward", where a score is due: what the text gives, without the scale;
    - "environment_return" and "text_return", at the end of an episode: their sums.

    Frames are rendered after the reset and after each step, and only where they can be needed: in a long
    sparse episode most are not (see `EpisodeFrames`, which also says what is kept in memory).

    An episode that is over must be reset here. A wrapper that resets by itself, as Gymnasium's `Autoreset`,
    stands around this one and never inside, where its resets could not be seen.

    Args:
        env: An environment with render_mode="rgb_array".
        reward: The text with its model; wrappers may share it.
        mode: When a score is given and as what; see `RewardMode`.
        window_frames: How many of the last frames are scored. None: when sparse the whole episode, else as
            many as the model sees. At the beginning there are fewer, which the model sees several times.
        every_steps: Steps from one score to the next, when not sparse; the last step is always scored.
        reward_scale: Factor of what the text gives.
        environment_weight: Factor of the environment's own reward.

    Attributes:
        text_reward: As given; its `latency` says how long scoring takes.

    Raises:
        MissingExtraError: If Gymnasium is not installed.
        ValueError: If the environment renders in another way or not at all, a value is out of range, or the
            reward takes frames by the published rule, which short episodes cannot satisfy.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        reward: TextReward,
        *,
        mode: RewardMode = "sparse",
        window_frames: int | None = None,
        every_steps: int = 1,
        reward_scale: float = 1.0,
        environment_weight: float = 0.0,
    ) -> None:
        arguments = _SharedArguments(
            reward=reward,
            mode=mode,
            window_frames=window_frames,
            every_steps=every_steps,
            reward_scale=reward_scale,
            environment_weight=environment_weight,
        )
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, **arguments)
        self._saved_kwargs = arguments
        super().__init__(env)
        self._schedule = RewardSchedule(mode, window_frames, every_steps, reward_scale, environment_weight)
        check_can_score(env.render_mode, reward)
        self.text_reward = reward
        self._episode = EpisodeReward(self._schedule, reward)

    def reset(self, *, seed: int | None = None, options: Infos | None = None) -> tuple[Any, Infos]:
        """Begin an episode; see `gymnasium.Env.reset`."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._episode.begin(self.env.render())
        return observation, info

    def step(self, action: object) -> tuple[Any, SupportsFloat, bool, bool, Infos]:
        """One step with the reward of the text; see `gymnasium.Env.step`.

        Raises:
            gymnasium.error.ResetNeeded: If the episode is over.
        """
        if self._episode.has_ended:
            raise ResetNeeded(
                "the episode is over, and frames of the next one must not count for it: call reset(), or put "
                "the wrapper that resets by itself around TextRewardWrapper instead of inside"
            )
        observation, own, terminated, truncated, info = self.env.step(action)
        episode = self._episode
        episode.step(float(own), ended=bool(terminated or truncated))
        episode.see(self.env.render() if episode.wants_frame else None)
        info = {**info, "environment_reward": float(own)}
        reward = self._schedule.environment_weight * float(own)
        if episode.is_due:
            given = episode.reward(score_clips(self.text_reward, [episode.clips()])[0])
            info["text_reward"] = given
            reward += self._schedule.scale * given
        if episode.has_ended:
            info["environment_return"] = episode.environment_return
            info["text_return"] = episode.text_return
        return observation, reward, terminated, truncated, info


class FrameInInfo(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Renders after each reset and step, and puts the frame into the info as "rendered_frame".

    For the environments inside a vector environment. With autoreset in the same step it is the only way to
    the last frame of an episode, as `render` already shows the next one; with processes it saves a round
    trip. The environments together must draw frames of one size, as Gymnasium puts those of a step into one
    array; without this wrapper sizes may differ between environments.

    Args:
        env: An environment with render_mode="rgb_array".

    Raises:
        MissingExtraError: If Gymnasium is not installed.
        ValueError: If the environment renders in another way or not at all.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        check_render_mode(env.render_mode)

    def reset(self, *, seed: int | None = None, options: Infos | None = None) -> tuple[Any, Infos]:
        """Begin an episode; see `gymnasium.Env.reset`."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, FRAME_KEY: self._frame()}

    def step(self, action: object) -> tuple[Any, SupportsFloat, bool, bool, Infos]:
        """One step; see `gymnasium.Env.step`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, {**info, FRAME_KEY: self._frame()}

    def _frame(self) -> FrameArray:
        return check_frame(self.env.render()).copy()


class _SharedArguments(dict[str, Any]):
    """What a wrapper was made with; its copies share the model instead of copying its weights.

    Gymnasium copies the description of an environment, with these, for each wrapper around it.
    """

    def __deepcopy__(self, memo: dict[int, object]) -> _SharedArguments:
        return _SharedArguments(self)
