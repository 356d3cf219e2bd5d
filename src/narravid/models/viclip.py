"""ViCLIP: CLIP with a video tower, trained on clips and generated captions.

Wang et al., InternVid, ICLR 2024, arXiv 2307.06942.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from narravid.models.inference_form import HasInferenceForm
from narravid.models.similarity import compare
from narravid.models.viclip_towers import TextTower, TextTowerConfig, VideoTower, VideoTowerConfig
from narravid.models.weights_hash import WeightsHash
from narravid.text.byte_pairs import MERGES_FILE, BytePairTokenizer
from narravid.types import ClipSpec, Similarity
from narravid.video.transforms import normalise, to_unit_float

__all__ = ["VICLIP_CLIPS", "ViCLIP", "ViCLIPConfig"]

VICLIP_CLIPS = ClipSpec(
    num_frames=8,
    fps=1.0,
    size_pixels=224,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""Eight frames, RGB. The publishers spread them over clips of 2 to 30 s; one per second lies between."""

TEMPERATURE_RANGE = (0.001, 0.5)
"""What the published training holds the temperature within."""


@dataclass(frozen=True)
class ViCLIPConfig:
    """Everything but the weights and the byte pairs; the defaults are those of ViCLIP-L.

    Attributes:
        video: Shape of the video tower.
        text: Shape of the text tower.
        clip_spec: What a clip must look like; its frames and size are those of the video tower.
        temperature: Starting point of the learned temperature that divides cosines in training.

    Raises:
        ValueError: If the parts do not fit each other or the temperature is out of range.
    """

    video: VideoTowerConfig = field(default_factory=VideoTowerConfig)
    text: TextTowerConfig = field(default_factory=TextTowerConfig)
    clip_spec: ClipSpec = VICLIP_CLIPS
    temperature: float = 0.01

    def __post_init__(self) -> None:
        if self.video.embed_dim != self.text.embed_dim:
            raise ValueError(
                "both towers need the same embed_dim, "
                f"got {self.video.embed_dim} (video) and {self.text.embed_dim} (text)"
            )
        if self.clip_spec.size_pixels != self.video.size_pixels:
            raise ValueError(
                f"clip_spec has {self.clip_spec.size_pixels} pixels, the video tower {self.video.size_pixels}"
            )
        if self.clip_spec.num_frames != self.video.num_frames:
            raise ValueError(
                f"clip_spec has {self.clip_spec.num_frames} frames, the video tower {self.video.num_frames}"
            )
        lowest, highest = TEMPERATURE_RANGE
        if not lowest <= self.temperature <= highest:
            raise ValueError(f"temperature must lie within [{lowest}, {highest}], got {self.temperature}")


class ViCLIP(HasInferenceForm):
    """Video and text tower with their tokenizer and clip specification; a `PixelDualEncoder`.

    Embeddings come as the towers give them; cosine compares them.

    Args:
        config: Shapes and settings.
        tokenizer: Byte pairs; must have as many ids as the token table, and give as many as the tower reads.

    Attributes:
        config: As given.
        tokenizer: Sentences to (N, context_length) ids.
        embed_dim: D.
        feature_dim: F, size of `video_features`.
        similarity: "cosine".
        clip_spec: What a clip must look like.

    Raises:
        ValueError: If tokenizer and text tower do not fit each other.
    """

    def __init__(self, config: ViCLIPConfig, tokenizer: BytePairTokenizer) -> None:
        super().__init__()
        if tokenizer.num_ids != config.text.num_ids:
            raise ValueError(
                f"the tokenizer has {tokenizer.num_ids} ids, the configuration says {config.text.num_ids}"
            )
        self.config = config
        self.tokenizer = BytePairTokenizer(tokenizer.merges, context_length=config.text.context_length)
        self.embed_dim = config.video.embed_dim
        self.feature_dim = config.video.dim
        self.similarity: Similarity = "cosine"
        self.clip_spec = config.clip_spec
        self.video = VideoTower(config.video)
        self.text = TextTower(config.text)
        self.temperature = nn.Parameter(torch.tensor(config.temperature))
        self._hash = WeightsHash()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.temperature.device

    @property
    def logit_scale(self) -> torch.Tensor:
        """Learned scalar that cosines are multiplied by in training, 1 / temperature."""
        return 1 / self.temperature.clamp(*TEMPERATURE_RANGE)

    @property
    def weights_hash(self) -> str:
        """SHA-256 of configuration, byte pairs and all tensors, in hexadecimal.

        Recomputed only when a tensor was replaced or written to since the last call.
        """
        return self._hash.of(self.config, self.tokenizer.merges, self.state_dict(keep_vars=True))

    def write_assets(self, folder: Path) -> None:
        """Write the byte pairs into a model folder."""
        self.tokenizer.save(folder / MERGES_FILE)

    def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
        """Embeddings of clips.

        Args:
            clips: (B, 3, T, H, W), uint8 in [0, 255] or float32 in [0, 1], T = `clip_spec.num_frames` or 1,
                RGB; the model's own mean and standard deviation are applied here.

        Returns:
            (B, D) float32, not L2-normalised.

        Raises:
            ValueError: If the shape or dtype does not fit.
        """
        return self.embed_features(self.video_features(clips))

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        """The class token before its projection, (B, 3, T, H, W) as for `encode_video` to (B, F) float32."""
        spec, weight = self.clip_spec, self.video.projection
        unit = to_unit_float(clips.to(weight.device, non_blocking=True))
        return self.video.features(normalise(unit, spec.mean, spec.std).to(weight.dtype)).float()

    def embed_features(self, features: torch.Tensor) -> torch.Tensor:
        """(B, F) features to (B, D) float32 embeddings, the second half of `encode_video`."""
        return self.video.project(features.to(self.video.projection.dtype)).float()

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """Embeddings of sentences, N of them to (N, D) float32, not L2-normalised."""
        return self.encode_tokens(self.tokenizer(sentences))

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embeddings of byte-pair ids.

        Args:
            tokens: (..., L) int64 as the tokenizer gives them.

        Returns:
            (..., D) float32.
        """
        rows = tokens.reshape(math.prod(tokens.shape[:-1]), tokens.shape[-1])
        embeddings: torch.Tensor = self.text(rows.to(self.device))
        return embeddings.float().reshape(*tokens.shape[:-1], self.embed_dim)

    def similarity_matrix(self, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Cosine of every clip with every sentence.

        Args:
            video: (V, D) embeddings.
            text: (N, D) embeddings.

        Returns:
            (V, N) float32 in [-1, 1].
        """
        return compare(video, text, self.similarity)
