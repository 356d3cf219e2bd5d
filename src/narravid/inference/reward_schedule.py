"""When an environment gets a reward for its frames, and what of it: the books of one running episode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from narravid.inference.episode_frames import EpisodeFrames, FrameArray, check_frame
from narravid.inference.text_reward import TextReward

__all__ = [
    "EpisodeReward",
    "Infos",
    "RewardMode",
    "RewardSchedule",
    "check_can_score",
    "check_render_mode",
    "score_clips",
]

Infos = dict[str, Any]
"""What an environment says beside its observation."""

RewardMode = Literal["sparse", "dense", "differences"]
"""When a score is given and as what: "sparse" is the score of the episode at its end, "dense" the score of
the last frames every few steps and at the end, "differences" by how much that score has risen since the last
one, so that the rewards of an episode sum to its last score minus that of its first frame."""


@dataclass(frozen=True, slots=True)
class RewardSchedule:
    """When a reward is due and how it is put together.

    Attributes:
        mode: When a score is given and as what.
        window_frames: How many of the last frames are scored. None: all of the episode when sparse, else as
            many as the model sees.
        every_steps: Steps from one score to the next; 1 when sparse, where there is but one.
        scale: Factor of the score.
        environment_weight: Factor of the environment's own reward, which is added.

    Raises:
        ValueError: If a value is out of range, or values do not go together.
    """

    mode: RewardMode = "sparse"
    window_frames: int | None = None
    every_steps: int = 1
    scale: float = 1.0
    environment_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in get_args(RewardMode):
            allowed = " or ".join(repr(mode) for mode in get_args(RewardMode))
            raise ValueError(f"mode must be {allowed}, got {self.mode!r}")
        if self.window_frames is not None and self.window_frames < 1:
            raise ValueError(f"window_frames must be at least 1 or None, got {self.window_frames}")
        if self.every_steps < 1:
            raise ValueError(f"every_steps must be at least 1, got {self.every_steps}")
        if self.mode == "sparse" and self.every_steps != 1:
            raise ValueError(
                f"every_steps is for modes other than 'sparse', which has one score, got {self.every_steps}"
            )
        for name, factor in (("scale", self.scale), ("environment_weight", self.environment_weight)):
            if not math.isfinite(factor):
                raise ValueError(f"{name} must be finite, got {factor}")

    def frames_of(self, num_frames: int) -> EpisodeFrames:
        """A store for the frames of an episode, for a model that sees `num_frames` of them."""
        window = self.window_frames
        if window is None and self.mode != "sparse":
            window = num_frames
        return EpisodeFrames(num_frames, window_frames=window)


class EpisodeReward:
    """The running episode of one environment: its frames, when its scores are due, what they sum to.

    For each step `step` is called, then `see` with the frame if it is wanted, then, if a score is due,
    `clips` are scored and the scores given to `reward`.

    Args:
        schedule: When a reward is due.
        reward: What scores; says how many frames it sees, and of what size.

    Attributes:
        text_return: Sum of the episode's rewards from text, without the scale.
        environment_return: Sum of the environment's own rewards.
        num_steps: Steps of the episode.
        is_due: Whether the last step wants a score.
        has_ended: Whether the last step was the episode's last.
    """

    def __init__(self, schedule: RewardSchedule, reward: TextReward) -> None:
        self._schedule = schedule
        self._reduced = reward.reduced
        self._frames = schedule.frames_of(reward.num_frames)
        self._first: FrameArray | None = None
        self._clear()

    def _clear(self) -> None:
        self._frames.clear()
        self._score: float | None = None
        self.text_return = 0.0
        self.environment_return = 0.0
        self.num_steps = 0
        self.is_due = False
        self.has_ended = False

    def begin(self, frame: object) -> None:
        """A new episode.

        Args:
            frame: (H, W, 3) uint8, rendered after the reset.

        Raises:
            ValueError: If the frame is something else.
        """
        self._clear()
        self._frames.add(self._reduced(check_frame(frame)))
        self._first = self._frames.frames() if self._schedule.mode == "differences" else None

    def step(self, environment_reward: float, *, ended: bool) -> None:
        """A step was made.

        Args:
            environment_reward: What the environment gave for it.
            ended: Whether the episode is over.
        """
        self.num_steps += 1
        self.environment_return += environment_reward
        self.has_ended = ended
        on_time = self._schedule.mode != "sparse" and self.num_steps % self._schedule.every_steps == 0
        self.is_due = ended or on_time

    @property
    def wants_frame(self) -> bool:
        """Whether the frame after the last step has to be rendered."""
        return self.is_due or self._frames.wants_next

    def see(self, frame: object | None) -> None:
        """The frame after the last step.

        Args:
            frame: (H, W, 3) uint8; anything if it is not wanted.

        Raises:
            ValueError: If the frame is something else, or missing although it is wanted.
        """
        if self.wants_frame:
            self._frames.add(self._reduced(check_frame(frame)))
        else:
            self._frames.skip()

    def clips(self) -> list[FrameArray]:
        """What has to be scored for the reward that is due.

        Returns:
            One clip of (num_frames, H, W, 3) uint8, or two where the first difference needs a score of the
            episode's first frame, which comes first.
        """
        current = self._frames.frames()
        return [current] if self._first is None else [self._first, current]

    def reward(self, scores: list[float]) -> float:
        """The reward from text of a step that is due.

        Args:
            scores: One for each of `clips`.

        Returns:
            The reward, without the scale.
        """
        before = scores[0] if self._first is not None else self._score
        self._first, self._score = None, scores[-1]
        given = (
            scores[-1] - before if self._schedule.mode == "differences" and before is not None else scores[-1]
        )
        self.text_return += given
        return given


def score_clips(reward: TextReward, clips: Sequence[list[FrameArray]]) -> list[list[float]]:
    """Scores of the clips of several environments by one call of a reward.

    Args:
        reward: What scores.
        clips: For each environment its clips, as `EpisodeReward.clips` gives them.

    Returns:
        For each environment the scores of its clips.
    """
    scores = iter(np.atleast_1d(reward([clip for own in clips for clip in own])).tolist() if clips else [])
    return [[next(scores) for _ in own] for own in clips]


def check_can_score(render_mode: str | None, reward: TextReward) -> None:
    """Refuse what a wrapper cannot work with.

    Args:
        render_mode: Of the environment.
        reward: What shall score it.

    Raises:
        ValueError: If the environment does not render frames one by one, or the reward takes frames by the
            published rule, which episodes of fewer frames cannot satisfy.
    """
    check_render_mode(render_mode)
    if reward.sampling.frames != "even":
        raise ValueError(
            f"an environment's reward needs frames='even' in its sampling, got {reward.sampling.frames!r}, "
            "for which a young episode has too few frames"
        )


def check_render_mode(render_mode: str | None) -> None:
    """Refuse an environment that does not render frames one by one.

    Args:
        render_mode: Of the environment.

    Raises:
        ValueError: If it is not "rgb_array".
    """
    if render_mode != "rgb_array":
        raise ValueError(
            f"the environment must be made with render_mode='rgb_array', so that there are frames to score, "
            f"got render_mode={render_mode!r}"
        )
