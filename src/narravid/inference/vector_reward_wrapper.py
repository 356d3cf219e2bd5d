"""Text as the reward of many environments at once, which are scored together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from narravid.extras import import_extra
from narravid.inference.reward_schedule import (
    EpisodeReward,
    Infos,
    RewardMode,
    RewardSchedule,
    check_can_score,
    score_clips,
)
from narravid.inference.reward_wrappers import FRAME_KEY
from narravid.inference.text_reward import TextReward

if TYPE_CHECKING:
    from gymnasium import vector
else:
    vector = import_extra("gymnasium.vector", extra="rl", feature="text as the reward of environments")

__all__ = ["VectorTextRewardWrapper"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class VectorTextRewardWrapper(vector.VectorWrapper[Any, Any, Any, Any, Any]):
    """Gives the environments of a vector environment the reward of a text; those that are due share a call.

    Rewards and infos are as for `TextRewardWrapper`, the infos as arrays of (num_envs,) with a mask under the
    same name after "_". A step that only resets an environment, as the one after an episode does by default,
    has no reward and no part in the infos. With autoreset in the same step the environments must be wrapped
    in `FrameInInfo`, as `render` already shows the next episode when the last one ends; what is said of an
    episode that ended stands in the infos themselves, not in "final_info". The frames of `FrameInInfo` are
    taken out of the infos.

    With autoreset in the next step, `AsyncVectorEnv` without shared memory resets an environment once more,
    unseen, if it is reset by hand between the end of an episode and the next step (Gymnasium 1.4): the frame
    of the dropped start then counts for the new episode.

    Args:
        env: Such as `gymnasium.vector.SyncVectorEnv` or `AsyncVectorEnv`, of environments with
            render_mode="rgb_array".
        reward: The text with its model. What is due at one step is scored by one call of it.
        mode: As for `TextRewardWrapper`, like the others.
        window_frames: How many of the last frames are scored.
        every_steps: Steps from one score to the next.
        reward_scale: Factor of what the text gives.
        environment_weight: Factor of the environments' own rewards.

    Attributes:
        text_reward: As given; its `latency` says how long scoring takes.

    Raises:
        MissingExtraError: If Gymnasium is not installed.
        ValueError: As for `TextRewardWrapper`, or if the vector environment does not say how it resets.
    """

    def __init__(
        self,
        env: vector.VectorEnv[Any, Any, Any],
        reward: TextReward,
        *,
        mode: RewardMode = "sparse",
        window_frames: int | None = None,
        every_steps: int = 1,
        reward_scale: float = 1.0,
        environment_weight: float = 0.0,
    ) -> None:
        super().__init__(env)
        self._schedule = RewardSchedule(mode, window_frames, every_steps, reward_scale, environment_weight)
        check_can_score(env.render_mode, reward)
        self._autoreset = _autoreset_mode(env)
        self.text_reward = reward
        self._episodes = [EpisodeReward(self._schedule, reward) for _ in range(env.num_envs)]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Infos | None = None
    ) -> tuple[Any, Infos]:
        """Begin episodes, those of `options["reset_mask"]` or all; see `gymnasium.vector.VectorEnv.reset`."""
        mask = (options or {}).get("reset_mask")  # looked up before the environment takes it out
        chosen = list(range(self.num_envs)) if mask is None else np.flatnonzero(mask).tolist()
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        if self._autoreset is vector.AutoresetMode.SAME_STEP and FRAME_KEY not in infos:
            raise ValueError(
                "with autoreset in the same step the last frame of an episode can no longer be rendered; "
                "wrap the environments inside in FrameInInfo, or choose another autoreset_mode"
            )
        frames = self._frames(infos, chosen)
        for number in chosen:
            self._episodes[number].begin(frames[number])
        return observations, _without_frames(infos)

    def step(self, actions: object) -> tuple[Any, FloatArray, BoolArray, BoolArray, Infos]:
        """One step in each environment; see `gymnasium.vector.VectorEnv.step`."""
        running = np.array([not episode.has_ended for episode in self._episodes])
        observations, own, terminated, truncated, infos = self.env.step(actions)
        own = np.where(running, np.asarray(own, dtype=np.float64), 0.0)
        ended = np.logical_or(terminated, truncated) & running
        self._see(infos, own, running=running, ended=ended)
        due = [number for number in np.flatnonzero(running).tolist() if self._episodes[number].is_due]
        given = self._given(due)
        rewards = self._schedule.scale * given + self._schedule.environment_weight * own
        report = self._report(own, given, running=running, due=due, ended=ended)
        if self._autoreset is vector.AutoresetMode.SAME_STEP and ended.any():
            frames = self._frames(infos, range(self.num_envs))
            for number in np.flatnonzero(ended).tolist():
                self._episodes[number].begin(frames[number])
        return observations, rewards, terminated, truncated, {**_without_frames(infos), **report}

    def _see(self, infos: Infos, own: FloatArray, *, running: BoolArray, ended: BoolArray) -> None:
        """Hand every episode its frame; those that the environment began with this step begin here."""
        stepped = np.flatnonzero(running).tolist()
        for number in stepped:
            self._episodes[number].step(float(own[number]), ended=bool(ended[number]))
        resets_now = self._autoreset is vector.AutoresetMode.NEXT_STEP
        begun = np.flatnonzero(~running).tolist() if resets_now else []
        wanted = any(self._episodes[number].wants_frame for number in stepped)
        frames = self._frames(infos, [*stepped, *begun]) if wanted or begun else [None] * self.num_envs
        if self._autoreset is vector.AutoresetMode.SAME_STEP and ended.any():
            last = _taken(infos.get("final_info"), np.flatnonzero(ended).tolist())
            frames = [last[number] if ended[number] else frames[number] for number in range(self.num_envs)]
        for number in stepped:
            self._episodes[number].see(frames[number])
        for number in begun:
            self._episodes[number].begin(frames[number])

    def _frames(self, infos: Infos, numbers: Sequence[int]) -> Sequence[Any]:
        """The current frame of each environment; those of `numbers` are sure to be there."""
        if FRAME_KEY in infos:
            return _taken(infos, numbers)
        frames = self.env.render()
        if frames is None or len(frames) != self.num_envs:
            have = "none" if frames is None else str(len(frames))
            raise ValueError(f"the vector environment must render {self.num_envs} frames, got {have}")
        return frames

    def _given(self, due: Sequence[int]) -> FloatArray:
        """(num_envs,) what the text gives; 0 where nothing is due."""
        given = np.zeros(self.num_envs)
        scores = score_clips(self.text_reward, [self._episodes[number].clips() for number in due])
        for number, own in zip(due, scores, strict=True):
            given[number] = self._episodes[number].reward(own)
        return given

    def _report(
        self, own: FloatArray, given: FloatArray, *, running: BoolArray, due: Sequence[int], ended: BoolArray
    ) -> Infos:
        entries = {"environment_reward": (own, running)}
        if due:
            entries["text_reward"] = (given, np.isin(np.arange(self.num_envs), due))
        if ended.any():
            for name in ("environment_return", "text_return"):
                sums = np.array([getattr(episode, name) for episode in self._episodes])
                entries[name] = (np.where(ended, sums, 0.0), ended)
        report: Infos = {}
        for name, (values, mask) in entries.items():
            report[name], report[f"_{name}"] = values.copy(), mask.copy()
        return report


def _taken(infos: object, numbers: Iterable[int]) -> Sequence[Any]:
    """The frames that `FrameInInfo` put into infos."""
    mask = infos.get(f"_{FRAME_KEY}") if isinstance(infos, dict) else None
    if not isinstance(infos, dict) or mask is None or not all(mask[number] for number in numbers):
        raise ValueError("either all environments inside must be wrapped in FrameInInfo, or none")
    frames: Sequence[Any] = infos[FRAME_KEY]
    return frames


def _without_frames(infos: Infos) -> Infos:
    kept = {name: value for name, value in infos.items() if name not in (FRAME_KEY, f"_{FRAME_KEY}")}
    if isinstance(kept.get("final_info"), dict):
        kept["final_info"] = _without_frames(kept["final_info"])
    return kept


def _autoreset_mode(env: vector.VectorEnv[Any, Any, Any]) -> vector.AutoresetMode:
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, vector.AutoresetMode):
        raise ValueError(
            "the vector environment must say how it resets its environments: set "
            f"metadata['autoreset_mode'] to a gymnasium.vector.AutoresetMode, got {mode!r}"
        )
    return mode
