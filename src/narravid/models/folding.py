"""Batch normalisation folded into the weights before it: the same numbers with half the layers.

In evaluation mode a batch normalisation is a scale and a shift per channel, which the layer before it can do.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["fold_batch_norms", "folded_weights"]


@torch.no_grad()
def folded_weights(
    weight: torch.Tensor, bias: torch.Tensor | None, norm: nn.Module
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of the layer that equals another followed by a batch normalisation in evaluation mode.

    Args:
        weight: (D, ...) of a convolution or linear layer.
        bias: (D,), if any.
        norm: The batch normalisation of its D channels.

    Returns:
        Weight (D, ...) and bias (D,), computed in float64 and of the weight's dtype.

    Raises:
        ValueError: If `norm` is no batch normalisation with running statistics.
    """
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None or norm.running_var is None:
        raise ValueError(f"only a batch normalisation with running statistics can be folded, got {norm}")
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() if bias is None else bias.double() - norm.running_mean.double()
    shift = shift * scale
    if norm.affine:
        shift = shift + norm.bias.double()
    shape = (-1, *[1] * (weight.ndim - 1))
    return (weight.double() * scale.view(shape)).to(weight.dtype), shift.to(weight.dtype)


def fold_batch_norms(module: nn.Module) -> int:
    """Fold every batch normalisation that stands right behind a convolution or linear layer, in place.

    Right behind means: the next one among the children of a module, as in the residual blocks here and in
    those of the transformers library, where the order of the children is that of the computation.

    Args:
        module: The network in evaluation mode; the normalisations become `nn.Identity`.

    Returns:
        How many were folded.
    """
    num_folded = 0
    for parent in list(module.modules()):
        children = list(parent.named_children())
        for (_, layer), (norm_name, norm) in itertools.pairwise(children):
            if isinstance(norm, _BatchNorm) and isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear):
                weight, bias = folded_weights(layer.weight, layer.bias, norm)
                layer.weight = nn.Parameter(weight, requires_grad=False)
                layer.bias = nn.Parameter(bias, requires_grad=False)
                setattr(parent, norm_name, nn.Identity())
                num_folded += 1
    return num_folded
