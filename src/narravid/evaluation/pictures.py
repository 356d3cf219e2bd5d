"""Pictures of results as PNG or JPEG bytes: curves, heat maps, bars, strips of frames.

Figures are built without matplotlib's global state: they can be drawn in any thread and without a screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from narravid.evaluation.picture_parts import MAX_LABELLED, SERIES_COLOURS, new_axes, png
from narravid.evaluation.result_pictures import confusion_matrix, rank_histogram, score_timeline
from narravid.video.frame_strip import frame_strip

__all__ = [
    "bar_chart",
    "confusion_matrix",
    "curves",
    "frame_strip",
    "heat_map",
    "rank_histogram",
    "score_timeline",
]


def curves(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x_label: str,
    y_label: str,
) -> bytes:
    """Lines over a common axis.

    Args:
        series: For each name its (x, y) points, by x.
        x_label: What x is.
        y_label: What y is.

    Returns:
        A PNG.

    Raises:
        ValueError: If there is nothing to draw.
    """
    if not any(series.values()):
        raise ValueError("there is no point to draw a curve of")
    figure, axes = new_axes(7.2, 3.2)
    for colour, (name, points) in zip(_colours(len(series)), series.items(), strict=True):
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, label=name, color=colour, linewidth=1.6)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return png(figure)


def bar_chart(groups: Mapping[str, Mapping[str, float]], *, y_label: str) -> bytes:
    """Groups of bars for shares in [0, 1], shown in percent.

    Args:
        groups: For each series its value for each group, the same groups in all.
        y_label: What the values are.

    Returns:
        A PNG.

    Raises:
        ValueError: If there is no series, or the series have different groups.
    """
    names = list(next(iter(groups.values()), {}))
    if not names or any(list(values) != names for values in groups.values()):
        raise ValueError(
            f"every series needs the same groups, got { {name: list(v) for name, v in groups.items()} }"
        )
    figure, axes = new_axes(7.2, 2.9)
    width = 0.8 / len(groups)
    places = np.arange(len(names))
    for number, (colour, (series, values)) in enumerate(
        zip(_colours(len(groups)), groups.items(), strict=True)
    ):
        heights = [100 * values[name] for name in names]
        bars = axes.bar(
            places + (number - (len(groups) - 1) / 2) * width, heights, width, label=series, color=colour
        )
        axes.bar_label(bars, fmt="%.0f", fontsize=8, padding=1)
    axes.set_xticks(places, names)
    axes.set_ylabel(y_label)
    axes.set_ylim(0, 128)
    axes.set_yticks(range(0, 101, 20))
    axes.legend(frameon=False, ncols=len(groups), loc="upper right", fontsize=8)
    return png(figure)


def heat_map(
    values: npt.NDArray[np.floating],
    *,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    value_label: str,
) -> bytes:
    """A matrix in colours; labels are drawn where there are few enough to be read.

    Args:
        values: (R, C).
        row_labels: R texts.
        column_labels: C texts.
        value_label: What the values are.

    Returns:
        A PNG.

    Raises:
        ValueError: If the labels do not fit the matrix.
    """
    if values.ndim != 2 or values.shape != (len(row_labels), len(column_labels)):
        raise ValueError(
            f"a matrix of {values.shape} does not fit {len(row_labels)} row labels "
            f"and {len(column_labels)} column labels"
        )
    labelled = max(values.shape) <= MAX_LABELLED
    size = min(14.0, max(5.0, 0.26 * max(values.shape))) if labelled else 7.5
    figure, axes = new_axes(size + (2.2 if labelled else 0.8), size * values.shape[0] / values.shape[1] + 1.0)
    image = axes.imshow(values, cmap="viridis", aspect="auto", interpolation="nearest")
    if labelled:
        axes.set_xticks(range(values.shape[1]), column_labels, rotation=90, fontsize=7)
        axes.set_yticks(range(values.shape[0]), row_labels, fontsize=7)
    figure.colorbar(image, ax=axes, label=value_label, shrink=0.8)
    return png(figure)


def _colours(count: int) -> list[str]:
    return [SERIES_COLOURS[number % len(SERIES_COLOURS)] for number in range(count)]
