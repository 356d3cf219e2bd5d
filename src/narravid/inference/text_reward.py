"""A sentence as the reward of an agent: how well the frames of an episode fit it.

The cosine of a video and a prompt, or its form regularised by a baseline prompt (Rocamonde et al.,
Vision-Language Models are Zero-Shot Reward Models for Reinforcement Learning, ICLR 2024, arXiv 2310.12921). A
video model sees what happens rather than how it ends (Sontakke et al., RoboCLIP, NeurIPS 2023, arXiv
2310.07899).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from narravid.errors import ConfigError
from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.episode_blocks import Episodes, as_episodes, spread_frames
from narravid.inference.episode_frames import FrameArray
from narravid.inference.latency_meter import LatencyMeter
from narravid.inference.prompt_vectors import encode_prompts
from narravid.inference.trajectory_baseline import Baseline, RewardForm, refuse_equal, regularised_scores
from narravid.inference.trajectory_clips import (
    DEFAULT_SAMPLING,
    TrajectorySampling,
    encode_trajectory_frames,
    trajectory_clip,
)
from narravid.protocols import PixelDualEncoder

__all__ = ["Episodes", "Rewards", "TextReward", "TextRewardModel"]

Rewards = npt.NDArray[np.float32]
"""(N,) in [-1, 1]."""

BATCH_SIZE = 8
MAX_PROMPTS = 1024
"""Prompts that are kept; the one whose last use is longest ago makes room."""


class TextRewardModel:
    """Scores episodes against any prompts with one model.

    May be used from several threads. A prompt is encoded once. The weights of a model of this package are
    taken as they are at the first episode: training that goes on later does not change rewards. A model of
    your own (one without an inference form, see `narravid.models.inference_form`) is used as it is at each
    call: it follows training, and must then be brought back to eval mode.

    Args:
        model: A dual encoder on pixels, which computes where it is and is set to eval mode, or an encoder of
            clips that says device, arithmetic and backend.
        baseline: A prompt that describes the scene without the goal, the same for all prompts.
        alpha: Strength of the baseline in [0, 1]; None for that of `Baseline`, 0.5.
        form: How the baseline takes part; None for that of `Baseline`, "projected".
        sampling: Which frames of an episode the model sees, and how they get their size.
        batch_size: Episodes in one forward pass.

    Attributes:
        baseline: The baseline with its strength and form; None without one.
        sampling: As given.
        batch_size: As given.
        latency: How long the calls take.

    Raises:
        ConfigError: If the model knows no word of the baseline, a value is out of range, or there is a
            strength or form without a baseline.
        ValueError: If the model has no text.
    """

    def __init__(
        self,
        model: PixelDualEncoder | ClipEncoder,
        baseline: str | None = None,
        *,
        alpha: float | None = None,
        form: RewardForm | None = None,
        sampling: TrajectorySampling = DEFAULT_SAMPLING,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}", key="batch_size")
        encoder, self._model = _dual_encoder(model)
        self.baseline = _baseline(baseline, alpha, form)
        self.sampling = sampling
        self.batch_size = batch_size
        self.latency = LatencyMeter()
        self._encoder = encoder
        self._goals: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._goals_turn = threading.Lock()
        self._start = None if baseline is None else self._vectors([baseline])

    @property
    def num_frames(self) -> int:
        """Frames of an episode that the model sees."""
        return self.sampling.num_frames_for(self._encoder.clip_spec)

    def compute_reward(self, frames: Episodes, task: str | Sequence[str]) -> float | Rewards:
        """How well episodes fit what should happen in them.

        Args:
            frames: (T, H, W, 3) uint8 RGB of one episode; (N, T, H, W, 3) of N, or a list of N blocks, whose
                lengths and sizes may differ. Arrays or tensors, on any device.
            task: A sentence, or N of them, one for each episode.

        Returns:
            A number in [-1, 1] for one episode; (N,) float32 for several.

        Raises:
            ConfigError: If the model knows no word of a sentence, or cannot tell it from the baseline.
            NarravidError: If the model gives NaN, infinity or a zero vector.
            ValueError: If shapes, dtypes or numbers do not fit.
        """
        begin = time.perf_counter()
        episodes, is_one = as_episodes(frames)
        tasks = [task] * len(episodes) if isinstance(task, str) else list(task)
        if len(tasks) != len(episodes):
            raise ValueError(f"{len(episodes)} episodes need as many tasks or a single one, got {len(tasks)}")
        goals = self._goals_of(tasks)
        taken = (  # one at a time: the frames of an episode are copied in full size
            spread_frames(number, episode, self.num_frames, sampling=self.sampling.frames)
            for number, episode in enumerate(episodes)
        )
        vectors = encode_trajectory_frames(
            self._encoder, taken, sampling=self.sampling, batch_size=self.batch_size
        )
        scores = self._scores(vectors, tasks, goals)
        seconds, num_episodes = time.perf_counter() - begin, len(episodes)
        self.latency.record(seconds, episodes=num_episodes, frames=num_episodes * self.num_frames)
        return float(scores[0]) if is_one else scores

    def prepare(self, tasks: Sequence[str]) -> None:
        """Encode prompts before they are needed, so that faults in them show at once.

        Args:
            tasks: The sentences.

        Raises:
            ConfigError: If the model knows no word of one, or cannot tell it from the baseline.
        """
        self._goals_of(list(tasks))

    def reduced(self, frame: FrameArray) -> FrameArray:
        """A frame with no more pixels than the model will see, which gives the same scores.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Returns:
            (size, size, 3) uint8 where frames are scaled to the model's square; the frame itself where a
            published way of scaling is asked for, which rounds nothing in between.
        """
        if self.sampling.resize != "center_square":
            return frame
        alone = TrajectorySampling(num_frames=1)
        clip = trajectory_clip(torch.from_numpy(frame.copy())[None], alone, spec=self._encoder.clip_spec)
        pixels: FrameArray = clip[:, 0].permute(1, 2, 0).contiguous().numpy()
        return pixels

    def _goals_of(self, tasks: list[str]) -> dict[str, torch.Tensor]:
        """(1, D) for each task; encodes those that are new."""
        with self._goals_turn:
            new = [task for task in dict.fromkeys(tasks) if task not in self._goals]
            if new:
                vectors = self._vectors(new)
                if self._start is not None:
                    refuse_equal(new, vectors, self._start)
                self._goals |= {task: vector[None] for task, vector in zip(new, vectors, strict=True)}
            goals = {task: self._goals[task] for task in tasks}
            for task in goals:
                self._goals.move_to_end(task)
            while len(self._goals) > MAX_PROMPTS:
                self._goals.popitem(last=False)
            return goals

    def _vectors(self, texts: list[str]) -> torch.Tensor:
        return encode_prompts(self._model, texts, self._encoder.dtype)

    def _scores(self, vectors: torch.Tensor, tasks: list[str], goals: dict[str, torch.Tensor]) -> Rewards:
        scores = torch.empty(len(vectors))
        for task, goal in goals.items():
            rows = [row for row, own in enumerate(tasks) if own == task]
            if self.baseline is None or self._start is None:
                scores[rows] = (vectors[rows] @ goal.T)[:, 0]
            else:
                regularised = regularised_scores(vectors[rows], goal, self._start, baseline=self.baseline)
                scores[rows] = regularised[:, 0]
        bounded: Rewards = scores.clamp(-1, 1).numpy()  # rounding may pass a bound by a hair
        return bounded


def _dual_encoder(model: PixelDualEncoder | ClipEncoder) -> tuple[ClipEncoder, PixelDualEncoder]:
    """The encoder of a model's clips, and the model, which encodes sentences."""
    if not isinstance(model, ClipEncoder):
        if not isinstance(model, PixelDualEncoder):
            raise ValueError(
                "a text reward needs a dual encoder on pixels, such as `narravid.load` reads, or a "
                f"ClipEncoder of one, got a {type(model).__name__}"
            )
        return ClipEncoder(model, device=model.device), model
    if model.output != "embedding" or not isinstance(model.model, PixelDualEncoder):
        raise ValueError(
            f"a text reward needs the embedding of a dual encoder, got the {model.output} "
            f"of a {type(model.model).__name__}"
        )
    return model, model.model


def _baseline(prompt: str | None, alpha: float | None, form: RewardForm | None) -> Baseline | None:
    """The baseline with what was given of strength and form."""
    if prompt is not None:
        baseline = Baseline(prompt)
        return replace(
            baseline,
            alpha=baseline.alpha if alpha is None else alpha,
            form=baseline.form if form is None else form,
        )
    for name, value in (("alpha", alpha), ("form", form)):
        if value is not None:
            reason = f"{name}={value!r} has no meaning without a baseline; give baseline=..., or leave it out"
            raise ConfigError(reason, key=name)
    return None


class TextReward:
    """Scores episodes against one prompt.

    Args:
        model: As for `TextRewardModel`.
        prompt: What should happen, such as "the red square moves to the left".
        baseline: A prompt that describes the scene without the goal, such as "a red square".
        alpha: As for `TextRewardModel`.
        form: As for `TextRewardModel`.
        sampling: As for `TextRewardModel`.
        batch_size: As for `TextRewardModel`.

    Attributes:
        prompt: As given.

    Raises:
        ConfigError: If the model knows no word of the prompt or cannot tell it from the baseline; else as
            for `TextRewardModel`.
        ValueError: As for `TextRewardModel`.
    """

    def __init__(
        self,
        model: PixelDualEncoder | ClipEncoder,
        prompt: str,
        baseline: str | None = None,
        *,
        alpha: float | None = None,
        form: RewardForm | None = None,
        sampling: TrajectorySampling = DEFAULT_SAMPLING,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.prompt = prompt
        self._scorer = TextRewardModel(
            model, baseline, alpha=alpha, form=form, sampling=sampling, batch_size=batch_size
        )
        self._scorer.prepare([prompt])

    @property
    def latency(self) -> LatencyMeter:
        """How long the calls take."""
        return self._scorer.latency

    @property
    def sampling(self) -> TrajectorySampling:
        """Which frames of an episode the model sees, and how they get their size."""
        return self._scorer.sampling

    @property
    def num_frames(self) -> int:
        """Frames of an episode that the model sees."""
        return self._scorer.num_frames

    def reduced(self, frame: FrameArray) -> FrameArray:
        """A frame with no more pixels than the model will see; see `TextRewardModel.reduced`."""
        return self._scorer.reduced(frame)

    def __call__(self, frames: Episodes) -> float | Rewards:
        """How well episodes fit the prompt; see `TextRewardModel.compute_reward`."""
        return self._scorer.compute_reward(frames, self.prompt)
