"""What a trained network must beat: small pictures of the pixels, and the same network untrained."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from narravid.config import to_dict
from narravid.errors import CheckpointError
from narravid.models.registry import family_of
from narravid.protocols import Model
from narravid.types import ClipSpec
from narravid.video.transforms import to_unit_float

__all__ = ["PixelThumbnails", "untrained"]


class PixelThumbnails:
    """A `FeatureExtractor` that has learnt nothing: a few tiny pictures of a clip, value by value.

    Args:
        clip_spec: What clips look like.
        num_frames: Pictures of a clip, each the mean over a stretch of it.
        size_pixels: Height and width of each, the mean over squares of the frame.

    Attributes:
        clip_spec: As given.
        feature_dim: F, pictures · 3 · pixels.
    """

    def __init__(self, clip_spec: ClipSpec, *, num_frames: int = 4, size_pixels: int = 8) -> None:
        self.clip_spec = clip_spec
        self._shape = (num_frames, size_pixels, size_pixels)
        self.feature_dim = num_frames * 3 * size_pixels**2

    @property
    def weights_hash(self) -> str:
        """There are no weights: the size of the pictures says all."""
        return "pixel thumbnails {} x {} x {}".format(*self._shape)

    @property
    def device(self) -> torch.device:
        """The CPU, as there is nothing to hurry."""
        return torch.device("cpu")

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W), uint8 in [0, 255] or float32 in [0, 1], to (B, F) float32 in [0, 1].

        A clip of fewer frames than pictures repeats its frames.
        """
        return F.adaptive_avg_pool3d(to_unit_float(clips), self._shape).flatten(1)


def untrained(model: Model, model_name: str, *, seed: int) -> nn.Module:
    """The same network with the random weights from which training would start.

    Args:
        model: A model of a family that a model folder can hold.
        model_name: What the user calls it, for the error.
        seed: Of the weights.

    Returns:
        A new model in evaluation mode on the CPU.

    Raises:
        CheckpointError: If the model is of no such family.
    """
    try:
        _, family = family_of(model)
    except ValueError as error:
        raise CheckpointError(model_name, f"there is no untrained network like it: {error}") from error
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        model.write_assets(Path(folder))
        torch.manual_seed(seed)
        return family.build(to_dict(model.config), Path(folder)).eval()
