"""What all pictures of results share: colours, axes without matplotlib's global state, PNG bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MAX_LABELLED", "SERIES_COLOURS", "new_axes", "png", "shortened"]

SERIES_COLOURS = ("#1f6fb2", "#d9822b", "#8a8f98", "#3c8f5a", "#a8498f")
DOTS_PER_INCH = 110
MAX_LABELLED = 40
"""Rows or columns of a matrix that can still be named."""


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of so many inches with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure: Figure) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def shortened(text: str, max_characters: int) -> str:
    """A label of at most so many characters; `$` does not begin a formula in it."""
    short = text if len(text) <= max_characters else f"{text[: max_characters - 1].rstrip()}…"
    return short.replace("$", r"\$")
