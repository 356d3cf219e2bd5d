"""S3D as one would write it down from the paper: 3-D convolutions, 3-D pools, contiguous memory.

Names of weights are those of `narravid.models.s3d.S3D`, so that both can start from the same ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from narravid.models.s3d import INCEPTION_BLOCKS, POOLS_BEFORE

Kernel = tuple[int, int, int]


class Convolution(nn.Module):
    """Convolution, batch normalisation, ReLU; separable ones do this twice, over space and over time."""

    def __init__(self, in_channels: int, out_channels: int, *, separable: bool = False) -> None:
        super().__init__()
        kernel, padding = ((1, 3, 3), (0, 1, 1)) if separable else ((1, 1, 1), (0, 0, 0))
        self.conv1 = nn.Conv3d(in_channels, out_channels, kernel, padding=padding, bias=False)
        self.bn1 = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.separable = separable
        if separable:
            self.conv2 = nn.Conv3d(out_channels, out_channels, (3, 1, 1), padding=(1, 0, 0), bias=False)
            self.bn2 = nn.BatchNorm3d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) to (B, C', T, H, W)."""
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x))) if self.separable else x


class Stem(nn.Module):
    """Space to depth, then a convolution whose first row, column and frame are cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(24, 64, (2, 4, 4), padding=(1, 2, 2), bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) to (B, 64, T / 2, H / 2, W / 2)."""
        b, _, t, h, w = clips.shape
        blocks = clips.view(b, 3, t // 2, 2, h // 2, 2, w // 2, 2).permute(0, 3, 5, 7, 1, 2, 4, 6)
        x = self.conv1(blocks.reshape(b, 24, t // 2, h // 2, w // 2))
        return self.relu(self.bn1(x[:, :, 1:, 1:, 1:]))


class Gate(nn.Module):
    """Self-gating."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) to the same."""
        return x * torch.sigmoid(self.fc(x.mean(dim=(2, 3, 4))))[:, :, None, None, None]


class Inception(nn.Module):
    """Four branches, each with its gate."""

    def __init__(self, in_channels: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3 = widths
        self.conv_b0 = Convolution(in_channels, b0)
        self.conv_b1_a = Convolution(in_channels, b1a)
        self.conv_b1_b = Convolution(b1a, b1b, separable=True)
        self.conv_b2_a = Convolution(in_channels, b2a)
        self.conv_b2_b = Convolution(b2a, b2b, separable=True)
        self.conv_b3_b = Convolution(in_channels, b3)
        self.gating_b0, self.gating_b1 = Gate(b0), Gate(b1b)
        self.gating_b2, self.gating_b3 = Gate(b2b), Gate(b3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) to (B, C', T, H, W)."""
        branches = [
            self.gating_b0(self.conv_b0(x)),
            self.gating_b1(self.conv_b1_b(self.conv_b1_a(x))),
            self.gating_b2(self.conv_b2_b(self.conv_b2_a(x))),
            self.gating_b3(self.conv_b3_b(pool(x, (3, 3, 3), (1, 1, 1)))),
        ]
        return torch.cat(branches, dim=1)


def pool(x: torch.Tensor, kernel: Kernel, stride: Kernel) -> torch.Tensor:
    """A pool with TensorFlow's 'SAME' padding."""
    padding: list[int] = []
    for size, step in zip(reversed(kernel), reversed(stride), strict=True):
        total = max(size - step, 0)
        padding += [total // 2, total - total // 2]
    return F.max_pool3d(F.pad(x, padding), kernel, stride, ceil_mode=True)


class PlainS3D(nn.Module):
    """The published network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Stem()
        self.conv_2b = Convolution(64, 64)
        self.conv_2c = Convolution(64, 192, separable=True)
        self.gating = Gate(192)
        channels = 192
        for name, widths in INCEPTION_BLOCKS:
            self.add_module(f"mixed_{name}", Inception(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.fc = nn.Linear(channels, 512)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) float to (B, 512)."""
        x = pool(self.conv1(clips), (1, 3, 3), (1, 2, 2))
        x = self.gating(self.conv_2c(self.conv_2b(x)))
        x = pool(x, (1, 3, 3), (1, 2, 2))
        for name, _ in INCEPTION_BLOCKS:
            if name in POOLS_BEFORE:
                kernel, stride = POOLS_BEFORE[name]
                x = pool(x, (kernel,) * 3, (stride,) * 3)
            x = self.get_submodule(f"mixed_{name}")(x)
        embeddings: torch.Tensor = self.fc(x.mean(dim=(2, 3, 4)))
        return embeddings
