"""What the kinds of models promise, whatever they are made of.

Each has its weights on one `device`, a `weights_hash` that names it in an index or a result and, where it has
embeddings of two kinds, a `similarity` that says how they are compared unless an evaluation protocol says
otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from narravid.types import ClipSpec, FeatureSpec, Similarity, VideoAlignment

__all__ = ["Aligner", "FeatureDualEncoder", "FeatureExtractor", "Model", "PixelDualEncoder"]


@runtime_checkable
class Model(Protocol):
    """What every model can do, so that it can be saved, moved and named."""

    config: Any
    """A frozen dataclass: everything but the weights and the assets."""

    @property
    def weights_hash(self) -> str:
        """Hash of configuration, assets and weights; names the model in an index or a result."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All tensors by name."""

    def write_assets(self, folder: Path) -> None:
        """Write what it needs besides weights and configuration, such as a word list, into a folder."""


@runtime_checkable
class PixelDualEncoder(Protocol):
    """A model that puts clips and sentences into one space, working on pixels."""

    embed_dim: int
    similarity: Similarity
    clip_spec: ClipSpec

    @property
    def weights_hash(self) -> str:
        """Hash of configuration and weights; names the model in an index."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W), uint8 in [0, 255] or float32 in [0, 1], to (B, D) float32."""

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences to (N, D) float32."""

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) as for `encode_video` to the trunk's feature (B, F) float32."""


@runtime_checkable
class FeatureDualEncoder(Protocol):
    """A model that puts extracted features of clips and sentences into one space."""

    embed_dim: int
    similarity: Similarity
    feature_spec: FeatureSpec

    @property
    def weights_hash(self) -> str:
        """Hash of configuration and weights; names the model in a result."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def encode_features(self, features: torch.Tensor) -> torch.Tensor:
        """(B, F) float32, F = `feature_spec.feature_dim`, to (B, D) float32."""

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences to (N, D) float32."""


@runtime_checkable
class FeatureExtractor(Protocol):
    """A model that turns clips into features and knows no text."""

    feature_dim: int
    clip_spec: ClipSpec

    @property
    def weights_hash(self) -> str:
        """Hash of configuration and weights; names the model in a result."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W), uint8 in [0, 255] or float32 in [0, 1], to (B, F) float32."""


@runtime_checkable
class Aligner(Protocol):
    """A model that says which seconds of a long video belong to which of its sentences.

    Attributes:
        embed_dim: Size of the vectors that it compares.
        feature_spec: Whose features it works on, one vector for each second.
        max_positions: Seconds of video that it can place one by one.
        alignability_layer: Which joint layer's alignability logits are to be read.
    """

    embed_dim: int
    feature_spec: FeatureSpec
    max_positions: int
    alignability_layer: int

    @property
    def weights_hash(self) -> str:
        """Hash of configuration and weights; names the model in a result."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences to (N, E) float32 sentence embeddings, the aligner's text input."""

    def align(
        self, features: torch.Tensor, text: torch.Tensor, *, interpolate_from: int | None = None
    ) -> VideoAlignment:
        """Align whole videos with their sentences, nothing padded.

        Args:
            features: (B, T, F) floating point, F = `feature_spec.feature_dim`, one vector per second.
            text: (B, N, E) float32, from `encode_text`.
            interpolate_from: Stretch the positions of so many seconds over the whole video, for one longer
                than `max_positions`.

        Returns:
            Similarities of seconds and sentences and, where the model has a head for it, alignability.
        """
