"""3-D convolutions computed as 2-D ones, or as matrix products, on views of channels-last video.

For PyTorch on a CPU 2-D kernels are faster than 3-D ones, and a lone clip on one thread is taken by its
slowest kernels where a convolution looks at one pixel only. Both are avoided here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["ViewConvolution", "use_view_convolutions"]


class ViewConvolution(nn.Module):
    """A 3-D convolution whose kernel is 1 along time or along space; in evaluation, without gradients.

    Args:
        convolution: Whose weights it takes.

    Raises:
        ValueError: If the kernel is wider than 1 in time and in space, or it pads otherwise than to keep
            sizes.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        if not can_be_viewed(convolution):
            raise ValueError(f"no 2-D kernel does the work of {convolution}")
        weight = convolution.weight.detach()
        frames, height, width = convolution.weight.shape[2:]
        self.stride = convolution.stride
        self.groups = convolution.groups
        self.along_time = frames > 1
        self.padding = (frames // 2, 0) if self.along_time else (height // 2, width // 2)
        self.pointwise = (frames, height, width) == (1, 1, 1) and self.groups == 1
        picture = weight.squeeze(4) if self.along_time else weight.squeeze(2)
        if self.pointwise:
            self.register_buffer("weight", weight.flatten(1).contiguous())
        else:
            self.register_buffer("weight", picture.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", None if convolution.bias is None else convolution.bias.detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W), best in channels-last memory, to (B, C', T', H', W') in channels-last memory."""
        if self.pointwise:
            frames, rows, columns = self.stride
            picked = x[:, :, ::frames, ::rows, ::columns]
            return F.linear(picked.permute(0, 2, 3, 4, 1), self.weight, self.bias).permute(0, 4, 1, 2, 3)
        channels_last = x.permute(0, 2, 3, 4, 1).contiguous()
        return self._along_time(channels_last) if self.along_time else self._over_frames(channels_last)

    def _along_time(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, C) to (B, C', T', H, W)."""
        batch, _, height, width, _ = x.shape
        view = x.flatten(2, 3).permute(0, 3, 1, 2)
        y = F.conv2d(view, self.weight, self.bias, (self.stride[0], 1), self.padding, 1, self.groups)
        y = y.permute(0, 2, 3, 1).contiguous()
        return y.view(batch, -1, height, width, y.shape[-1]).permute(0, 4, 1, 2, 3)

    def _over_frames(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, C) to (B, C', T', H', W')."""
        x = x[:, :: self.stride[0]]
        batch, num_frames = x.shape[:2]
        view = x.flatten(0, 1).permute(0, 3, 1, 2)
        y = F.conv2d(view, self.weight, self.bias, self.stride[1:], self.padding, 1, self.groups)
        y = y.permute(0, 2, 3, 1).contiguous()
        return y.view(batch, num_frames, *y.shape[1:]).permute(0, 4, 1, 2, 3)


def can_be_viewed(convolution: nn.Conv3d) -> bool:
    """Whether a 2-D kernel does the same work."""
    frames, height, width = convolution.kernel_size
    if convolution.padding != (frames // 2, height // 2, width // 2):
        return False
    if convolution.dilation != (1, 1, 1) or convolution.padding_mode != "zeros":
        return False
    over_space = height > 1 or width > 1
    return not over_space if frames > 1 and convolution.stride[1:] == (1, 1) else frames == 1


def use_view_convolutions(module: nn.Module) -> int:
    """Put a `ViewConvolution` in place of every 3-D convolution that it can stand for.

    Args:
        module: The network in evaluation mode, changed in place.

    Returns:
        How many were replaced.
    """
    num_replaced = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv3d) and can_be_viewed(child):
                setattr(parent, name, ViewConvolution(child))
                num_replaced += 1
    return num_replaced
