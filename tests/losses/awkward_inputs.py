"""Inputs on which losses like to break: equal, zero, tiny and huge ones, next to ordinary ones."""

from __future__ import annotations

from collections.abc import Iterator

import torch

KINDS = ("normal", "equal", "zero", "one zero", "tiny", "huge", "aligned", "opposite")
LARGEST_NORM = 99.9
"""Embeddings of this length have dot products just within the ±1e4 that losses take."""


def awkward_tensors(count: int, *shapes: tuple[int, ...]) -> Iterator[list[torch.Tensor]]:
    """`count` times one float32 tensor per shape (..., D), of each kind in turn, taking gradients."""
    for seed in range(count):
        yield awkward_set(seed, *shapes)


def awkward_set(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    kind = KINDS[seed % len(KINDS)]
    common = torch.randn(shapes[0][-1], generator=generator)
    tensors = []
    for place, shape in enumerate(shapes):
        values = torch.randn(shape, generator=generator)
        if kind in ("equal", "aligned", "opposite"):
            values = common.expand(shape).clone()
        if kind == "zero":
            values = torch.zeros(shape)
        if kind == "one zero":
            values[..., :1, :] = 0
        if kind == "tiny":
            values = values * 1e-30
        if kind in ("huge", "aligned", "opposite"):
            values = LARGEST_NORM * torch.nn.functional.normalize(values, dim=-1)
        if kind == "opposite" and place:
            values = -values
        tensors.append(values.requires_grad_())
    return tensors


def assert_finite(loss: torch.Tensor, *inputs: torch.Tensor) -> None:
    """Neither the loss nor a gradient of it is NaN or infinite."""
    gradients = torch.autograd.grad(loss, inputs)
    assert bool(torch.isfinite(loss)), float(loss)
    for gradient in gradients:
        assert bool(torch.isfinite(gradient).all())
