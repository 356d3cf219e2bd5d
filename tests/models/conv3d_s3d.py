"""S3D spelled out with 3-D convolutions and pools, layer by layer: what the fast one must equal."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from narravid.models.s3d import S3D


def same_pool(x: torch.Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> torch.Tensor:
    """Zeros around the input as TensorFlow's 'SAME' does, then a pool in ceil mode."""
    padding: list[int] = []
    for size, step in zip(reversed(kernel), reversed(stride), strict=True):
        total = max(size - step, 0)
        padding += [total // 2, total - total // 2]
    return F.max_pool3d(F.pad(x, padding), kernel, stride, ceil_mode=True)


def norm_relu(norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return F.relu(
        F.batch_norm(
            x,
            norm.running_mean,
            norm.running_var,
            norm.weight,
            norm.bias,
            norm.training,
            norm.momentum,
            norm.eps,
        )
    )


def convolve(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = norm_relu(layer.bn1, layer.conv1(x))
    return norm_relu(layer.bn2, layer.conv2(x)) if hasattr(layer, "conv2") else x


def gate(gating: nn.Module | None, x: torch.Tensor) -> torch.Tensor:
    if gating is None:
        return x
    return x * torch.sigmoid(gating.fc(x.mean(dim=(2, 3, 4))))[:, :, None, None, None]


def stem(model: S3D, clips: torch.Tensor) -> torch.Tensor:
    if model.config.stem == "plain":
        return convolve(model.conv1, clips)
    batch, _, t, h, w = clips.shape
    blocks = clips.view(batch, 3, t // 2, 2, h // 2, 2, w // 2, 2).permute(0, 3, 5, 7, 1, 2, 4, 6)
    x = model.conv1.conv1(blocks.reshape(batch, 24, t // 2, h // 2, w // 2))
    return norm_relu(model.conv1.bn1, x[:, :, 1:, 1:, 1:])


def inception(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    branches = [
        convolve(block.conv_b0, x),
        convolve(block.conv_b1_b, convolve(block.conv_b1_a, x)),
        convolve(block.conv_b2_b, convolve(block.conv_b2_a, x)),
        convolve(block.conv_b3_b, same_pool(x, (3, 3, 3), (1, 1, 1))),
    ]
    return torch.cat([gate(getattr(block, f"gating_b{i}", None), y) for i, y in enumerate(branches)], dim=1)


def conv3d_s3d(model: S3D, clips: torch.Tensor) -> torch.Tensor:
    """(B, 3, T, H, W) to (B, D) with the weights, and in the mode, of `model`."""
    x = same_pool(stem(model, clips), (1, 3, 3), (1, 2, 2))
    x = gate(model.gating, convolve(model.conv_2c, convolve(model.conv_2b, x)))
    x = same_pool(x, (1, 3, 3), (1, 2, 2))
    names = ["3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"]
    for name in names[: model.config.num_inception_blocks]:
        if name == "4b":
            x = same_pool(x, (3, 3, 3), (2, 2, 2))
        if name == "5b":
            x = same_pool(x, (2, 2, 2), (2, 2, 2))
        x = inception(getattr(model, f"mixed_{name}"), x)
    return model.fc(x.mean(dim=(2, 3, 4)))
