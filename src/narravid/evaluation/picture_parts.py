"""What all pictures of results share: colours, axes without matplotlib's global state, PNG bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["INK", "MAX_LABELLED", "SERIES_COLOURS", "new_axes", "png", "shortened"]

SERIES_COLOURS = ("#1f6fb2", "#d9822b", "#8a8f98", "#3c8f5a", "#a8498f", "#c0392b", "#22a2a8", "#7a5c3e")
INK = "#1d2430"
DOTS_PER_INCH = 110
MAX_LABELLED = 40
"""Rows or columns of a matrix that can still be named."""


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of so many inches with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure: Figure, *, dots_per_inch: float = DOTS_PER_INCH, num_colours: int | None = None) -> bytes:
    """A figure as PNG.

    Args:
        figure: The figure.
        dots_per_inch: Pixels for each inch of it.
        num_colours: Size of a palette, at most 256, which makes large pictures several times smaller; None
            for all colours.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    if num_colours is None:
        return buffer.getvalue()
    reduced = io.BytesIO()
    with Image.open(buffer) as picture:
        # The octree keeps rare colours, such as the few best scores and their frames.
        few = picture.convert("RGB").quantize(num_colours, method=Image.Quantize.FASTOCTREE)
        palette = few.getpalette() or []
        few.putpalette([255 if value == 254 else value for value in palette])  # white stays white
        few.save(reduced, format="PNG", compress_level=9, dpi=(dots_per_inch, dots_per_inch))
    return reduced.getvalue()


def shortened(text: str, max_characters: int) -> str:
    """A label of at most so many characters; `$` does not begin a formula in it."""
    short = text if len(text) <= max_characters else f"{text[: max_characters - 1].rstrip()}…"
    return short.replace("$", r"\$")
