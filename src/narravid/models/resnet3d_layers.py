"""Residual blocks on (B, C, T, H, W), shared by the 3-D ResNets of CPD and the ResNeXt of HowTo100M.

He et al., CVPR 2016, arXiv 1512.03385, section 3.3 (shortcuts A and B); Hara et al., CVPR 2018, arXiv
1711.09577 (the same in 3-D). Module names are those of the published weights of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

__all__ = [
    "BasicBlock3D",
    "Bottleneck3D",
    "ResidualTrunk3D",
    "Shortcut",
    "Strides",
    "SubsampledShortcut",
    "initialise_convolutions",
]

Shortcut = Literal["A", "B"]
"""What joins a block's input to an output of another shape: A takes every n-th pixel and fills the new
channels with zeros (no parameters), B is a strided 1×1×1 convolution with batch normalisation."""

Strides = tuple[int, int, int]
"""Stride in time, height and width."""


class SubsampledShortcut(nn.Module):
    """Shortcut A: every n-th frame, row and column; new channels are zero. Gradients flow through it.

    Args:
        out_channels: Channels of the result, at least those of the input.
        stride: In time, height and width.
    """

    def __init__(self, out_channels: int, stride: Strides) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) to (B, out_channels, T/stride, H/stride, W/stride), rounded up."""
        frames, rows, columns = self.stride
        x = x[:, :, ::frames, ::rows, ::columns]
        return F.pad(x, (0, 0, 0, 0, 0, 0, 0, self.out_channels - x.shape[1]))


def _shortcut(kind: Shortcut, in_channels: int, out_channels: int, *, stride: Strides) -> nn.Module | None:
    """The way round a block; None where the input itself fits."""
    if in_channels == out_channels and stride == (1, 1, 1):
        return None
    if kind == "A":
        return SubsampledShortcut(out_channels, stride)
    projection = nn.Conv3d(in_channels, out_channels, 1, stride=stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm3d(out_channels))


def _convolution(
    in_channels: int,
    out_channels: int,
    kernel: tuple[int, int, int],
    *,
    stride: Strides = (1, 1, 1),
    groups: int = 1,
) -> nn.Conv3d:
    """A convolution that keeps the size, but for its stride."""
    frames, rows, columns = (size // 2 for size in kernel)
    return nn.Conv3d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=(frames, rows, columns),
        groups=groups,
        bias=False,
    )


class BasicBlock3D(nn.Module):
    """Two 3×3 convolutions, the first one also over time, and a shortcut.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Of the first convolution.
        temporal_kernel: Frames that the first convolution sees, odd; the second sees one.
        shortcut: A or B.

    Attributes:
        out_channels: As given.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: Strides,
        temporal_kernel: int,
        shortcut: Shortcut,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.conv1 = _convolution(in_channels, out_channels, (temporal_kernel, 3, 3), stride=stride)
        self.bn1 = nn.BatchNorm3d(out_channels)
        self.conv2 = _convolution(out_channels, out_channels, (1, 3, 3))
        self.bn2 = nn.BatchNorm3d(out_channels)
        self.downsample = _shortcut(shortcut, in_channels, out_channels, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, T, H, W) to (B, out_channels, T', H', W')."""
        around = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + around)


class Bottleneck3D(nn.Module):
    """A 1×1 convolution down to `width` channels, a 3×3 one, a 1×1 one up, and a shortcut.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        width: Channels between the convolutions.
        stride: Of the middle convolution.
        temporal_kernels: Frames that the first and the middle convolution see, odd.
        num_groups: Groups of the middle convolution.
        shortcut: A or B.

    Attributes:
        out_channels: As given.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int,
        stride: Strides,
        temporal_kernels: tuple[int, int],
        num_groups: int,
        shortcut: Shortcut,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        first, middle = temporal_kernels
        self.conv1 = _convolution(in_channels, width, (first, 1, 1))
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = _convolution(width, width, (middle, 3, 3), stride=stride, groups=num_groups)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = _convolution(width, out_channels, (1, 1, 1))
        self.bn3 = nn.BatchNorm3d(out_channels)
        self.downsample = _shortcut(shortcut, in_channels, out_channels, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, T, H, W) to (B, out_channels, T', H', W')."""
        around = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + around)


class ResidualTrunk3D(nn.Module):
    """Stem, pool, four layers of residual blocks, mean over time and space.

    Args:
        layers: The four layers, each a sequence of blocks.
        stem_channels: Channels of the stem.
        stem_frames: Frames that the 7×7 stem sees, odd; its stride is 2 in space.
        pool_frames: Frames that the 3×3 pool sees and steps over: 1, or 3 with stride 2.
        feature_dim: F, channels of the last layer.

    Attributes:
        feature_dim: As given.
    """

    def __init__(
        self,
        layers: Sequence[nn.Sequential],
        *,
        stem_channels: int,
        stem_frames: int,
        pool_frames: Literal[1, 3],
        feature_dim: int,
    ) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.conv1 = _convolution(3, stem_channels, (stem_frames, 7, 7), stride=(1, 2, 2))
        self.bn1 = nn.BatchNorm3d(stem_channels)
        half = pool_frames // 2
        self.pool = nn.MaxPool3d((pool_frames, 3, 3), stride=(1 + half, 2, 2), padding=(half, 1, 1))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        initialise_convolutions(self)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Features of clips.

        The published networks end with a pool whose window is the whole map of their own clip size; the mean
        is the same there and takes every other size too.

        Args:
            clips: (B, 3, T, H, W) float, normalised as the weights want it; any T, H and W of at least 1.

        Returns:
            (B, F) of the input's dtype (of the autocast dtype under autocast).

        Raises:
            ValueError: If the shape or dtype does not fit.
        """
        if clips.ndim != 5 or clips.shape[1] != 3 or not clips.is_floating_point():
            raise ValueError(f"clips must be float (B, 3, T, H, W), got {tuple(clips.shape)} {clips.dtype}")
        if 0 in clips.shape:
            raise ValueError(f"at least one clip, frame and pixel is needed, got {tuple(clips.shape)}")
        x = self.pool(F.relu(self.bn1(self.conv1(clips))))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return torch.mean(x, dim=(2, 3, 4))


def initialise_convolutions(module: nn.Module) -> None:
    """Draw all 3-D convolutions of a module for ReLU networks (He et al., arXiv 1502.01852, fan-out)."""
    for part in module.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
