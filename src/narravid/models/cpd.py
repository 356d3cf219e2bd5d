"""The video-text model of CPD: a 3-D ResNet for clips, DistilBERT for sentences, one space for both.

Li and Wang, Learning Spatiotemporal Features via Video and Text Pair Discrimination, arXiv 2001.05691.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from narravid.models.cpd_text import DistilBERTTower, DistilBERTTowerConfig
from narravid.models.inference_form import HasInferenceForm
from narravid.models.resnet3d import ResNet3D, ResNet3DConfig
from narravid.models.similarity import compare
from narravid.models.weights_hash import WeightsHash
from narravid.text.word_pieces import PIECES_FILE, WordPieces, WordPieceTokenizer
from narravid.types import ClipSpec, Similarity
from narravid.video.transforms import normalise, to_unit_float

__all__ = ["FINE_TUNING_CLIPS", "PRE_TRAINING_CLIPS", "CPDConfig", "CPDDualEncoder"]

GREY_MEAN, GREY_STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)

PRE_TRAINING_CLIPS = ClipSpec(num_frames=8, fps=7.5, size_pixels=224, mean=GREY_MEAN, std=GREY_STD)
"""Every fourth of 32 frames at 30 fps."""

FINE_TUNING_CLIPS = ClipSpec(num_frames=16, fps=7.5, size_pixels=224, mean=GREY_MEAN, std=GREY_STD)
"""Every fourth of 64 frames at 30 fps."""


@dataclass(frozen=True)
class CPDConfig:
    """Everything but the weights and the word pieces.

    Attributes:
        video: Shape of the visual trunk.
        text: Shape of the text tower; its `embed_dim` is that of both.
        clip_spec: What a clip must look like.
        max_tokens: Word pieces of a sentence that are read; all sentences are filled up to as many.
        dropout: Share of the trunk's features dropped in training, before the video head.

    Raises:
        ValueError: If a value is out of range.
    """

    video: ResNet3DConfig = field(default_factory=ResNet3DConfig)
    text: DistilBERTTowerConfig = field(default_factory=DistilBERTTowerConfig)
    clip_spec: ClipSpec = PRE_TRAINING_CLIPS
    max_tokens: int = 64
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.max_tokens <= self.text.max_positions:
            raise ValueError(
                f"max_tokens must be 1 to max_positions ({self.text.max_positions}), got {self.max_tokens}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")


class CPDDualEncoder(HasInferenceForm):
    """3-D ResNet and DistilBERT with their word pieces and clip specification; a `PixelDualEncoder`.

    Embeddings are L2-normalised, as the published ones; those of float64 weights are float64.

    Args:
        config: Shapes and settings.
        pieces: The word pieces; must fill the table of the text tower exactly.

    Attributes:
        config: As given.
        pieces: As given.
        tokenizer: Sentences to (N, max_tokens) ids.
        embed_dim: D.
        feature_dim: F, size of `video_features`.
        similarity: "cosine".
        clip_spec: What a clip must look like.

    Raises:
        ValueError: If word pieces and table differ in size.
        MissingExtraError: If `transformers` or `tokenizers` is not installed.
    """

    def __init__(self, config: CPDConfig, pieces: WordPieces) -> None:
        super().__init__()
        if len(pieces) != config.text.num_pieces:
            raise ValueError(
                f"there are {len(pieces)} word pieces, the configuration says {config.text.num_pieces}"
            )
        self.config = config
        self.pieces = pieces
        self.tokenizer = WordPieceTokenizer(pieces, max_tokens=config.max_tokens)
        self.embed_dim = config.text.embed_dim
        self.similarity: Similarity = "cosine"
        self.clip_spec = config.clip_spec
        self.video = ResNet3D(config.video)
        self.feature_dim = self.video.feature_dim
        self.dropout = nn.Dropout(config.dropout)
        self.video_head = nn.Linear(self.feature_dim, self.embed_dim)
        self.text = DistilBERTTower(config.text)
        self._hash = WeightsHash()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.video_head.weight.device

    @property
    def weights_hash(self) -> str:
        """SHA-256 of configuration, word pieces and all tensors, in hexadecimal.

        Recomputed only when a tensor was replaced or written to since the last call.
        """
        return self._hash.of(self.config, self.pieces.pieces, self.state_dict(keep_vars=True))

    def write_assets(self, folder: Path) -> None:
        """Write the word pieces into a model folder."""
        self.pieces.save(folder / PIECES_FILE)

    def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
        """Embeddings of clips.

        Args:
            clips: (B, 3, T, H, W), uint8 in [0, 255] or float32 in [0, 1]; the model's own mean and
                standard deviation are applied here. One clip and one frame are clips like others.

        Returns:
            (B, D) float32, L2-normalised.

        Raises:
            ValueError: If the shape or dtype does not fit.
        """
        return self.embed_features(self.video_features(clips))

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        """Trunk features of clips, (B, 3, T, H, W) as for `encode_video` to (B, F) float32."""
        spec, weight = self.clip_spec, self.video_head.weight
        unit = to_unit_float(clips.to(weight.device, non_blocking=True))
        features: torch.Tensor = self.video(normalise(unit, spec.mean, spec.std).to(weight.dtype))
        return features.to(torch.promote_types(features.dtype, torch.float32))

    def embed_features(self, features: torch.Tensor) -> torch.Tensor:
        """(B, F) trunk features to (B, D) float32 embeddings, the second half of `encode_video`."""
        embeddings = self.video_head(self.dropout(features.to(self.video_head.weight.dtype)))
        return F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=-1)

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """Embeddings of sentences, N of them to (N, D) float32, L2-normalised."""
        return self.encode_tokens(self.tokenizer(sentences))

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embeddings of ids of word pieces.

        Args:
            tokens: (..., L) int64, 0 = padding.

        Returns:
            (..., D) float32, L2-normalised.
        """
        rows = tokens.reshape(math.prod(tokens.shape[:-1]), tokens.shape[-1])
        embeddings: torch.Tensor = self.text(rows.to(self.device))
        return embeddings.reshape(*tokens.shape[:-1], self.embed_dim)

    def similarity_matrix(self, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Cosine of every clip with every sentence.

        Args:
            video: (V, D) embeddings.
            text: (N, D) embeddings.

        Returns:
            (V, N) float32 in [-1, 1].
        """
        return compare(video, text, self.similarity)
