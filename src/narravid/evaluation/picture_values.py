"""Numbers in pictures: how many digits they need, and which range the colours span."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.ticker import Formatter

__all__ = ["colour_limits", "finite_array", "minus_formatter", "num_decimals", "number_text"]

LEAST_RANGE = 0.01
"""Scores that differ by less than this do not fill the whole range of colours: they are nearly the same."""

MINUS = "−"


def finite_array(values: npt.NDArray[np.floating] | torch.Tensor, name: str) -> npt.NDArray[np.float64]:
    """Values as float64 on the CPU.

    Args:
        values: Of any shape.
        name: What they are called in the error.

    Raises:
        ValueError: If there is none, or one is NaN or infinite.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    array = np.asarray(values, dtype=np.float64)
    if not array.size or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite and at least one, got {array.size} of shape {array.shape}")
    return array


def colour_limits(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Lowest and highest value that the colours tell apart: those that occur, but never closer than 0.01."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    missing = max(0.0, LEAST_RANGE - (high - low))
    return low - missing / 2, high + missing / 2


def num_decimals(values: npt.NDArray[np.floating]) -> int:
    """Decimals that tell the values apart: two for a wide range, up to four for a narrow one."""
    span = float(np.nanmax(values) - np.nanmin(values))
    if not span:
        return 3
    return min(4, max(2, 2 - math.floor(math.log10(span))))


def number_text(value: float, decimals: int) -> str:
    """A number with so many decimals, a minus of the width of a digit, and no minus before a zero."""
    return f"{value:z.{decimals}f}".replace("-", MINUS)


def minus_formatter() -> Formatter:
    """Writes the numbers of an axis as briefly as they can be, all with the same decimals."""
    return _EqualDecimals()


class _EqualDecimals(Formatter):
    def __call__(self, x: float, pos: int | None = None) -> str:
        return self.format_ticks([x])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        shortest = [f"{value:z.6g}" for value in values]
        if any("e" in text for text in shortest):
            return [text.replace("-", MINUS) for text in shortest]
        decimals = max(len(text.partition(".")[2]) for text in shortest)
        return [number_text(value, decimals) for value in values]
