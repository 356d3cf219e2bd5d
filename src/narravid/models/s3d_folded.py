"""S3D for inference: weights folded and laid out once, no copies that the result does not need.

The numbers are those of `s3d.S3D` in evaluation mode, up to rounding; so are layouts and views. It has no
parameters to train, and its tensors are written to in place, so no gradient can come out of it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from narravid.models.folding import folded_weights
from narravid.models.s3d import POOLS_BEFORE, S3D
from narravid.models.s3d_layers import (
    InceptionBlock,
    PlainStem,
    PointwiseConv,
    SelfGating,
    SeparableConv,
    SpaceToDepthStem,
    frames_view,
    time_view,
    video_from_frames,
    video_from_time,
)

__all__ = ["FoldedS3D", "max_pool"]

PIXELS_AT_ONCE = 2**21
"""Of the clips that go through the network together on a CPU: more leave the caches, and a clip of 32 frames
of 224 pixels takes a fifth longer. Smaller clips together keep the kernels busy."""


class FoldedS3D(nn.Module):
    """The network of an S3D in evaluation mode; clips to embeddings.

    Args:
        network: Whose weights it takes, as they are now.

    Attributes:
        config: Of the network.
        feature_dim: Size of `features`, F.
        fc: Features to embeddings, a copy.
    """

    def __init__(self, network: S3D) -> None:
        super().__init__()
        self.config = network.config
        self.feature_dim = network.feature_dim
        self.stem = _Stem(network.conv1)
        self.conv_2b = _Pointwise(network.conv_2b)
        self.conv_2c = _Separable(network.conv_2c)
        self.gating = _copied(network.gating.fc) if network.gating is not None else None
        self.blocks = nn.ModuleDict(
            {
                name.removeprefix("mixed_"): _Inception(block)
                for name, block in network.named_children()
                if isinstance(block, InceptionBlock)
            }
        )
        self.fc = _copied(network.fc) if isinstance(network.fc, nn.Linear) else nn.Identity()

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Trunk features, as `S3D.features`: (B, 3, T, H, W) float to (B, F).

        Raises:
            ValueError: As `S3D.features`.
        """
        if clips.ndim != 5 or clips.shape[1] != 3 or not clips.is_floating_point() or 0 in clips.shape:
            raise ValueError(f"clips must be float (B, 3, T, H, W), got {tuple(clips.shape)} {clips.dtype}")
        at_once = max(1, PIXELS_AT_ONCE // math.prod(clips.shape[2:]))
        if clips.device.type != "cpu" or clips.shape[0] <= at_once:
            return self._features(clips)
        return torch.cat([self._features(some) for some in torch.split(clips, at_once)])

    def _features(self, clips: torch.Tensor) -> torch.Tensor:
        x = max_pool(self.stem(clips), (1, 3, 3), 2)
        x = self.conv_2c(self.conv_2b(x))
        if self.gating is not None:
            x = x.mul_(torch.sigmoid(self.gating(x.mean(dim=(1, 2, 3))))[:, None, None, None])
        x = max_pool(x, (1, 3, 3), 2)
        for name, block in self.blocks.items():
            if name in POOLS_BEFORE:
                kernel, stride = POOLS_BEFORE[name]
                x = max_pool(x, (kernel, kernel, kernel), stride)
            x = block(x)
        return torch.mean(x, dim=(1, 2, 3))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Embeddings, (B, 3, T, H, W) float to (B, D)."""
        embeddings: torch.Tensor = self.fc(self.features(clips))
        return embeddings


def max_pool(x: torch.Tensor, kernel: tuple[int, int, int], stride: int) -> torch.Tensor:
    """Max-pool over time, rows and columns, one axis after the other, with the padding of `max_pool_space`.

    Args:
        x: (B, T, H, W, C), not negative.
        kernel: 1 (nothing), 2 or 3 along each axis; 2 with stride 2 only.
        stride: 1 or 2, along each axis whose kernel is not 1.

    Returns:
        (B, T', H', W', C), sizes divided by the stride and rounded up.
    """
    for axis in (1, 2, 3):
        if kernel[axis - 1] > 1:
            x = _pool_axis(x, axis, kernel[axis - 1]) if stride == 2 else _pool_axis_densely(x, axis)
    return x


def _pool_axis_densely(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Windows of three around every place, cut off at the ends."""
    size = x.shape[axis]
    if size == 1:
        return x
    pairs = torch.maximum(x.narrow(axis, 0, size - 1), x.narrow(axis, 1, size - 1))
    result = torch.empty_like(x)
    result.narrow(axis, 0, 1).copy_(pairs.narrow(axis, 0, 1))
    result.narrow(axis, size - 1, 1).copy_(pairs.narrow(axis, size - 2, 1))
    first, second = pairs.narrow(axis, 0, size - 2), pairs.narrow(axis, 1, size - 2)
    torch.maximum(first, second, out=result.narrow(axis, 1, size - 2))
    return result


def _pool_axis(x: torch.Tensor, axis: int, kernel: int) -> torch.Tensor:
    """Windows of two or three from every second place on, cut off at the end."""
    size = x.shape[axis]
    if size == 1:
        return x
    along = (slice(None),) * axis
    even, odd = x[(*along, slice(0, None, 2))], x[(*along, slice(1, None, 2))]
    result = torch.maximum(even.narrow(axis, 0, odd.shape[axis]), odd)
    if kernel == 3:
        after = even.narrow(axis, 1, even.shape[axis] - 1)
        with_after = result.narrow(axis, 0, after.shape[axis])
        torch.maximum(with_after, after, out=with_after)
    if size % 2:
        result = torch.cat([result, x.narrow(axis, size - 1, 1)], dim=axis)
    return result


def _copied(layer: nn.Linear) -> nn.Linear:
    copy = nn.Linear(layer.in_features, layer.out_features, device="meta")
    copy.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
    copy.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
    return copy


class _Convolution(nn.Module):
    """2-D convolution with bias, then ReLU, on an (N, C, H, W) view."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(
        self, weight: torch.Tensor, norm: nn.Module, *, stride: int = 1, padding: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__()
        weight, bias = folded_weights(weight, None, norm)
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.stride, self.padding = stride, padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu_(F.conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding))


class _Stem(nn.Module):
    """Either stem: what its kernel sees along time becomes channels of one picture."""

    def __init__(self, stem: SpaceToDepthStem | PlainStem) -> None:
        super().__init__()
        self.frames_of = stem.pictures
        padding = (0, 0) if isinstance(stem, SpaceToDepthStem) else (3, 3)
        stride = 1 if isinstance(stem, SpaceToDepthStem) else 2
        weight = stem.conv1.weight.transpose(1, 2).flatten(1, 2)
        self.convolution = _Convolution(weight, stem.bn1, stride=stride, padding=padding)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return video_from_frames(self.convolution(frames_view(self.frames_of(clips))), clips.shape[0])


class _Pointwise(nn.Module):
    def __init__(self, layer: PointwiseConv) -> None:
        super().__init__()
        self.convolution = _Convolution(layer.conv1.weight.squeeze(2), layer.bn1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return video_from_frames(self.convolution(frames_view(x)), x.shape[0])


class _Separable(nn.Module):
    def __init__(self, layer: SeparableConv) -> None:
        super().__init__()
        self.space = _Convolution(layer.conv1.weight.squeeze(2), layer.bn1, padding=(1, 1))
        self.time = _Convolution(layer.conv2.weight.squeeze(4), layer.bn2, padding=(1, 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = video_from_frames(self.space(frames_view(x)), x.shape[0])
        return video_from_time(self.time(time_view(y)), x.shape[2])


class _Inception(nn.Module):
    def __init__(self, block: InceptionBlock) -> None:
        super().__init__()
        self.out_channels = block.out_channels
        self.b0 = _Pointwise(block.conv_b0)
        self.b1 = nn.Sequential(_Pointwise(block.conv_b1_a), _Separable(block.conv_b1_b))
        self.b2 = nn.Sequential(_Pointwise(block.conv_b2_a), _Separable(block.conv_b2_b))
        self.b3 = _Pointwise(block.conv_b3_b)
        gates = [gate.fc for gate in block.children() if isinstance(gate, SelfGating)]
        self.gates = nn.ModuleList([_copied(gate) for gate in gates])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branches = [self.b0(x), self.b1(x), self.b2(x), self.b3(max_pool(x, (3, 3, 3), 1))]
        if not self.gates:
            return torch.cat(branches, dim=-1)
        # The gates are put on while the branches are joined: one pass over memory instead of two.
        joined = x.new_empty(*x.shape[:-1], self.out_channels)
        places = torch.split(joined, [branch.shape[-1] for branch in branches], dim=-1)
        for branch, gate, place in zip(branches, self.gates, places, strict=True):
            opened = torch.sigmoid(gate(branch.mean(dim=(1, 2, 3))))
            torch.mul(branch, opened[:, None, None, None], out=place)
        return joined
