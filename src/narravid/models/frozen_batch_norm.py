"""Batch normalisation that keeps its running statistics, whatever mode the network is in.

Fine-tuning with few clips per process leaves batch statistics too noisy to use; the published end-to-end
training on automatically aligned text (Han et al., CVPR 2022, arXiv 2204.02968) freezes them.
"""

from __future__ import annotations

from typing import Self

from torch import nn

__all__ = ["FrozenBatchNorm1d", "FrozenBatchNorm2d", "FrozenBatchNorm3d", "freeze_batch_norm"]


class FrozenBatchNorm1d(nn.BatchNorm1d):
    """`BatchNorm1d` that stays in evaluation mode."""

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """`BatchNorm2d` that stays in evaluation mode."""

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)


class FrozenBatchNorm3d(nn.BatchNorm3d):
    """`BatchNorm3d` that stays in evaluation mode."""

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)


FROZEN_KINDS = (
    (nn.BatchNorm1d, FrozenBatchNorm1d),
    (nn.BatchNorm2d, FrozenBatchNorm2d),
    (nn.BatchNorm3d, FrozenBatchNorm3d),
)


def freeze_batch_norm(module: nn.Module) -> int:
    """Make every batch normalisation inside a network keep its running statistics from now on.

    Their scales and shifts stay parameters and go on being trained. Names in the state dict do not change.

    Args:
        module: The network; its batch normalisations are replaced by frozen ones with the same tensors.

    Returns:
        How many were frozen; those that were frozen before count for none.

    Raises:
        ValueError: If one has no running statistics to keep.
    """
    num_frozen = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            for kind, frozen_kind in FROZEN_KINDS:
                if type(child) is kind:
                    parent.add_module(name, _frozen(child, frozen_kind))
                    num_frozen += 1
    return num_frozen


def _frozen(
    norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d,
    kind: type[FrozenBatchNorm1d | FrozenBatchNorm2d | FrozenBatchNorm3d],
) -> nn.Module:
    if norm.running_mean is None:
        raise ValueError("a batch normalisation without running statistics cannot be frozen")
    frozen = kind(norm.num_features, norm.eps, norm.momentum, affine=norm.affine, device="meta")
    for name, parameter in norm.named_parameters(recurse=False):
        frozen.register_parameter(name, parameter)
    for name, buffer in norm.named_buffers(recurse=False):
        frozen.register_buffer(name, buffer)
    return frozen.eval()
