"""Bars of groups: mean and deviation of groups of trajectories with groups of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.patches import Patch

from narravid.evaluation.picture_parts import INK, SERIES_COLOURS, new_axes, png
from narravid.evaluation.picture_values import finite_array, minus_formatter, num_decimals, number_text
from narravid.evaluation.picture_words import (
    TITLE_POINTS,
    legend_inches,
    line_inches,
    text_inches,
    wrapped,
    write_legend,
    write_title,
    writing,
)
from narravid.evaluation.trajectory_heat_map import score_heat_map
from narravid.inference.trajectory_groups import GroupTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["group_bars"]

MAX_SERIES = len(SERIES_COLOURS)
MAX_BARS = 160
BAR_INCHES, LONE_BAR_INCHES, CLUSTER_GAP_INCHES = 0.15, 0.24, 0.14
AXIS_INCHES, LABEL_INCHES, NUMBER_INCHES = 4.6, 2.8, 1.15
LABEL_POINTS, NUMBER_POINTS = 8.5, 7.5
MAX_LABEL_LINES = 4
DOTS_PER_INCH = 160

Matrix = npt.NDArray[np.float64]


def group_bars(table: GroupTable, *, title: str = "") -> bytes:
    """Mean and deviation of each group of trajectories with each group of prompts.

    The side with more groups goes down the page, a cluster of bars each; the other gives the bars of a
    cluster. Of more than 8 bars in a cluster, or 160 together, the means are shown as a heat map.

    Args:
        table: The groups.
        title: What stands above.

    Returns:
        A PNG.

    Raises:
        ValueError: If a mean or a deviation is not finite, or there is none.
    """
    mean, std = finite_array(table.mean, "mean"), finite_array(table.std, "std")
    label = "mean of normalised scores" if table.normalised else "mean score"
    if min(mean.shape) > MAX_SERIES or mean.size > MAX_BARS:
        return score_heat_map(
            mean,
            table.trajectory_groups,
            table.prompt_groups,
            title=title,
            value_label=f"{label} (± deviation)",
            cell_texts=_texts(mean, std, "{}\n±{}"),
        )
    clusters, series = table.trajectory_groups, table.prompt_groups
    if len(series) > len(clusters):
        clusters, series, mean, std = series, clusters, mean.T, std.T
    bar = BAR_INCHES if len(series) > 1 else LONE_BAR_INCHES
    most_lines = max(MAX_LABEL_LINES, int(bar * len(series) / line_inches(LABEL_POINTS)))
    labels = [wrapped(name, LABEL_INCHES, LABEL_POINTS, max_lines=most_lines) for name in clusters]
    pitch = max(bar * len(series), _height(labels)) + CLUSTER_GAP_INCHES
    label_inches = max(text_inches(line, LABEL_POINTS) for lines in labels for line in lines)
    width = label_inches + AXIS_INCHES + NUMBER_INCHES
    head = wrapped(title, 0.85 * width, TITLE_POINTS) if title else []
    legend = [wrapped(name, width - 0.8, LABEL_POINTS, max_lines=MAX_LABEL_LINES) for name in series]
    legend = legend if len(legend) > 1 else []
    height = pitch * len(clusters) + 0.75 + len(head) * line_inches(TITLE_POINTS)
    height += legend_inches(legend, LABEL_POINTS)
    figure, axes = new_axes(width, height)
    _draw_bars(axes, (mean, std), bar / pitch)
    axes.set_yticks(range(len(clusters)), ["\n".join(lines) for lines in labels], **writing(LABEL_POINTS))
    axes.set_xlabel(f"{label} ± deviation", fontsize=LABEL_POINTS)
    if legend:
        handles = [Patch(color=colour) for colour in SERIES_COLOURS[: len(legend)]]
        write_legend(figure, handles, legend, points=LABEL_POINTS)
    write_title(figure, head)
    return png(figure, dots_per_inch=DOTS_PER_INCH)


def _height(labels: Sequence[Sequence[str]]) -> float:
    return max(map(len, labels)) * line_inches(LABEL_POINTS)


def _texts(mean: Matrix, std: Matrix, form: str) -> list[list[str]]:
    decimals = num_decimals(np.concatenate([mean - std, mean + std]))
    pairs = (zip(*lines, strict=True) for lines in zip(mean, std, strict=True))
    return [
        [form.format(number_text(m, decimals), number_text(s, decimals)) for m, s in row] for row in pairs
    ]


def _draw_bars(axes: Axes, values: tuple[Matrix, Matrix], bar: float) -> None:
    """Bars of a thickness relative to the distance of clusters; their numbers in a column beside them."""
    mean, std = values
    num_clusters, num_series = mean.shape
    texts = _texts(mean, std, "{} ± {}")
    for series in range(num_series):
        places = np.arange(num_clusters) + (series - (num_series - 1) / 2) * bar
        axes.barh(places, mean[:, series], 0.88 * bar, color=SERIES_COLOURS[series])
        # A single pair has no deviation, and whiskers of length 0 would look like a very small one.
        spread = np.where(std[:, series] > 0, std[:, series], np.nan)
        axes.errorbar(
            mean[:, series], places, xerr=spread, fmt="none", ecolor=INK, elinewidth=1.0, capsize=2.2
        )
        style = writing(NUMBER_POINTS, color=INK, va="center_baseline", transform=axes.get_yaxis_transform())
        for cluster, place in enumerate(places):
            axes.text(1.02, place, texts[cluster][series], **style)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(num_clusters - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=LABEL_POINTS)
    axes.xaxis.set_major_formatter(minus_formatter())
