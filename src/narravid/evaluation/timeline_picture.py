"""Pictures of scores over time: when in a video does it fit which prompt?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from narravid.evaluation.picture_parts import SERIES_COLOURS, new_axes, png
from narravid.evaluation.picture_values import colour_limits, finite_array, minus_formatter
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
from narravid.inference.trajectory_timeline import ScoreTimeline

__all__ = ["timeline_picture"]

MAX_LINES_DRAWN = len(SERIES_COLOURS)
MOST_DOTTED = 60
GAP_STRIDES = 1.5
WIDTH_INCHES, LINES_INCHES, ROW_INCHES = 8.4, 2.9, 0.3
LABEL_INCHES, LABEL_POINTS = 3.3, 8.5
DOTS_PER_INCH = 150
BEST_COLOUR = "#e4572e"

Array = npt.NDArray[np.float64]


def timeline_picture(timeline: ScoreTimeline, *, title: str = "", value_label: str = "score") -> bytes:
    """Scores of a video's windows with each prompt, at the middle of each window.

    Up to 8 prompts are lines with a legend. More are rows in colours, with the best prompt of each moment
    marked. Where windows could not be read there is a gap.

    Args:
        timeline: The scores, of at least one window and one prompt.
        title: What stands above.
        value_label: What the scores are.

    Returns:
        A PNG.

    Raises:
        ValueError: If there is no score, or one is not finite.
    """
    scores = finite_array(timeline.scores, "scores")
    centres = (np.asarray(timeline.starts_seconds) + np.asarray(timeline.ends_seconds)) / 2
    prompts = [prompt.text for prompt in timeline.prompts]
    if scores.shape != (len(centres), len(prompts)):
        raise ValueError(
            f"scores of {scores.shape} do not fit {len(centres)} windows and {len(prompts)} prompts"
        )
    head = wrapped(title, 0.85 * WIDTH_INCHES, TITLE_POINTS) if title else []
    span = (float(timeline.starts_seconds[0]), float(timeline.ends_seconds[-1]))
    draw = _draw_lines if len(prompts) <= MAX_LINES_DRAWN else _draw_rows
    return draw((centres, scores), prompts, head=head, span=span, value_label=value_label)


def _draw_lines(
    points: tuple[Array, Array],
    prompts: Sequence[str],
    *,
    head: Sequence[str],
    span: tuple[float, float],
    value_label: str,
) -> bytes:
    centres, scores = points
    legend = [wrapped(prompt, WIDTH_INCHES - 0.8, LABEL_POINTS, max_lines=3) for prompt in prompts]
    words = legend_inches(legend, LABEL_POINTS)
    figure, axes = new_axes(WIDTH_INCHES, LINES_INCHES + words + 0.2 + len(head) * line_inches(TITLE_POINTS))
    places, values = _with_gaps(centres, scores)
    marker = "o" if len(centres) <= MOST_DOTTED else ""
    handles = []
    for colour, column in zip(SERIES_COLOURS, values.T, strict=False):
        handles += axes.plot(places, column, color=colour, linewidth=1.7, marker=marker, markersize=3.5)
    low, high = colour_limits(scores)
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    axes.set_xlim(*span)
    axes.grid(alpha=0.25)
    axes.set_xlabel("seconds (middle of the window)", fontsize=LABEL_POINTS)
    axes.set_ylabel(value_label, fontsize=LABEL_POINTS)
    axes.tick_params(labelsize=LABEL_POINTS)
    axes.yaxis.set_major_formatter(minus_formatter())
    write_legend(figure, handles, legend, points=LABEL_POINTS)
    write_title(figure, head)
    return png(figure, dots_per_inch=DOTS_PER_INCH)


def _draw_rows(
    points: tuple[Array, Array],
    prompts: Sequence[str],
    *,
    head: Sequence[str],
    span: tuple[float, float],
    value_label: str,
) -> bytes:
    centres, scores = points
    labels = [wrapped(prompt, LABEL_INCHES, LABEL_POINTS, max_lines=3) for prompt in prompts]
    row = max(ROW_INCHES * 0.8, max(map(len, labels)) * line_inches(LABEL_POINTS) + 0.06)
    label_inches = max(text_inches(line, LABEL_POINTS) for lines in labels for line in lines)
    figure, axes = new_axes(
        label_inches + 6.6, row * len(prompts) + 0.9 + len(head) * line_inches(TITLE_POINTS)
    )
    edges, columns = _columns(centres, scores, span)
    norm = Normalize(*colour_limits(scores))
    shown = axes.pcolormesh(
        edges, np.arange(len(prompts) + 1), np.ma.masked_invalid(columns.T), cmap="viridis", norm=norm
    )
    axes.plot(centres, scores.argmax(axis=1) + 0.5, "o", color=BEST_COLOUR, ms=5.5, mec="white", mew=0.9)
    axes.set(xlim=span, ylim=(len(prompts), 0))
    axes.set_yticks(
        np.arange(len(prompts)) + 0.5,
        ["\n".join(lines) for lines in labels],
        **writing(LABEL_POINTS),
    )
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=LABEL_POINTS)
    axes.set_xlabel("seconds (middle of the window) · dots: the best prompt", fontsize=LABEL_POINTS)
    bar = figure.colorbar(shown, ax=axes, pad=0.015, fraction=0.04, aspect=24, anchor=(0, 1), shrink=0.7)
    bar.locator = MaxNLocator(6)
    bar.formatter = minus_formatter()
    bar.update_ticks()
    bar.ax.tick_params(labelsize=LABEL_POINTS)
    bar.set_label(value_label, fontsize=LABEL_POINTS)
    bar.outline.set_visible(False)
    write_title(figure, head)
    return png(figure, dots_per_inch=DOTS_PER_INCH)


def _stride(centres: Array) -> float:
    return float(np.median(np.diff(centres))) if len(centres) > 1 else 0.0


def _with_gaps(centres: Array, scores: Array) -> tuple[Array, Array]:
    """Points with a missing one between windows that do not follow each other, at which a line breaks."""
    breaks = np.flatnonzero(np.diff(centres) > GAP_STRIDES * _stride(centres)) + 1
    return np.insert(centres, breaks, np.nan), np.insert(scores, breaks, np.nan, axis=0)


def _columns(centres: Array, scores: Array, span: tuple[float, float]) -> tuple[Array, Array]:
    """Edges of the columns and their scores, (C + 1,) and (C, P), with a column of NaN in every gap.

    Windows overlap: each stands for the time that is nearer to its middle than to any other's.
    """
    if len(centres) == 1:
        return np.array(span), scores
    half = _stride(centres) / 2
    edges, columns = [span[0]], [scores[0]]
    for place in range(1, len(centres)):
        before, after = centres[place - 1], centres[place]
        if after - before > GAP_STRIDES * 2 * half:
            edges += [before + half, after - half]
            columns += [np.full_like(scores[0], np.nan), scores[place]]
        else:
            edges.append((before + after) / 2)
            columns.append(scores[place])
    return np.array([*edges, span[1]]), np.array(columns)
