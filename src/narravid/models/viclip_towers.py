"""The two towers of ViCLIP: CLIP's vision transformer over all frames at once, and CLIP's text transformer.

Wang et al., InternVid, ICLR 2024, arXiv 2307.06942, section 4; Radford et al., CLIP, ICML 2021, arXiv
2103.00020, section 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from narravid.models.transformer import Transformer

__all__ = ["TextTower", "TextTowerConfig", "VideoTower", "VideoTowerConfig"]


@dataclass(frozen=True)
class VideoTowerConfig:
    """Shape of a `VideoTower`; the defaults are those of ViCLIP-L.

    Attributes:
        size_pixels: Height and width of a frame.
        patch_pixels: Height and width of a patch; divides `size_pixels`.
        num_frames: Frames of a clip.
        dim: Size of a token.
        num_layers: Transformer blocks.
        num_heads: Attention heads of each.
        embed_dim: Size of the embedding.

    Raises:
        ValueError: If a size is below 1 or patches do not fill the frame.
    """

    size_pixels: int = 224
    patch_pixels: int = 14
    num_frames: int = 8
    dim: int = 1024
    num_layers: int = 24
    num_heads: int = 16
    embed_dim: int = 768

    def __post_init__(self) -> None:
        sizes = (self.size_pixels, self.patch_pixels, self.num_frames, self.dim, self.embed_dim)
        if min(*sizes, self.num_layers) < 1:
            raise ValueError(f"all sizes must be at least 1, got {self}")
        if self.size_pixels % self.patch_pixels:
            raise ValueError(
                f"patch_pixels must divide size_pixels, got {self.patch_pixels} and {self.size_pixels}"
            )

    @property
    def num_patches(self) -> int:
        """Patches of one frame."""
        return (self.size_pixels // self.patch_pixels) ** 2


class VideoTower(nn.Module):
    """Patches of all frames and one class token attend to one another; the class token is the feature.

    A patch gets the position of its place and that of its frame. Of a single frame, whose place in time
    means nothing, the position in time is the mean of all.

    Args:
        config: The tower's shape.
    """

    def __init__(self, config: VideoTowerConfig) -> None:
        super().__init__()
        self.config = config
        dim, patch = config.dim, config.patch_pixels
        self.patches = nn.Conv3d(3, dim, (1, patch, patch), stride=(1, patch, patch), bias=False)
        self.class_token = nn.Parameter(torch.randn(dim) * dim**-0.5)
        self.positions = nn.Parameter(torch.randn(config.num_patches + 1, dim) * dim**-0.5)
        self.frame_positions = nn.Parameter(torch.zeros(1, config.num_frames, dim))
        self.norm_before = nn.LayerNorm(dim)
        self.transformer = Transformer(dim, num_layers=config.num_layers, num_heads=config.num_heads)
        self.norm_after = nn.LayerNorm(dim)
        self.projection = nn.Parameter(torch.randn(dim, config.embed_dim) * dim**-0.5)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Embeddings, (B, 3, T, H, W) as for `features` to (B, D)."""
        return self.project(self.features(clips))

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """(B, F) features to (B, D) embeddings."""
        return features @ self.projection

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """The class token behind the last norm.

        Args:
            clips: (B, 3, T, H, W) normalised, T = `num_frames` or 1, H = W = `size_pixels`.

        Returns:
            (B, F), F = `dim`.

        Raises:
            ValueError: If the shape does not fit.
        """
        tokens = self.transformer(self.norm_before(self._tokens(clips)))
        features: torch.Tensor = self.norm_after(tokens[:, 0])
        return features

    def _tokens(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 1 + patches · T, F): the class token, then patch by patch its frames."""
        config = self.config
        size = (config.size_pixels, config.size_pixels)
        if clips.ndim != 5 or clips.shape[1] != 3 or clips.shape[3:] != size:
            raise ValueError(f"clips must be (B, 3, T, {size[0]}, {size[1]}), got {tuple(clips.shape)}")
        batch, _, num_frames = clips.shape[:3]
        if num_frames not in (1, config.num_frames):
            raise ValueError(f"clips must have {config.num_frames} frames, or 1, got {num_frames}")
        frames = clips.transpose(1, 2).flatten(0, 1)
        # One frame deep, the convolution is a plain one over single frames.
        patches = F.conv2d(frames, self.patches.weight.squeeze(2), stride=config.patch_pixels)
        tokens = patches.flatten(2).transpose(1, 2).reshape(batch, num_frames, config.num_patches, config.dim)
        in_time = self.frame_positions if num_frames > 1 else self.frame_positions.mean(1, keepdim=True)
        tokens = tokens + self.positions[1:] + in_time[:, :, None]
        class_tokens = (self.class_token + self.positions[0]).expand(batch, 1, -1)
        return torch.cat([class_tokens, tokens.transpose(1, 2).flatten(1, 2)], dim=1)


@dataclass(frozen=True)
class TextTowerConfig:
    """Shape of a `TextTower`; the defaults are those of ViCLIP-L.

    Attributes:
        num_ids: Rows of the token table.
        context_length: Ids of a sentence.
        dim: Size of a token.
        num_layers: Transformer blocks.
        num_heads: Attention heads of each.
        embed_dim: Size of the embedding.

    Raises:
        ValueError: If a size is below 1.
    """

    num_ids: int = 49408
    context_length: int = 32
    dim: int = 768
    num_layers: int = 12
    num_heads: int = 12
    embed_dim: int = 768

    def __post_init__(self) -> None:
        if min(self.num_ids, self.context_length, self.dim, self.num_layers, self.embed_dim) < 1:
            raise ValueError(f"all sizes must be at least 1, got {self}")


class TextTower(nn.Module):
    """A causal transformer over the ids of a sentence; the token of its end is the feature.

    Args:
        config: The tower's shape.
    """

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.num_ids, config.dim)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.positions = nn.Parameter(torch.randn(config.context_length, config.dim) * 0.01)
        self.transformer = Transformer(config.dim, num_layers=config.num_layers, num_heads=config.num_heads)
        self.norm_after = nn.LayerNorm(config.dim)
        self.projection = nn.Parameter(torch.randn(config.dim, config.embed_dim) * config.dim**-0.5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Sentence embeddings.

        Args:
            tokens: (N, L) int64, L at most `context_length`; the end of a sentence is its largest id.

        Returns:
            (N, D), not L2-normalised.

        Raises:
            ValueError: If the shape or dtype does not fit.
        """
        longest = self.config.context_length
        if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= longest or tokens.dtype != torch.int64:
            raise ValueError(
                f"tokens must be (N, L) int64 with 1 <= L <= {longest}, "
                f"got {tuple(tokens.shape)} {tokens.dtype}"
            )
        inputs = self.tokens(tokens) + self.positions[: tokens.shape[1]]
        outputs = self.transformer(inputs, causal=True)
        rows = torch.arange(tokens.shape[0], device=tokens.device)
        ends: torch.Tensor = self.norm_after(outputs[rows, tokens.argmax(dim=1)])
        return ends @ self.projection
