"""Pictures of what benchmarks found: where ranks lie, which classes are taken for which, scores over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from narravid.evaluation.picture_parts import MAX_LABELLED, SERIES_COLOURS, new_axes, png, shortened
from narravid.types import Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

__all__ = ["confusion_matrix", "rank_histogram", "score_timeline"]

RANK_STEPS = (1, 2, 5)
MAX_NUMBERED = 12
NUM_CONFUSED = 24
WORDS_INCHES = 5.2
MAX_ROWS = 80
TRUE_COLOUR, CHOSEN_COLOUR = "#ffffff", "#ff5a36"


def rank_histogram(ranks: npt.NDArray[np.floating], *, gallery_size: int) -> bytes:
    """How many queries have their right entry at which rank, and how many at that rank or better.

    Args:
        ranks: (N,) from 1; a rank between two whole ones, of ties, counts to the upper.
        gallery_size: How many entries there are, at least the largest rank.

    Returns:
        A PNG: bars for the share at each range of ranks beside that of chance, a line for all up to it.

    Raises:
        ValueError: If there is no rank, or one lies outside [1, gallery_size].
    """
    if not len(ranks) or ranks.min() < 1 or ranks.max() > gallery_size:
        raise ValueError(f"ranks must be from 1 to gallery_size={gallery_size}, and at least one")
    ends = _rank_ends(gallery_size)
    up_to = np.searchsorted(np.sort(ranks), ends, side="right") / len(ranks)
    figure, axes = new_axes(7.2, 3.4)
    places = np.arange(len(ends))
    chance = np.diff([0, *ends]) / gallery_size
    shares = np.diff([0.0, *up_to])
    bars = axes.bar(places - 0.2, 100 * shares, 0.4, label="at this rank", color=SERIES_COLOURS[0])
    axes.bar_label(bars, fmt="%.1f", fontsize=7, padding=1)
    axes.bar(places + 0.2, 100 * chance, 0.4, label="by chance", color=SERIES_COLOURS[2])
    axes.plot(
        places, 100 * up_to, label="up to this rank", color=SERIES_COLOURS[1], marker="o", markersize=3.5
    )
    axes.set_xticks(places, _rank_labels(ends))
    axes.set_xlabel(f"rank of the right one among {gallery_size:,}")
    axes.set_ylabel(f"% of {len(ranks):,} queries")
    axes.set_ylim(0, 106)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    figure.legend(frameon=False, ncols=3, loc="outside upper center", fontsize=8)
    return png(figure)


def _rank_ends(gallery_size: int) -> list[int]:
    """Last rank of each bar: 1, 2, 5, 10, 20, 50 ... and the size of the gallery."""
    ends = [step * 10**power for power in range(len(str(gallery_size))) for step in RANK_STEPS]
    return [*(end for end in ends if end < gallery_size), gallery_size]


def _rank_labels(ends: Sequence[int]) -> list[str]:
    starts = [1, *(end + 1 for end in ends[:-1])]
    return [
        f"{end:,}" if start == end else f"{start:,}–\n{end:,}"
        for start, end in zip(starts, ends, strict=True)
    ]


def confusion_matrix(counts: npt.NDArray[np.integer], *, labels: Sequence[str]) -> bytes:
    """Which classes are taken for which.

    Args:
        counts: (C, C) how often an item of the row's class was given the column's class.
        labels: The C classes; they are drawn where they can be read, and else the pairs that are confused
            most are listed beside the matrix.

    Returns:
        A PNG; every row is in percent of its own items, a class without items is left white.

    Raises:
        ValueError: If the labels do not fit the matrix.
    """
    num_classes = len(labels)
    if counts.shape != (num_classes, num_classes) or not num_classes:
        raise ValueError(f"a matrix of {counts.shape} does not fit {num_classes} labels")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(100.0 * counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    if num_classes <= MAX_LABELLED:
        size = max(4.2, 0.3 * num_classes)
        figure, axes = new_axes(size + 2.4, size + 1.6)
        image = _draw_shares(axes, shares)
        names = [shortened(label, 26) for label in labels]
        axes.set_xticks(range(num_classes), names, rotation=90, fontsize=8)
        axes.set_yticks(range(num_classes), names, fontsize=8)
        figure.colorbar(
            image, ax=axes, label="% of the row's items", shrink=0.8, ticks=[0, 1, 5, 20, 50, 100]
        )
        if num_classes <= MAX_NUMBERED:
            _number_cells(axes, shares)
        return png(figure)
    size = min(11.0, max(7.0, 0.027 * num_classes))
    figure = Figure(figsize=(size + WORDS_INCHES, size + 0.4), layout="constrained")
    axes, beside = figure.subplots(1, 2, width_ratios=[size, WORDS_INCHES])
    _draw_shares(axes, shares)
    axes.set_xticks([])
    axes.set_yticks([])
    beside.axis("off")
    beside.text(0, 1, _most_confused(shares, labels), transform=beside.transAxes, va="top", fontsize=8)
    return png(figure)


def _draw_shares(axes: Axes, shares: npt.NDArray[np.floating]) -> AxesImage:
    axes.spines[["top", "right"]].set_visible(True)
    axes.set_ylabel("class")
    axes.set_xlabel("taken for")
    # Small shares are what a matrix is looked at for: their colours are spread.
    return axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest")


def _most_confused(shares: npt.NDArray[np.floating], labels: Sequence[str]) -> str:
    """The largest entries beside the diagonal, in words."""
    apart = shares - np.diag(np.diag(shares))
    right = np.diag(shares)[shares.sum(axis=1) > 0]
    average = f"{right.mean():.1f} % right on average" if len(right) else "none of them measured"
    without = f" ({len(labels) - len(right)} without items)" if len(right) < len(labels) else ""
    lines = [
        f"{len(labels)} classes{without}, {average}",
        "",
        "taken for most often:",
    ]
    for place in np.argsort(-apart, axis=None, kind="stable")[:NUM_CONFUSED]:
        row, column = np.unravel_index(place, apart.shape)
        if apart[row, column] > 0:
            lines.append(
                f"{apart[row, column]:3.0f} %  {shortened(labels[row], 28)} → {shortened(labels[column], 28)}"
            )
    return "\n".join(lines)


def _number_cells(axes: Axes, shares: npt.NDArray[np.floating]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            colour = "white" if share > 35 else "#1d2430"
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=8, color=colour)


def score_timeline(
    scores: npt.NDArray[np.floating],
    *,
    row_labels: Sequence[str],
    true_spans: Sequence[Sequence[Span]],
    chosen_seconds: Sequence[float | None] | None = None,
    title: str = "",
    step_seconds: float = 1.0,
) -> bytes:
    """How well each sentence fits each moment of a video, and where it is shown in truth.

    Args:
        scores: (K, T) higher fits better, step by step; not finite where a moment has no score.
        row_labels: The K sentences.
        true_spans: For each sentence where it is shown; none for one that is not shown or not annotated.
        chosen_seconds: For each sentence the moment that the model chose; None for one without.
        title: What stands above.
        step_seconds: Length of a step, of which the first starts at 0.

    Returns:
        A PNG: a row for each sentence, its true spans framed in white, the chosen moments marked; of more
        than 80 sentences the first 80.

    Raises:
        ValueError: If there is no score, or labels, spans or moments are not K.
    """
    chosen = [None] * len(row_labels) if chosen_seconds is None else list(chosen_seconds)
    if (
        scores.ndim != 2
        or not scores.size
        or {len(scores), len(true_spans), len(chosen)} != {len(row_labels)}
    ):
        raise ValueError(
            f"scores of {scores.shape}, {len(row_labels)} labels, {len(true_spans)} lists of spans and "
            f"{len(chosen)} chosen moments do not fit"
        )
    num_rows = min(len(row_labels), MAX_ROWS)
    figure, axes = new_axes(10.0, 1.5 + 0.3 * num_rows)
    end_seconds = scores.shape[1] * step_seconds
    known = scores[np.isfinite(scores)]
    low, high = np.quantile(known, [0.02, 0.98]) if known.size else (0.0, 1.0)
    image = axes.imshow(
        np.ma.masked_invalid(scores[:num_rows]),
        cmap="viridis",
        aspect="auto",
        interpolation="nearest",
        extent=(0, end_seconds, num_rows - 0.5, -0.5),
        vmin=low,
        vmax=high,
    )
    _mark_timeline(axes, true_spans[:num_rows], chosen[:num_rows])
    _name_timeline(axes, [shortened(label, 44) for label in row_labels[:num_rows]], title=title)
    axes.set_xlim(0, end_seconds)
    figure.colorbar(image, ax=axes, label="score", pad=0.01)
    return png(figure)


def _mark_timeline(
    axes: Axes, true_spans: Sequence[Sequence[Span]], chosen_seconds: Sequence[float | None]
) -> None:
    for row, spans in enumerate(true_spans):
        for span in spans:
            corner = (span.start_seconds, row - 0.42)
            frame = Rectangle(corner, span.duration_seconds, 0.84, fill=False, edgecolor=TRUE_COLOUR, lw=1.6)
            axes.add_patch(frame)
    marks = [(second, row) for row, second in enumerate(chosen_seconds) if second is not None]
    axes.plot(*np.array(marks or np.empty((0, 2))).T, "v", color=CHOSEN_COLOUR, ms=7, mec="white")


def _name_timeline(axes: Axes, labels: Sequence[str], *, title: str) -> None:
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel("seconds")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(shortened(title, 110), fontsize=10, loc="left", pad=20)
    handles = [
        Patch(facecolor="#35608d", edgecolor=TRUE_COLOUR, linewidth=1.6, label="framed: shown in truth"),
        *axes.plot([], [], "v", color=CHOSEN_COLOUR, label="chosen"),
    ]
    axes.legend(
        handles=handles, frameon=False, ncols=2, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0)
    )
