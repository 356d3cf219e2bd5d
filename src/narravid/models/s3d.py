"""S3D with self-gating, the video tower of MIL-NCE.

Xie et al., ECCV 2018, arXiv 1712.04851, section 4; Miech et al., CVPR 2020, arXiv 1912.06430, section 4.1.

Every 3-D convolution of S3D is separable or pointwise, so each is computed as a 2-D convolution on a view
of one memory layout, (B, T, H, W, C): over single frames for 1×k×k, over (time, pixels) for k×1×1. Parameters
keep their published names and 5-D shapes. In evaluation mode batch normalisation is folded into the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from narravid.models.frozen_batch_norm import freeze_batch_norm
from narravid.models.s3d_layers import (
    InceptionBlock,
    PlainStem,
    PointwiseConv,
    SelfGating,
    SeparableConv,
    SpaceToDepthStem,
    max_pool_space,
    max_pool_time,
)

__all__ = ["S3D", "S3DConfig", "scaled_width"]

Stem = Literal["space_to_depth", "plain"]

WIDTH_MULTIPLE = 8
"""Widths are multiples of this; all published ones are, so that a multiplier of 1 changes none."""

INCEPTION_BLOCKS: tuple[tuple[str, tuple[int, int, int, int, int, int]], ...] = (
    ("3b", (64, 96, 128, 16, 32, 32)),
    ("3c", (128, 128, 192, 32, 96, 64)),
    ("4b", (192, 96, 208, 16, 48, 64)),
    ("4c", (160, 112, 224, 24, 64, 64)),
    ("4d", (128, 128, 256, 24, 64, 64)),
    ("4e", (112, 144, 288, 32, 64, 64)),
    ("4f", (256, 160, 320, 32, 128, 128)),
    ("5b", (256, 160, 320, 32, 128, 128)),
    ("5c", (384, 192, 384, 48, 128, 128)),
)
"""Name and output channels of each block: branch 0, 1 (reduction, output), 2 (reduction, output), 3."""

POOLS_BEFORE: dict[str, tuple[int, int]] = {"4b": (3, 2), "5b": (2, 2)}
"""Kernel and stride, in time and space alike, of the pool that comes before a block."""


@dataclass(frozen=True)
class S3DConfig:
    """Shape of an S3D; the defaults are the published network.

    Attributes:
        stem: First convolution: `space_to_depth` (2×4×4 on 2×2×2 blocks of pixels; needs even frames, height
            and width) or `plain` (3×7×7, stride 2; any size).
        width_multiplier: Factor on all widths but `embed_dim`, rounded to multiples of 8, at least 8.
        num_inception_blocks: How many blocks, from 3b on; 9 ends with the published 5c.
        embed_dim: Size of the output embedding.
        gating: Whether self-gating follows; published weights need it.
        frozen_batch_norm: Whether batch normalisation keeps its running statistics in training too.

    Raises:
        ValueError: If a value is out of range.
    """

    stem: Stem = "space_to_depth"
    width_multiplier: float = 1.0
    num_inception_blocks: int = len(INCEPTION_BLOCKS)
    embed_dim: int = 512
    gating: bool = True
    frozen_batch_norm: bool = False

    def __post_init__(self) -> None:
        if self.stem not in ("space_to_depth", "plain"):
            raise ValueError(f"stem must be 'space_to_depth' or 'plain', got {self.stem!r}")
        if not 0 < self.width_multiplier <= 8:
            raise ValueError(f"width_multiplier must be in (0, 8], got {self.width_multiplier}")
        if not 1 <= self.num_inception_blocks <= len(INCEPTION_BLOCKS):
            raise ValueError(
                f"num_inception_blocks must be 1 to {len(INCEPTION_BLOCKS)}, got {self.num_inception_blocks}"
            )
        if self.embed_dim < 1:
            raise ValueError(f"embed_dim must be at least 1, got {self.embed_dim}")


def scaled_width(channels: int, multiplier: float) -> int:
    """Published width times the multiplier, rounded (half up) to a multiple of 8 and at least 8.

    >>> scaled_width(208, 1.0), scaled_width(208, 0.25), scaled_width(16, 0.25)
    (208, 56, 8)
    """
    return max(WIDTH_MULTIPLE, int(channels * multiplier / WIDTH_MULTIPLE + 0.5) * WIDTH_MULTIPLE)


class S3D(nn.Module):
    """Clips to embeddings.

    Args:
        config: The network's shape.

    Attributes:
        config: As given.
        feature_dim: Size of `features`, F: 1024 for the published network.
    """

    def __init__(self, config: S3DConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or S3DConfig()
        stem_width, width_2c = (scaled_width(width, config.width_multiplier) for width in (64, 192))
        self.conv1 = (
            SpaceToDepthStem(stem_width) if config.stem == "space_to_depth" else PlainStem(stem_width)
        )
        self.conv_2b = PointwiseConv(stem_width, stem_width)
        self.conv_2c = SeparableConv(stem_width, width_2c)
        self.gating = SelfGating(width_2c) if config.gating else None
        self._blocks = tuple(name for name, _ in INCEPTION_BLOCKS[: config.num_inception_blocks])
        in_channels = width_2c
        for name, widths in INCEPTION_BLOCKS[: config.num_inception_blocks]:
            scaled = tuple(scaled_width(width, config.width_multiplier) for width in widths)
            block = InceptionBlock(in_channels, scaled, gating=config.gating)
            self.add_module(f"mixed_{name}", block)
            in_channels = block.out_channels
        self.feature_dim = in_channels
        self.fc = nn.Linear(in_channels, config.embed_dim)
        if config.frozen_batch_norm:
            freeze_batch_norm(self)

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Trunk features, averaged over time and space (`mixed_5c` of the published network).

        Args:
            clips: (B, 3, T, H, W) float, normalised as the weights want it.

        Returns:
            (B, F) of the input's dtype (of the autocast dtype under autocast).

        Raises:
            ValueError: If the shape does not fit; names an odd dimension for the space-to-depth stem.
        """
        if clips.ndim != 5 or clips.shape[1] != 3 or not clips.is_floating_point():
            raise ValueError(f"clips must be float (B, 3, T, H, W), got {tuple(clips.shape)} {clips.dtype}")
        if 0 in clips.shape:
            raise ValueError(f"at least one clip, frame and pixel is needed, got {tuple(clips.shape)}")
        x = self.conv1(clips)
        x = max_pool_space(x, 3, 2)
        x = self.conv_2c(self.conv_2b(x))
        if self.gating is not None:
            x = self.gating(x)
        x = max_pool_space(x, 3, 2)
        for name in self._blocks:
            if name in POOLS_BEFORE:
                kernel, stride = POOLS_BEFORE[name]
                x = max_pool_time(max_pool_space(x, kernel, stride), kernel, stride)
            x = self.get_submodule(f"mixed_{name}")(x)
        return torch.mean(x, dim=(1, 2, 3))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Embeddings.

        Args:
            clips: (B, 3, T, H, W) float, normalised as the weights want it.

        Returns:
            (B, D), not L2-normalised.

        Raises:
            ValueError: As `features`.
        """
        embeddings: torch.Tensor = self.fc(self.features(clips))
        return embeddings
