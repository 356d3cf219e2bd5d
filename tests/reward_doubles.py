"""A dual encoder and environments of which a test can compute every reward by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn

from narravid.types import ClipSpec, Similarity

NUM_FRAMES = 4

PROMPTS = {
    "begins bright": (1.0, 0.0, 0.0, 0.0),
    "ends bright": (0.0, 0.0, 0.0, 1.0),
    "all bright": (1.0, 1.0, 1.0, 1.0),
    "gets brighter": (-3.0, -1.0, 1.0, 3.0),
}


class BrightnessModel(nn.Module):
    """A clip's vector is the red levels of its frames, a prompt's stands in the table above."""

    def __init__(self) -> None:
        super().__init__()
        self.clip_spec = ClipSpec(num_frames=NUM_FRAMES, fps=4.0, size_pixels=6)
        self.similarity: Similarity = "dot"
        self.embed_dim = NUM_FRAMES
        self.unit = nn.Parameter(torch.ones(()), requires_grad=False)
        self.weights_hash = "brightness"
        self.batch_sizes: list[int] = []

    @property
    def device(self) -> torch.device:
        return self.unit.device

    def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
        self.batch_sizes.append(len(clips))
        return self.video_features(clips)

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        return clips[:, 0].float().mean(dim=(2, 3)) * self.unit

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        return torch.tensor([PROMPTS[sentence] for sentence in sentences])


def cosine(levels: Sequence[float], prompt: str) -> float:
    """The score of a clip whose frames have these levels."""
    goal = PROMPTS[prompt]
    product = math.fsum(level * weight for level, weight in zip(levels, goal, strict=True))
    return product / (math.hypot(*levels) * math.hypot(*goal))


def frame_of(level: int, height: int = 6, width: int = 6) -> np.ndarray:
    """A frame of one red level."""
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    frame[..., 0] = level
    return frame


def frames_of(levels: Sequence[int], height: int = 6, width: int = 6) -> np.ndarray:
    """(T, height, width, 3) frames of these red levels."""
    return np.stack([frame_of(level, height, width) for level in levels])


class BrighteningEnv(gymnasium.Env):
    """Episode e shows level 50 · e + 10 + t after step t; its lengths come round, its ends take turns.

    Every second episode is terminated, the others truncated. The reward of a step is its action. Every frame
    is drawn into the same memory.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(self, lengths: Sequence[int] = (3,), *, render_mode: str | None = "rgb_array") -> None:
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(0, 255, (1,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        self.lengths = lengths
        self.episode = -1
        self.num_renders = 0
        self._picture = frame_of(0, 8, 10)

    @property
    def level(self) -> int:
        return 50 * self.episode + 10 + self.steps

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.episode = self.episode + 1 if seed is None else 0
        self.steps = 0
        return self._observation(), {}

    def step(self, action):
        self.steps += 1
        over = self.steps == self.lengths[self.episode % len(self.lengths)]
        terminated = over and self.episode % 2 == 0
        return self._observation(), float(action[0]), terminated, over and not terminated, {}

    def render(self):
        self.num_renders += 1
        self._picture[..., 0] = self.level
        return self._picture

    def _observation(self) -> np.ndarray:
        return np.array([self.level], dtype=np.float32)
