"""How a heat map is laid out: sizes of cells, letters and margins, so that everything can be read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from narravid.evaluation.picture_words import (
    TITLE_POINTS,
    drawable,
    line_inches,
    shortened_names,
    text_inches,
    wrapped,
)

__all__ = ["GAP", "NOTE_POINTS", "HeatMapLayout", "is_numbered", "lay_out"]

MAX_NUMBERED = (100, 60)
"""Rows and columns of a matrix with numbers in its cells and all labels written out."""

MAX_INCHES = (20.0, 24.0)
"""Height and width of the cells of a larger matrix, together."""

MAX_UPRIGHT = 10
"""Columns that can be so wide that their prompts are read without turning the head."""

UPRIGHT_INCHES = 9.4
UPRIGHT_LINES = 4
"""Columns are widened until no prompt takes more lines than this, as far as there is room."""

MOST_LINES = 14
STEP_INCHES = 0.04
MAX_PIXELS = 2400
DOTS_PER_INCH = (150, 125, 100, 75, 50, 25)
"""All sizes are multiples of 0.04 inches and resolutions of 25, so that every cell is whole pixels: its frame
is sharp, equal figures look equal, and the file has half the size."""

GAP = 0.08
NAME_INCHES = 2.9
PROMPT_INCHES = 3.4
NOTE_POINTS = 8
BAR_INCHES_ACROSS = 1.15
"""What the scale of colours takes beside the matrix, with its numbers and one line of words."""

MIN_LABELLED_INCHES = 0.11

Place = tuple[float, float, float, float]
"""Left, bottom, width and height as shares of the picture."""


@dataclass(frozen=True, slots=True)
class _Labels:
    """Lines of each label, size of their letters, inches they take beside the matrix, and direction."""

    lines: Sequence[Sequence[str]]
    points: float
    inches: float
    upright: bool = True


@dataclass(frozen=True, slots=True)
class HeatMapLayout:
    """Where everything lies, in inches; cells are (height, width)."""

    names: _Labels
    prompts: _Labels
    title: Sequence[str]
    note: str
    value_label: str
    cell: tuple[float, float]
    size: tuple[float, float]

    @property
    def left(self) -> float:
        """Left of the matrix: the names."""
        return _in_steps(self.names.inches + 2 * GAP)

    @property
    def bottom(self) -> float:
        """Below the matrix: the note."""
        return _in_steps(3 * GAP + line_inches(NOTE_POINTS) if self.note else 2 * GAP)

    @property
    def height(self) -> float:
        """Of the whole picture."""
        title = GAP + len(self.title) * line_inches(TITLE_POINTS) if self.title else 0.0
        return _in_steps(self.bottom + self.size[0] + self.prompts.inches + title + 2 * GAP)

    @property
    def width(self) -> float:
        """Of the whole picture."""
        words = max(text_inches(line, TITLE_POINTS) * 1.1 for line in (*self.title, ""))
        note = self.left + text_inches(self.note, NOTE_POINTS)
        bar = BAR_INCHES_ACROSS + (len(self.value_lines) - 1) * line_inches(NOTE_POINTS)
        return _in_steps(max(self.left + self.size[1] + bar, words + 2 * GAP, note + GAP))

    @property
    def value_lines(self) -> list[str]:
        """What the scores are, in lines that go up beside the scale of colours."""
        return wrapped(self.value_label, self.height - 2 * GAP, NOTE_POINTS) or [""]

    @property
    def dots_per_inch(self) -> int:
        """The finest resolution at which the picture is not too large."""
        longest = max(self.width, self.height)
        return next((dots for dots in DOTS_PER_INCH if dots * longest <= MAX_PIXELS), DOTS_PER_INCH[-1])

    def place(self, left: float, bottom: float, size: tuple[float, float]) -> Place:
        """A rectangle of so many inches, (height, width), as matplotlib wants it."""
        height, width = size
        return left / self.width, bottom / self.height, width / self.width, height / self.height


def _in_steps(inches: float) -> float:
    return math.ceil(inches / STEP_INCHES - 1e-6) * STEP_INCHES


def is_numbered(shape: tuple[int, ...]) -> bool:
    """Whether there is room for a number in each cell of a matrix of that shape."""
    return shape[0] <= MAX_NUMBERED[0] and shape[1] <= MAX_NUMBERED[1]


def lay_out(
    rows: Sequence[str],
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
    *,
    title: str,
    note: str,
    value_label: str = "",
) -> HeatMapLayout:
    """Sizes for a matrix with these labels.

    Args:
        rows: Names of the rows.
        columns: Prompts over the columns.
        texts: What stands in the cells, of which only the number of lines counts here.
        title: What stands above; may be empty.
        note: What stands below where there are numbers and several columns; may be empty.
        value_label: What the scores are, beside the scale of colours.
    """
    prompts, width = _prompt_labels(columns)
    num_lines = max(text.count("\n") + 1 for row in texts for text in row)
    if len(rows) <= MAX_NUMBERED[0]:
        height = min(0.62, max(4.2 / len(rows), 0.2, num_lines * 0.16))
    else:
        height = MAX_INCHES[0] / len(rows)
    if is_numbered((len(rows), len(columns))):
        height, width = _in_steps(height), _in_steps(width)
    names = _name_labels(rows, height)
    size = (height * len(rows), width * len(columns))
    is_told = note and len(columns) > 1 and is_numbered((len(rows), len(columns)))
    across = max(4.0, names.inches + size[1])
    head = wrapped(title, across / 1.1, TITLE_POINTS) if title else []
    return HeatMapLayout(
        names, prompts, head, note if is_told else "", value_label, cell=(height, width), size=size
    )


def _name_labels(names: Sequence[str], cell_height: float) -> _Labels:
    if cell_height < MIN_LABELLED_INCHES:
        return _Labels([[] for _ in names], 7, line_inches(9))
    points = min(9.0, 72 * cell_height / 1.6)
    lines = [[name] for name in shortened_names(names, NAME_INCHES, points)]
    return _Labels(lines, points, max(text_inches(line[0], points) for line in lines))


def _prompt_labels(prompts: Sequence[str]) -> tuple[_Labels, float]:
    """The prompts over the columns, and the width of a column in inches."""
    count = len(prompts)
    if count <= MAX_UPRIGHT:
        return _upright_labels(prompts)
    if count <= MAX_NUMBERED[1]:
        width, points = min(0.6, max(6.6 / count, 0.44)), 7.5
    else:
        width, points = MAX_INCHES[1] / count, 6.5
    if width < MIN_LABELLED_INCHES:
        return _Labels([[] for _ in prompts], 7, line_inches(9), upright=False), width
    most_lines = max(1, int((width - 0.02) / line_inches(points)))
    for tenths in range(8, int(10 * PROMPT_INCHES) + 1, 2):  # as low as the number of lines allows
        lines = [wrapped(prompt, tenths / 10, points) for prompt in prompts]
        if max(map(len, lines)) <= most_lines:
            break
    else:
        lines = [wrapped(prompt, PROMPT_INCHES, points, max_lines=most_lines) for prompt in prompts]
    longest = max(text_inches(line, points) for label in lines for line in label)
    return _Labels(lines, points, longest, upright=False), width


def _upright_labels(prompts: Sequence[str]) -> tuple[_Labels, float]:
    """Columns as wide as few lines and whole words ask for."""
    count = len(prompts)
    points = 9.0 if count <= 4 else 8.0
    widest = min(2.8, UPRIGHT_INCHES / count)
    word = max(text_inches(word, points) for prompt in prompts for word in ("", *drawable(prompt).split()))
    narrowest = min(widest, max(0.8, 3.2 / count, word + GAP))
    for width in (*np.arange(narrowest, widest, 0.1).tolist(), widest):
        lines = [wrapped(prompt, width - GAP, points, max_lines=MOST_LINES) for prompt in prompts]
        if max(map(len, lines)) <= UPRIGHT_LINES:
            break
    return _Labels(lines, points, max(map(len, lines)) * line_inches(points)), width
