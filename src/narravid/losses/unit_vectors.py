"""Vectors of length one, also where float32 would lose the length."""

from __future__ import annotations

import torch

__all__ = ["unit_vectors"]

SMALLEST_ENTRY = 1e-12
"""A vector without a larger entry has no direction worth keeping; its inverse bounds the gradients."""


def unit_vectors(vectors: torch.Tensor) -> torch.Tensor:
    """Divide each vector by its Euclidean length.

    The vector is first scaled by its largest entry, which changes nothing but keeps the squares within the
    range of float32. A vector of (next to) zeros has no direction: it stays zero and receives no gradient,
    so that its cosine with everything is 0.

    Args:
        vectors: (..., D) floating point.

    Returns:
        (..., D) of the same dtype, each of length 1 or 0.
    """
    largest = vectors.detach().abs().amax(dim=-1, keepdim=True)
    has_direction = ~(largest <= SMALLEST_ENTRY)  # NaN has one too: it must not pass for zero
    scaled = torch.where(has_direction, vectors / largest.clamp_min(SMALLEST_ENTRY), 1.0)
    return torch.where(has_direction, scaled / scaled.norm(dim=-1, keepdim=True), 0.0)
