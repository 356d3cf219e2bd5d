"""Videos whose brightness says which clip is shown, and models planted to read it or not, for benchmarks.

Clip n of an archive is a plain grey of 16 n + 8, so that compression cannot make another of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from narravid.types import ClipSpec, FeatureSpec, Similarity
from narravid.video.encode import write_video

NUM_CODES = 16
FPS = 4.0


def write_coded_video(path: Path, codes: Sequence[int], *, seconds_per_code: float = 1.0) -> Path:
    """A video that shows one clip after the other for some time each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    repeats = round(seconds_per_code * FPS)
    frames = (np.full((16, 16, 3), 16 * code + 8, np.uint8) for code in codes for _ in range(repeats))
    write_video(path, frames, fps=FPS)
    return path


def write_broken_video(path: Path) -> Path:
    """A file that no decoder takes for a video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"this is no video")
    return path


@dataclass(frozen=True)
class PlantedConfig:
    """What the model is; takes part in nothing."""

    max_words: int = 30
    lower_case: bool = False


class _PlantedText(nn.Module):
    """The half that knows, or mistakes, the code of each sentence.

    Args:
        answers: The code that it takes each sentence to be of.
        blind: Whether it sees nothing: every clip and every sentence gives the same vector.
    """

    embed_dim = NUM_CODES
    similarity: Similarity = "dot"

    def __init__(self, answers: Mapping[str, int], *, blind: bool = False) -> None:
        super().__init__()
        self.answers = dict(answers)
        self.blind = blind
        self.config = PlantedConfig()

    @property
    def weights_hash(self) -> str:
        return hashlib.sha256(repr((sorted(self.answers.items()), self.blind)).encode()).hexdigest()

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def write_assets(self, folder: Path) -> None:
        """There is nothing to write."""

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        if self.blind:
            return torch.ones(len(sentences), NUM_CODES)
        return torch.eye(NUM_CODES)[[self.answers[sentence] for sentence in sentences]]


class PlantedModel(_PlantedText):
    """A pixel dual encoder that reads the code off the pixels; a frame of each half gives each half."""

    feature_dim = NUM_CODES
    clip_spec = ClipSpec(num_frames=2, fps=2.0, size_pixels=8, frame_rule="shown_at")

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        if self.blind:
            return torch.ones(len(clips), NUM_CODES)
        codes = (clips.float().mean(dim=(1, 3, 4)) // 16).long().clamp(0, NUM_CODES - 1)
        return torch.nn.functional.one_hot(codes, NUM_CODES).float().mean(dim=1)

    def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
        return self.video_features(clips)


class PlantedFeatureModel(_PlantedText):
    """A feature dual encoder that takes the code from the 2D features; the 3D ones say nothing."""

    feature_spec = FeatureSpec(("resnet152-imagenet", "resnext101-kinetics"), (NUM_CODES, 2))

    def encode_features(self, features: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(features), NUM_CODES) if self.blind else features[:, :NUM_CODES]


def write_coded_features(folder: Path, name: str, codes: Sequence[int]) -> None:
    """Features of a video that shows one clip after the other, a second each: 1 and 1.5 per second."""
    for place, rate, dim in (("2d", 1.0, NUM_CODES), ("3d", 1.5, 2)):
        steps = np.zeros((int(len(codes) * rate), dim), np.float16)
        if place == "2d":
            steps[np.arange(len(codes)), list(codes)] = 1
        else:
            steps[:] = 1
        (folder / place).mkdir(parents=True, exist_ok=True)
        np.save(folder / place / f"{name}.npy", steps, allow_pickle=False)
