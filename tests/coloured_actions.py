"""Action recognition archives whose classes are colours, and models that read nothing but the colour."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from narravid.evaluation.session import EvaluationSession
from narravid.types import ClipSpec
from narravid.video.encode import write_video
from narravid.video.watched import WatchedDecoder

COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}
PURE = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}
SPEC = ClipSpec(num_frames=4, fps=4.0, size_pixels=8)


def write_plain_video(
    path: Path, colour: str, *, seconds: float = 0.8, fps: float = 10.0, mark: int = 0
) -> Path:
    """A video of one colour, 32 x 24 pixels, of which the left `mark` sixteenths are partly grey."""
    frames = np.empty((round(fps * seconds), 24, 32, 3), dtype=np.uint8)
    frames[:] = COLOURS[colour]
    frames[:, 4:20, : 2 * mark] = 128
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, iter(frames), fps=fps)
    return path


@dataclass(frozen=True)
class ColourConfig:
    """What tells one colour model from another."""

    num_classes: int = 3
    seed: int | None = None


class ColourModel(nn.Module):
    """Sees how red, green and blue a clip is; with a seed, numbers that have nothing to do with it.

    A dual encoder (sentences are the colours they name) and a classifier of green, blue, red or as told.
    """

    def __init__(
        self,
        *,
        classes: Sequence[str] = ("red", "green", "blue"),
        seed: int | None = None,
        seen: list | None = None,
    ) -> None:
        super().__init__()
        self.config = ColourConfig(len(classes), seed)
        self.clip_spec = SPEC
        self.embed_dim = self.feature_dim = 3
        self.similarity = "cosine"
        self.head = nn.Parameter(torch.tensor([PURE[name] for name in classes]), requires_grad=False)
        self.seen = [] if seen is None else seen

    @property
    def weights_hash(self) -> str:
        return f"colours {self.config} {self.head.tolist()}"

    @property
    def device(self) -> torch.device:
        return self.head.device

    def write_assets(self, folder: Path) -> None:
        """Nothing."""

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        self.seen.append(clips)
        means = clips.float().mean(dim=(2, 3, 4)) / 255
        if self.config.seed is None:
            return means
        return torch.stack([self._noise(clip) for clip in clips])

    def _noise(self, clip: torch.Tensor) -> torch.Tensor:
        digest = hashlib.sha256(clip.contiguous().numpy().tobytes()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:4], "big") + self.config.seed)
        return torch.randn(3, generator=generator)

    def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
        return self.video_features(clips)

    def class_logits(self, clips: torch.Tensor) -> torch.Tensor:
        return self.video_features(clips) @ self.head.T

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        rows = [[float(colour in sentence.split()) for colour in PURE] for sentence in sentences]
        return torch.tensor(rows)


def session_of(model: nn.Module, decoder: WatchedDecoder, **settings) -> EvaluationSession:
    """A run of a planted model."""
    return EvaluationSession(model=model, decoder=decoder, model_name="planted", **settings)


def values(measures) -> dict[str, float]:
    """The numbers by name."""
    return {measure.name: measure.value for measure in measures}
