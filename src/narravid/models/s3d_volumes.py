"""S3D as 3-D convolutions and pools on (B, C, T, H, W), for other runtimes, which choose layouts themselves.

The numbers are those of `s3d.S3D` in evaluation mode, up to rounding. PyTorch's own kernels are faster on
`s3d_folded.FoldedS3D`.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from narravid.models.folding import folded_weights
from narravid.models.s3d import POOLS_BEFORE, S3D
from narravid.models.s3d_layers import InceptionBlock, PlainStem, PointwiseConv, SelfGating, SeparableConv

__all__ = ["VolumeS3D"]


class VolumeS3D(nn.Module):
    """The network of an S3D in evaluation mode; clips to embeddings.

    Args:
        network: Whose weights it takes, as they are now.

    Attributes:
        config: Of the network.
        feature_dim: Size of `features`, F.
        fc: The network's own.
    """

    def __init__(self, network: S3D) -> None:
        super().__init__()
        self.config = network.config
        self.feature_dim = network.feature_dim
        stem = network.conv1
        self.space_to_depth = not isinstance(stem, PlainStem)
        self.stem = _convolution(stem.conv1, stem.bn1, padded=not self.space_to_depth)
        self.conv_2b = _layer(network.conv_2b)
        self.conv_2c = _layer(network.conv_2c)
        self.gating = network.gating
        self.blocks = nn.ModuleDict(
            {
                name.removeprefix("mixed_"): _Inception(block)
                for name, block in network.named_children()
                if isinstance(block, InceptionBlock)
            }
        )
        self.fc = network.fc

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Trunk features, as `S3D.features`: (B, 3, T, H, W) float to (B, F)."""
        if self.space_to_depth:
            batch, _, t, h, w = clips.shape
            blocks = clips.reshape(batch, 3, t // 2, 2, h // 2, 2, w // 2, 2).permute(0, 3, 5, 7, 1, 2, 4, 6)
            clips = F.pad(blocks.reshape(batch, 24, t // 2, h // 2, w // 2), (1, 2, 1, 2, 0, 1))
        x = _max_pool(F.relu(self.stem(clips)), (1, 3, 3), (1, 2, 2))
        x = self.conv_2c(self.conv_2b(x))
        if self.gating is not None:
            x = _gated(x, self.gating)
        x = _max_pool(x, (1, 3, 3), (1, 2, 2))
        for name, block in self.blocks.items():
            if name in POOLS_BEFORE:
                kernel, stride = POOLS_BEFORE[name]
                x = _max_pool(x, (kernel,) * 3, (stride,) * 3)
            x = block(x)
        return torch.mean(x, dim=(2, 3, 4))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Embeddings, (B, 3, T, H, W) float to (B, D)."""
        embeddings: torch.Tensor = self.fc(self.features(clips))
        return embeddings


class _Inception(nn.Module):
    def __init__(self, block: InceptionBlock) -> None:
        super().__init__()
        self.b0 = _layer(block.conv_b0)
        self.b1 = nn.Sequential(_layer(block.conv_b1_a), _layer(block.conv_b1_b))
        self.b2 = nn.Sequential(_layer(block.conv_b2_a), _layer(block.conv_b2_b))
        self.b3 = _layer(block.conv_b3_b)
        self.gates = nn.ModuleList([gate for gate in block.children() if isinstance(gate, SelfGating)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branches = [self.b0(x), self.b1(x), self.b2(x), self.b3(_max_pool(x, (3, 3, 3), (1, 1, 1)))]
        if self.gates:
            branches = [_gated(branch, gate) for branch, gate in zip(branches, self.gates, strict=True)]
        return torch.cat(branches, dim=1)


def _layer(layer: PointwiseConv | SeparableConv) -> nn.Sequential:
    convolutions = nn.Sequential(_convolution(layer.conv1, layer.bn1), nn.ReLU())
    if isinstance(layer, SeparableConv):
        convolutions.extend([_convolution(layer.conv2, layer.bn2), nn.ReLU()])
    return convolutions


def _convolution(convolution: nn.Conv3d, norm: nn.Module, *, padded: bool = True) -> nn.Conv3d:
    folded = copy.deepcopy(convolution)
    weight, bias = folded_weights(folded.weight, None, norm)
    folded.padding = folded.padding if padded else (0, 0, 0)
    folded.weight = nn.Parameter(weight, requires_grad=False)
    folded.bias = nn.Parameter(bias, requires_grad=False)
    return folded


def _gated(x: torch.Tensor, gate: nn.Module) -> torch.Tensor:
    if not isinstance(gate, SelfGating):
        raise TypeError(f"a gate was expected, got a {type(gate).__name__}")
    return x * gate.gates(x.mean(dim=(2, 3, 4)))[:, :, None, None, None]


def _max_pool(x: torch.Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
    """Max-pool of what is not negative, with the padding of `s3d_layers.max_pool_space`."""
    total = [max(k - s, 0) for k, s in zip(kernel, stride, strict=True)]
    end = [t % 2 if size % s else 0 for t, s, size in zip(total, stride, x.shape[2:], strict=True)]
    # A window larger than the whole map is allowed in PyTorch's ceil mode, but not everywhere.
    room = [size + t // 2 * 2 for t, size in zip(total, x.shape[2:], strict=True)]
    end = [max(e, k - r) for e, k, r in zip(end, kernel, room, strict=True)]
    if any(end):
        x = F.pad(x, (0, end[2], 0, end[1], 0, end[0]))
    return F.max_pool3d(x, kernel, stride, padding=[t // 2 for t in total], ceil_mode=True)
