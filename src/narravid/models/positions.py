"""Where things stand in time, as vectors: sine tables, and rows of a table for a clip of any length."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

__all__ = ["draw_position_start", "position_rows", "sine_positions"]

SINE_TEMPERATURE = 10000
SINE_EPSILON = 1e-6


def sine_positions(num_positions: int, dim: int) -> torch.Tensor:
    """Fixed position vectors: sines in even columns, cosines in odd ones.

    Position p becomes the angle 2π·p / (num_positions − 1), divided by 10000^(2⌊k/2⌋ / dim) for column k.
    Vaswani et al., NeurIPS 2017, arXiv 1706.03762, section 3.5, with positions stretched over one turn.

    Args:
        num_positions: Rows.
        dim: Columns; even.

    Returns:
        (num_positions, dim) float32 in [-1, 1].

    Raises:
        ValueError: If there is no row or no even number of columns.
    """
    if num_positions < 1 or dim < 2 or dim % 2:
        raise ValueError(f"sine positions need a row and an even dim, got {num_positions} x {dim}")
    # Every step rounds to float32, as in the published table: zeros of the sine show the last bit.
    steps = torch.arange(num_positions, dtype=torch.float32)
    angles = steps / (steps[-1] + SINE_EPSILON) * (2 * math.pi)
    columns = torch.arange(dim, dtype=torch.float32)
    angles = angles[:, None] / SINE_TEMPERATURE ** (2 * (columns // 2) / dim)
    return torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), dim=2).flatten(1)


def position_rows(
    table: torch.Tensor, length: int, *, start: int = 0, interpolate_from: int | None = None
) -> torch.Tensor:
    """The vectors of `length` consecutive positions.

    Args:
        table: (P, D).
        length: How many are needed.
        start: Position of the first; of no effect when interpolating.
        interpolate_from: Stretch the first so many rows over the whole length, linearly and counted from
            their outer edges; None takes the rows as they are.

    Returns:
        (length, D).

    Raises:
        ValueError: If the table is too short for what is asked; says what to do.
    """
    num_positions = table.shape[0]
    if interpolate_from is None:
        if start < 0 or start + length > num_positions:
            raise ValueError(
                f"{length} steps from position {start} on do not fit the {num_positions} positions of the "
                "model; give shorter pieces, or stretch the positions with interpolate_from"
            )
        return table[start : start + length]
    if not 1 <= interpolate_from <= num_positions:
        raise ValueError(f"interpolate_from must be in [1, {num_positions}], got {interpolate_from}")
    if length == 0:
        return table[:0]
    rows = table[:interpolate_from].T[None]
    return F.interpolate(rows, size=length, mode="linear", align_corners=False)[0].T


def draw_position_start(length: int, num_positions: int, *, generator: torch.Generator | None) -> int:
    """A random first position below half the length, so that a model learns no fixed places.

    Args:
        length: Consecutive positions that follow.
        num_positions: Size of the table.
        generator: Where the number comes from; None for 0.

    Returns:
        A position in [0, max(1, length // 2)) from which `length` positions fit.
    """
    if generator is None:
        return 0
    bound = max(1, min(length // 2, num_positions - length + 1))
    return int(torch.randint(bound, (), generator=generator, device=generator.device))
