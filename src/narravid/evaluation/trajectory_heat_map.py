"""The heat map of trajectories against prompts: every number readable, every prompt written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from narravid.evaluation.heat_map_layout import (
    GAP,
    NOTE_POINTS,
    HeatMapLayout,
    is_numbered,
    lay_out,
)
from narravid.evaluation.picture_parts import INK, png
from narravid.evaluation.picture_values import (
    colour_limits,
    finite_array,
    minus_formatter,
    num_decimals,
    number_text,
)
from narravid.evaluation.picture_words import LINE_SPACING, TITLE_POINTS, text_inches, writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["score_heat_map"]

BAR_INCHES = 3.6
BEST_COLOUR = "#e4572e"
BRIGHTNESS = np.array([0.299, 0.587, 0.114])
BRIGHT = 0.52
BEST_NOTE = "framed: the best prompt of each trajectory"
MANY_CELLS, FEW_COLOURS = 400, 128
"""The picture of a matrix with so many cells is saved with a palette of so few colours, to be small."""


def score_heat_map(
    scores: npt.NDArray[np.floating] | torch.Tensor,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str = "",
    value_label: str = "cosine similarity",
    cell_texts: Sequence[Sequence[str]] | None = None,
) -> bytes:
    """A matrix of scores in colours, with the number in each cell.

    Cells, letters and picture grow with the matrix. Prompts are wrapped, names of trajectories shortened in
    the middle where they must be. The best prompt of a row is framed. More than 100 rows or 60 columns are
    shown without numbers.

    Args:
        scores: (V, P), finite.
        rows: V names of trajectories.
        columns: P prompts.
        title: What stands above.
        value_label: What the scores are.
        cell_texts: (V, P) what to write into the cells instead of the numbers; no prompt is framed then.

    Returns:
        A PNG.

    Raises:
        ValueError: If there is no score, one is not finite, or labels or texts do not fit.
    """
    values = finite_array(scores, "scores")
    if values.ndim != 2 or values.shape != (len(rows), len(columns)):
        raise ValueError(
            f"scores of {values.shape} do not fit {len(rows)} names of rows and {len(columns)} of columns"
        )
    decimals = num_decimals(values)
    texts = cell_texts or [[number_text(value, decimals) for value in row] for row in values]
    if [len(row) for row in texts] != [len(columns)] * len(rows):
        raise ValueError(f"cell_texts must be {len(rows)} rows of {len(columns)} texts")
    has_best = cell_texts is None and bool((values.max(axis=1) > values.min(axis=1)).any())
    note = BEST_NOTE if has_best else ""
    layout = lay_out(rows, columns, texts, title=title, note=note, value_label=value_label)
    figure = Figure(figsize=(layout.width, layout.height))
    axes = figure.add_axes(layout.place(layout.left, layout.bottom, layout.size))
    colours = ScalarMappable(Normalize(*colour_limits(values)), "viridis")
    width = 0.6 if is_numbered(values.shape) else 0.0
    axes.pcolormesh(colours.to_rgba(values), edgecolors="white" if width else "none", linewidth=width)
    axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if is_numbered(values.shape):
        _write_cells(axes, texts, layout.cell, colours.to_rgba(values))
    if layout.note:
        _frame_best(axes, values)
    _write_labels(axes, layout)
    _write_title(figure, layout)
    _add_colour_bar(figure, layout, colours)
    num_colours = FEW_COLOURS if values.size > MANY_CELLS else None
    return png(figure, dots_per_inch=layout.dots_per_inch, num_colours=num_colours)


def _write_cells(
    axes: Axes,
    texts: Sequence[Sequence[str]],
    cell: tuple[float, float],
    colours: npt.NDArray[np.floating],
) -> None:
    height, width = cell
    lines = {line for row in texts for text in row for line in text.split("\n")}
    num_lines = max(text.count("\n") + 1 for row in texts for text in row)
    points = min(10.0, 72 * height / (0.4 + LINE_SPACING * num_lines))
    points *= min(1.0, 0.84 * width / max(text_inches(line, points) for line in lines))
    brightness = colours[..., :3] @ BRIGHTNESS
    for (row, column), bright in np.ndenumerate(brightness):
        colour = INK if bright > BRIGHT else "white"
        style = writing(points, color=colour, ha="center", va="center_baseline")
        axes.text(column + 0.5, row + 0.5, texts[row][column], **style)


def _frame_best(axes: Axes, values: npt.NDArray[np.floating]) -> None:
    """A frame around the highest score of each row; none where all are the same."""
    for row, (scores, best) in enumerate(zip(values, values.argmax(axis=1), strict=True)):
        if scores.max() > scores.min():
            axes.add_patch(Rectangle((best, row), 1, 1, fill=False, ec=BEST_COLOUR, lw=1.6, clip_on=False))


def _write_labels(axes: Axes, layout: HeatMapLayout) -> None:
    names, prompts = layout.names, layout.prompts
    left, above = -GAP / layout.cell[1], -GAP / layout.cell[0]
    style = writing(names.points, color=INK, ha="right", va="center_baseline")
    for row, lines in enumerate(names.lines):
        axes.text(left, row + 0.5, "\n".join(lines), **style)
    turn = 0 if prompts.upright else 90
    style = writing(prompts.points, color=INK, ha="center", va="bottom", rotation=turn)
    for column, lines in enumerate(prompts.lines):
        axes.text(column + 0.5, above, "\n".join(lines), **style)
    style = writing(NOTE_POINTS, color=INK)
    num_rows, num_columns = len(names.lines), len(prompts.lines)
    if not any(names.lines):
        axes.text(left, num_rows / 2, f"{num_rows} rows", rotation=90, ha="right", va="center", **style)
    if not any(prompts.lines):
        axes.text(num_columns / 2, above, f"{num_columns} columns", ha="center", **style)
    if layout.note:
        axes.text(0, num_rows - above, layout.note, va="top", **style)


def _write_title(figure: Figure, layout: HeatMapLayout) -> None:
    if layout.title:
        style = writing(TITLE_POINTS, color=INK, weight="bold", va="top")
        figure.text(GAP / layout.width, 1 - GAP / layout.height, "\n".join(layout.title), **style)


def _add_colour_bar(figure: Figure, layout: HeatMapLayout, colours: ScalarMappable) -> None:
    height, width = layout.size
    shown = min(height, BAR_INCHES)
    place = layout.place(layout.left + width + 0.2, layout.bottom + height - shown, (shown, 0.14))
    bar = figure.colorbar(colours, cax=figure.add_axes(place))
    bar.locator = MaxNLocator(max(3, int(2 * shown)))
    bar.formatter = minus_formatter()
    bar.update_ticks()
    bar.ax.tick_params(labelsize=NOTE_POINTS, colors=INK, length=2)
    # Beside the middle of the bar, or as near to it as the ends of the picture allow.
    middle = layout.bottom + height - shown / 2
    half = max(text_inches(line, NOTE_POINTS) for line in layout.value_lines) / 2 + GAP
    beside = min(max(middle, half), layout.height - half)
    style = writing(NOTE_POINTS, color=INK, y=0.5 + (beside - middle) / shown, ha="center")
    bar.set_label("\n".join(layout.value_lines), **style)
    bar.outline.set_visible(False)
