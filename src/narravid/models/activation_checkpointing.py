"""Less memory for more time: activations of a block are computed again in the backward pass.

Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016, arXiv 1604.06174, section 3.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from narravid.models.resnet3d_layers import BasicBlock3D, Bottleneck3D
from narravid.models.s3d_layers import (
    InceptionBlock,
    PlainStem,
    PointwiseConv,
    SeparableConv,
    SpaceToDepthStem,
)
from narravid.models.transformer import TransformerBlock

__all__ = ["checkpoint_activations"]

BLOCKS = (
    InceptionBlock,
    PlainStem,
    SpaceToDepthStem,
    PointwiseConv,
    SeparableConv,
    BasicBlock3D,
    Bottleneck3D,
    TransformerBlock,
)
"""Our own blocks. Those of S3D's beginning are small in number and hold most of its memory."""

BLOCKS_OF_TRANSFORMERS = {
    ("transformers.models.distilbert.modeling_distilbert", "TransformerBlock"),
    ("transformers.models.resnet.modeling_resnet", "ResNetBottleNeckLayer"),
}
"""Module and name of the blocks that the library `transformers` builds, which may not be installed."""

MARK = "computes_activations_again"
"""Attribute of the classes of changed blocks."""


def checkpoint_activations(model: nn.Module) -> int:
    """Let every block of a network keep its inputs only, and compute the rest again in the backward pass.

    Gradients stay the same, bit for bit on a CPU; batch normalisation counts each batch once, dropout draws
    the same again. Parameters, buffers and their names stay as they are. Under `torch.compile`, which weighs
    what to keep by itself, blocks run as before.

    Args:
        model: The network; its blocks are changed in place. A block inside another one is part of that one.

    Returns:
        How many blocks were changed; those that were changed before count for none.
    """
    if hasattr(model, MARK):
        return 0
    if _is_block(model):
        model.__class__ = _checkpointed_kind(type(model))  # type: ignore[arg-type]  # classes can be hashed
        return 1
    return sum(checkpoint_activations(child) for child in model.children())


def _is_block(module: nn.Module) -> bool:
    kind = type(module)
    return isinstance(module, BLOCKS) or (kind.__module__, kind.__name__) in BLOCKS_OF_TRANSFORMERS


@functools.cache
def _checkpointed_kind(kind: type[nn.Module]) -> type[nn.Module]:
    """The class of blocks that differ from `kind` in nothing but what they keep.

    A class of its own, unlike a function put into the block, goes with every copy of a block.
    """
    # The aligner asks its blocks for more than `forward` gives.
    name = "with_normalised" if issubclass(kind, TransformerBlock) else "forward"
    method = getattr(kind, name)

    @functools.wraps(method)
    def compute_again(block: nn.Module, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the block does
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return method(block, *args, **kwargs)
        tracked = {norm: norm.track_running_stats for norm in block.modules() if isinstance(norm, _BatchNorm)}

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _statistics_counted_already(tracked)

        return checkpoint(method, block, *args, use_reentrant=False, context_fn=contexts, **kwargs)

    return type(f"Checkpointed{kind.__name__}", (kind,), {name: compute_again, MARK: True})


@contextmanager
def _statistics_counted_already(tracked: dict[_BatchNorm, bool]) -> Iterator[None]:
    """Batch normalisation as in the first pass, which moves no running statistics.

    The second pass must save for the backward pass what the first one saved, and whether running statistics
    are among it depends on `track_running_stats`. So they are passed on as before, with a momentum of 0. The
    batch is counted on a copy, since synchronised batch normalisation insists on counting.
    """
    before = [(norm.track_running_stats, norm.momentum, norm.num_batches_tracked) for norm in tracked]
    for norm, tracks in tracked.items():
        norm.track_running_stats, norm.momentum = tracks, 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (tracks, momentum, count) in zip(tracked, before, strict=True):
            norm.track_running_stats, norm.momentum, norm.num_batches_tracked = tracks, momentum, count
