"""The layers of S3D, all on channels-last video: tensors of shape (B, T, H, W, C), contiguous.

Each 3-D operation is a 2-D one on a view of that layout: `(B·T, C, H, W)` for single frames, `(B, C, T, H·W)`
along time. Both views are channels-last for PyTorch, which has its fastest kernels for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from narravid.models.convolutions import convolve_2d

__all__ = [
    "InceptionBlock",
    "PlainStem",
    "PointwiseConv",
    "SelfGating",
    "SeparableConv",
    "SpaceToDepthStem",
    "max_pool_space",
    "max_pool_time",
]


def frames_view(x: torch.Tensor) -> torch.Tensor:
    """(B, T, H, W, C) as (B·T, C, H, W)."""
    return x.flatten(0, 1).permute(0, 3, 1, 2)


def time_view(x: torch.Tensor) -> torch.Tensor:
    """(B, T, H, W, C) as (B, C, T, H·W)."""
    return x.flatten(2, 3).permute(0, 3, 1, 2)


def video_from_frames(frames: torch.Tensor, batch: int) -> torch.Tensor:
    """(B·T, C, H, W) back to (B, T, H, W, C)."""
    _, channels, height, width = frames.shape
    return frames.permute(0, 2, 3, 1).contiguous().view(batch, -1, height, width, channels)


def video_from_time(pixels: torch.Tensor, height: int) -> torch.Tensor:
    """(B, C, T, H·W) back to (B, T, H, W, C)."""
    batch, channels, num_frames, _ = pixels.shape
    return pixels.permute(0, 2, 3, 1).contiguous().view(batch, num_frames, height, -1, channels)


def max_pool_space(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Max-pool over H and W with the published TensorFlow 'SAME' zero padding and ceil mode.

    Args:
        x: (B, T, H, W, C), not negative (after ReLU and gates), so that padding never wins over a pixel.
        kernel: Window in pixels.
        stride: Step in pixels.

    Returns:
        (B, T, H', W', C) with H' = ceil(H / stride).
    """
    return video_from_frames(_pool_2d(frames_view(x), (kernel, kernel), (stride, stride)), x.shape[0])


def max_pool_time(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Max-pool over T, otherwise as `max_pool_space`."""
    return video_from_time(_pool_2d(time_view(x), (kernel, 1), (stride, 1)), x.shape[2])


def _pool_2d(x: torch.Tensor, kernel: tuple[int, int], stride: tuple[int, int]) -> torch.Tensor:
    # 'SAME' puts kernel - stride zeros around the input, the odd one at the end. An even number is what the
    # pool does by itself; the odd one matters only where ceil mode alone would lose the last window.
    total = [max(k - s, 0) for k, s in zip(kernel, stride, strict=True)]
    end = [t % 2 if size % s else 0 for t, s, size in zip(total, stride, x.shape[2:], strict=True)]
    if any(end):
        x = F.pad(x, (0, end[1], 0, end[0]))
    return F.max_pool2d(x, kernel, stride, padding=[t // 2 for t in total], ceil_mode=True)


def convolve_norm_relu(
    x: torch.Tensor,
    weight: torch.Tensor,
    norm: nn.BatchNorm2d,
    *,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
) -> torch.Tensor:
    """2-D convolution, batch normalisation and ReLU on an (N, C, H, W) view; folded unless `norm` trains."""
    if norm.training:
        return F.relu_(norm(convolve_2d(x, weight, stride=stride, padding=padding)))
    weight, bias = fold_norm(weight, norm)
    return F.relu_(convolve_2d(x, weight, bias, stride=stride, padding=padding))


def fold_norm(weight: torch.Tensor, norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of the convolution that equals `weight` followed by `norm` in evaluation mode."""
    if norm.running_var is None or norm.running_mean is None:
        raise ValueError("batch normalisation without running statistics has no evaluation mode")
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


class PointwiseConv(nn.Module):
    """1×1×1 convolution, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, C) to (B, T, H, W, C')."""
        y = convolve_norm_relu(frames_view(x), self.conv1.weight.squeeze(2), self.bn1)
        return video_from_frames(y, x.shape[0])


class SeparableConv(nn.Module):
    """1×3×3 convolution, batch normalisation, ReLU, then 3×1×1 convolution, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv3d(out_channels, out_channels, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, C) to (B, T, H, W, C')."""
        y = convolve_norm_relu(frames_view(x), self.conv1.weight.squeeze(2), self.bn1, padding=(1, 1))
        y = video_from_frames(y, x.shape[0])
        z = convolve_norm_relu(time_view(y), self.conv2.weight.squeeze(4), self.bn2, padding=(1, 0))
        return video_from_time(z, x.shape[2])


class PlainStem(nn.Module):
    """3×7×7 convolution with stride 2 in all axes, batch normalisation, ReLU; takes any size."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, out_channels, (3, 7, 7), stride=2, padding=(1, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)

    def pictures(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) to (B, T', H, W, 9): the frames under the kernel as channels (frame, colour)."""
        num_frames = clips.shape[2]
        x = F.pad(clips.permute(0, 2, 3, 4, 1), (0, 0, 0, 0, 0, 0, 1, num_frames % 2))
        return torch.cat([x[:, :-2:2], x[:, 1:-1:2], x[:, 2::2]], dim=-1)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) to (B, T', H', W', C), each size halved and rounded up."""
        x = self.pictures(clips)
        weight = self.conv1.weight.transpose(1, 2).flatten(1, 2)
        y = convolve_norm_relu(frames_view(x), weight, self.bn1, stride=2, padding=(3, 3))
        return video_from_frames(y, clips.shape[0])


class SpaceToDepthStem(nn.Module):
    """2×4×4 convolution on 2×2×2 blocks of pixels as channels, batch normalisation, ReLU.

    The published network pads the convolution by (1, 2, 2) on both sides and drops the first index of every
    axis, which is a padding of (0, 1, 1) before and (1, 2, 2) after. In training the batch statistics here
    are those of what is kept.
    """

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(24, out_channels, (2, 4, 4), padding=(1, 2, 2), bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)

    def pictures(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) to (B, T / 2, H / 2 + 3, W / 2 + 3, 48): the blocks of two time steps as channels.

        Raises:
            ValueError: If T, H or W is odd.
        """
        odd = [
            f"{name} = {size}"
            for name, size in zip(("frames", "height", "width"), clips.shape[2:], strict=True)
            if size % 2
        ]
        if odd:
            raise ValueError(
                f"the space_to_depth stem needs even sizes, got odd {', '.join(odd)}; crop or pad the clip, "
                "or use the plain stem"
            )
        batch, _, t, h, w = clips.shape
        blocks = clips.reshape(batch, 3, t // 2, 2, h // 2, 2, w // 2, 2)
        # Channels in the order (frame, row, column, colour), slowest first.
        x = blocks.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4)
        x = F.pad(x, (0, 0, 1, 2, 1, 2, 0, 1))
        return torch.cat([x[:, :-1], x[:, 1:]], dim=-1)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) to (B, T / 2, H / 2, W / 2, C).

        Raises:
            ValueError: If T, H or W is odd.
        """
        x = self.pictures(clips)
        weight = self.conv1.weight.transpose(1, 2).flatten(1, 2)
        return video_from_frames(convolve_norm_relu(frames_view(x), weight, self.bn1), clips.shape[0])


class SelfGating(nn.Module):
    """x · sigmoid(linear(mean of x over time and space)), per channel (Xie et al., section 4.4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def gates(self, mean: torch.Tensor) -> torch.Tensor:
        """(B, C) means to (B, C) gates in (0, 1)."""
        return torch.sigmoid(self.fc(mean))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, C) to the same shape."""
        return x * self.gates(x.mean(dim=(1, 2, 3)))[:, None, None, None, :]


class InceptionBlock(nn.Module):
    """Four branches side by side, each followed by its self-gate, joined along the channels.

    Args:
        in_channels: C.
        widths: Output channels of branch 0, branch 1 (reduction, output), branch 2 (likewise), branch 3.
        gating: Whether the gates are there.

    Attributes:
        out_channels: C', the sum of the four outputs.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], *, gating: bool) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3 = widths
        self.conv_b0 = PointwiseConv(in_channels, b0)
        self.conv_b1_a = PointwiseConv(in_channels, b1a)
        self.conv_b1_b = SeparableConv(b1a, b1b)
        self.conv_b2_a = PointwiseConv(in_channels, b2a)
        self.conv_b2_b = SeparableConv(b2a, b2b)
        self.conv_b3_b = PointwiseConv(in_channels, b3)
        self.branch_widths = (b0, b1b, b2b, b3)
        self.out_channels = sum(self.branch_widths)
        self.gating = gating
        if gating:
            for branch, width in enumerate(self.branch_widths):
                self.add_module(f"gating_b{branch}", SelfGating(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, C) to (B, T, H, W, C')."""
        pooled = max_pool_time(max_pool_space(x, 3, 1), 3, 1)
        joined = torch.cat(
            [
                self.conv_b0(x),
                self.conv_b1_b(self.conv_b1_a(x)),
                self.conv_b2_b(self.conv_b2_a(x)),
                self.conv_b3_b(pooled),
            ],
            dim=-1,
        )
        if not self.gating:
            return joined
        # One pass over the joined map instead of four: the gates only need the means of their own branch.
        means = torch.split(joined.mean(dim=(1, 2, 3)), list(self.branch_widths), dim=1)
        gates = [gate.gates(mean) for gate, mean in zip(self._gates(), means, strict=True)]
        return joined * torch.cat(gates, dim=1)[:, None, None, None, :]

    def _gates(self) -> Iterator[SelfGating]:
        for branch in range(len(self.branch_widths)):
            gate = self.get_submodule(f"gating_b{branch}")
            assert isinstance(gate, SelfGating)
            yield gate
