"""The picture of a text reward against the true return: does the one rise with the other?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from narravid.evaluation.picture_parts import INK, SERIES_COLOURS, new_axes, png
from narravid.evaluation.picture_values import finite_array, minus_formatter
from narravid.evaluation.picture_words import TITLE_POINTS, line_inches, wrapped, write_title, writing

__all__ = ["reward_scatter"]

SIZE_INCHES = (4.9, 3.9)
LEAST_AREA, DOT_AREA, MOST_AREA = 14.0, 36.0, 700.0
NOTE_POINTS, AXIS_POINTS = 9, 9
DOTS_PER_INCH = 160


def reward_scatter(
    text_reward: npt.NDArray[np.floating],
    true_return: npt.NDArray[np.floating],
    *,
    title: str = "",
    note: str = "",
) -> bytes:
    """Episodes by their true return and their text reward; episodes at the same place make a larger dot.

    Args:
        text_reward: (N,), finite, at least one.
        true_return: (N,), finite, of the same episodes.
        title: What stands above, such as the prompt.
        note: A line under the title, such as the rank correlation with its interval.

    Returns:
        A PNG.

    Raises:
        ValueError: If there is no episode, a number is not finite, or the two do not fit.
    """
    rewards, returns = finite_array(text_reward, "text_reward"), finite_array(true_return, "true_return")
    if rewards.ndim != 1 or rewards.shape != returns.shape:
        raise ValueError(
            f"text_reward and true_return must be (N,) of one length, got {rewards.shape} and {returns.shape}"
        )
    points, counts = np.unique(np.stack([returns, rewards], axis=1), axis=0, return_counts=True)
    width, height = SIZE_INCHES
    head = wrapped(title, 0.82 * width, TITLE_POINTS) if title else []
    told = [note] if note else []
    if counts.max() > 1:
        told.append(f"larger dots: up to {counts.max()} episodes at one place")
    lines = [line for text in told for line in wrapped(text, width - 1.0, NOTE_POINTS)]
    height += len(head) * line_inches(TITLE_POINTS) + len(lines) * line_inches(NOTE_POINTS)
    figure, axes = new_axes(width, height)
    areas = np.maximum(LEAST_AREA, counts * min(DOT_AREA, MOST_AREA / counts.max()))
    axes.scatter(
        points[:, 0],
        points[:, 1],
        s=areas,
        color=SERIES_COLOURS[0],
        alpha=0.7,
        edgecolors="white",
        linewidths=0.6,
        zorder=3,
    )
    axes.set_xlabel("true return", fontsize=AXIS_POINTS)
    axes.set_ylabel("text reward", fontsize=AXIS_POINTS)
    axes.tick_params(labelsize=AXIS_POINTS)
    axes.grid(alpha=0.25)
    axes.margins(0.06)
    axes.xaxis.set_major_formatter(minus_formatter())
    axes.yaxis.set_major_formatter(minus_formatter())
    if lines:
        axes.set_title("\n".join(lines), **writing(NOTE_POINTS, color=INK), loc="left")
    write_title(figure, head)
    return png(figure, dots_per_inch=DOTS_PER_INCH)
