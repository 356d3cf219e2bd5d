"""2-D convolutions whose weights learn quickly on a CPU.

A convolution has three passes: output, gradient of the input, gradient of the weights. On channels-last
memory PyTorch's CPU kernels do the first two near the processor's peak and the last one at a fifth to a half
of it. Here that one is a few matrix products. Output and gradients are those of `conv2d`, up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

__all__ = ["convolve_2d"]

FEWEST_OUTPUT_CHANNELS = 64
"""From here on windows laid out as a matrix beat the convolution kernel; below, their copy costs too much.

Measured on AVX2 cores: 1.1 to 2.7 times as fast from 64 channels on, 0.4 to 1.0 times with 16 to 48. Products
along a single axis need no copy and always gain: 1.1 to 6 times.
"""

WINDOW_NUMBERS = 2**19
"""Most numbers in the matrix of windows: 2 MB, so that the product reads it from the cache."""

PRODUCT_NUMBERS = 2**24
"""Most numbers in the products of single clips before they are summed: 64 MB."""


def convolve_2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
) -> torch.Tensor:
    """`torch.nn.functional.conv2d`.

    Args:
        x: (N, C, H, W), best in channels-last memory.
        weight: (D, C, h, w).
        bias: (D,), if any.
        stride: Step along H and W.
        padding: Zeros before and after H, and before and after W.

    Returns:
        (N, D, H', W').
    """
    if _gains(x, weight):
        result: torch.Tensor = _Convolution.apply(x, weight, bias, stride, padding)  # type: ignore[no-untyped-call]
        return result
    return F.conv2d(x, weight, bias, stride=stride, padding=padding)


def _gains(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether the matrix products are the faster way to the gradient of these weights."""
    # GPUs have their own kernels, a compiler makes its own, and processors with bfloat16 have theirs.
    if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return False
    if x.dtype != weight.dtype or x.dtype not in (torch.float32, torch.float64):
        return False
    if not (weight.requires_grad and torch.is_grad_enabled()):
        return False
    out_channels, _, height, width = weight.shape
    # A 1×1 convolution is one matrix product already.
    return height > 1 and (width == 1 or out_channels >= FEWEST_OUTPUT_CHANNELS)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - what PyTorch declares
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        stride: int,
        padding: tuple[int, int],
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, bias, stride=stride, padding=padding)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - what PyTorch declares
        gradient: torch.Tensor,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.stride, ctx.padding
        needed = ctx.needs_input_grad
        of_x = of_weight = None
        if needed[0]:
            of_x = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [stride, stride], list(padding), [1, 1], False, [0, 0], 1,
                [True, False, False],
            )[0]  # fmt: skip
        if needed[1]:
            height, width = weight.shape[2:]
            video, change = (tensor.permute(0, 2, 3, 1).contiguous() for tensor in (x, gradient))
            if width == 1 and stride == 1 and padding[1] == 0:
                of_weight = _weight_gradient_along(video, change, height, padding[0])
            else:
                of_weight = _weight_gradient(video, change, (height, width), stride, padding)
        of_bias = gradient.sum(dim=(0, 2, 3)) if needed[2] else None
        return of_x, of_weight, of_bias, None, None


def _weight_gradient_along(x: torch.Tensor, gradient: torch.Tensor, size: int, padding: int) -> torch.Tensor:
    """(D, C, size, 1) from (N, T, P, C) and (N, T', P, D): a product of shifted views for each tap."""
    length, out_length = x.shape[1], gradient.shape[1]
    clips = max(1, PRODUCT_NUMBERS // (x.shape[3] * gradient.shape[3]))
    taps = []
    for tap in range(size):
        shift = tap - padding  # output t meets input t + shift
        first, last = max(0, -shift), max(0, -shift, min(out_length, length - shift))
        changes = gradient[:, first:last].flatten(1, 2).transpose(1, 2)
        inputs = x[:, first + shift : last + shift].flatten(1, 2)
        pairs = zip(torch.split(changes, clips), torch.split(inputs, clips), strict=True)
        products = [torch.bmm(change, pixels).sum(dim=0) for change, pixels in pairs]
        taps.append(torch.stack(products).sum(dim=0) if len(products) > 1 else products[0])
    return torch.stack(taps, dim=2).unsqueeze(3)


def _weight_gradient(
    x: torch.Tensor, gradient: torch.Tensor, size: tuple[int, int], stride: int, padding: tuple[int, int]
) -> torch.Tensor:
    """(D, C, h, w) from (N, H, W, C) and (N, H', W', D): windows laid out as a matrix, times the gradient."""
    height, width = size
    _, out_height, out_width, out_channels = gradient.shape
    channels = x.shape[3]
    window = height * width * channels
    pictures = max(1, WINDOW_NUMBERS // (out_height * out_width * window))
    total = x.new_zeros(out_channels, window)
    for pixels, change in zip(torch.split(x, pictures), torch.split(gradient, pictures), strict=True):
        padded = F.pad(pixels, (0, 0, padding[1], padding[1], padding[0], padding[0])).contiguous()
        row = padded.shape[2] * channels
        # The numbers of a window's row lie side by side already.
        windows = padded.as_strided(
            (len(padded), out_height, out_width, height, width * channels),
            (padded.shape[1] * row, stride * row, stride * channels, row, 1),
        )
        total = total.addmm_(change.reshape(-1, out_channels).t(), windows.reshape(-1, window))
    return total.view(out_channels, height, width, channels).permute(0, 3, 1, 2)
