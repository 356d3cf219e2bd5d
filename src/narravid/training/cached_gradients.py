"""Large contrastive batches on a small device: the gradient of the whole batch, computed piece by piece.

Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, 2021, arXiv 2101.06983:
embed every piece without a graph, take the gradient of the objective with respect to all embeddings, then
embed every piece again and send its part of that gradient through the network. Nothing is approximated: but
for batch statistics, which are those of a piece, it is the gradient of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from narravid.models.running_statistics import running_statistics_kept
from narravid.training.checkpoint import random_state, restore_random_state

__all__ = ["Embed", "cached_backward"]

Embed = Callable[[Any], tuple[torch.Tensor, ...]]
"""A piece of a batch to tensors whose first axis counts its items."""


Objective = Callable[[tuple[torch.Tensor, ...]], Mapping[str, torch.Tensor]]
"""Embeddings of the whole batch to scalars; "loss" is the one to minimise."""


def cached_backward(
    network: nn.Module,
    pieces: Sequence[Any],
    *,
    embed: Embed,
    objective: Objective,
    backward: Callable[[torch.Tensor], None],
) -> dict[str, torch.Tensor]:
    """Add the gradient of the objective over a whole batch to the parameters.

    Each piece draws the same random numbers (dropout) both times, and running statistics move once.

    Args:
        network: What embeds.
        pieces: The batch in pieces.
        embed: Brings a piece to the network and gives its embeddings.
        objective: What is made of all embeddings.
        backward: Called with the loss; must compute its gradient, scaled or not.

    Returns:
        What the objective gave.
    """
    embeddings, states = _without_graph(network, pieces, embed)
    values = dict(objective(embeddings))
    backward(values["loss"])
    after = random_state()
    gradients = [leaf.grad for leaf in embeddings]
    start = 0
    for piece, state in zip(pieces, states, strict=True):
        restore_random_state(state)
        again = embed(piece)
        stop = start + len(again[0])
        used = [
            (tensor, gradient[start:stop])
            for tensor, gradient in zip(again, gradients, strict=True)
            if gradient is not None and tensor.requires_grad
        ]
        if used:
            torch.autograd.backward([tensor for tensor, _ in used], [gradient for _, gradient in used])
        start = stop
    restore_random_state(after)
    return values


@torch.no_grad()
def _without_graph(
    network: nn.Module, pieces: Sequence[Any], embed: Embed
) -> tuple[tuple[torch.Tensor, ...], list[dict[str, Any]]]:
    """Leaves that take gradients, and the state of the random generators before each piece."""
    parts, states = [], []
    with running_statistics_kept(network):
        for piece in pieces:
            states.append(random_state())
            parts.append(embed(piece))
    joined = (torch.cat(column) for column in zip(*parts, strict=True))
    return tuple(leaf.requires_grad_(leaf.is_floating_point()) for leaf in joined), states
