"""Words of users in pictures: measured, wrapped and shortened, whatever script they are written in.

Prompts and names of files may hold dollar signs (a formula to matplotlib), line breaks, and characters that
no installed font can draw. Everything is measured in inches, so that a picture can be laid out before it is
drawn.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.textpath import TextToPath

from narravid.evaluation.picture_parts import INK

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

__all__ = [
    "LINE_SPACING",
    "TITLE_POINTS",
    "drawable",
    "legend_inches",
    "line_inches",
    "shortened_in_middle",
    "shortened_names",
    "text_inches",
    "wrapped",
    "write_legend",
    "write_title",
    "writing",
]

POINTS_PER_INCH = 72
LINE_SPACING = 1.2
"""From one base line to the next, in font sizes."""

HINTING = 1.04
"""Letters are moved to whole pixels when they are drawn, which makes small ones a little wider."""

ELLIPSIS = "…"
NO_GLYPH = "□"
FIRST_FAMILY = "DejaVu Sans"
"""Comes with matplotlib: it is there on every machine, and pictures look the same on all of them."""

FURTHER_FAMILIES = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Noto Sans SC",
    "Noto Sans JP",
    "Noto Sans KR",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Arial Unicode MS",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
)
"""Fonts of scripts that the first one does not have; those that are installed are used."""


TITLE_POINTS = 11
LEGEND_GAP = 0.06


@cache
def _families() -> tuple[str, ...]:
    installed = {entry.name for entry in fontManager.ttflist}
    return (FIRST_FAMILY, *(name for name in FURTHER_FAMILIES if name in installed))


@cache
def _can_be_drawn(character: str) -> bool:
    paths = (findfont(FontProperties(family=family)) for family in _families())
    return any(get_font(path).get_char_index(ord(character)) for path in paths)


def writing(points: float, **style: object) -> dict[str, Any]:
    """What every text of users is drawn with: its fonts, its size, and no formulas.

    Args:
        points: Size of the font.
        style: Further properties of matplotlib's texts, such as a colour.
    """
    return {"fontfamily": list(_families()), "fontsize": points, "parse_math": False, **style}


def drawable(text: str) -> str:
    """A text as one line that every installation draws without a complaint.

    White space becomes single blanks, control characters vanish, and a character that no font has becomes an
    empty square.
    """
    characters = []
    for character in " ".join(text.split()):
        if character == " " or _can_be_drawn(character):
            characters.append(character)
        elif unicodedata.category(character) not in ("Cc", "Cf", "Mn"):
            characters.append(NO_GLYPH)
    return "".join(characters)


def text_inches(text: str, points: float) -> float:
    """Width of one line of a drawable text."""
    return HINTING * _points_at_size_one(text) * points / POINTS_PER_INCH if text else 0.0


@lru_cache(maxsize=10_000)
def _points_at_size_one(text: str) -> float:
    properties = FontProperties(family=list(_families()), size=1.0)
    width, _, _ = TextToPath().get_text_width_height_descent(text, properties, ismath=False)
    return float(width)


def line_inches(points: float) -> float:
    """Height that a line of text takes among others."""
    return points * LINE_SPACING / POINTS_PER_INCH


def wrapped(text: str, inches: float, points: float, *, max_lines: int | None = None) -> list[str]:
    """A text in lines; a word that is wider than a line is broken.

    Args:
        text: Any text; it is made drawable.
        inches: Width of a line.
        points: Size of the font.
        max_lines: How many lines there may be; the last one ends with an ellipsis when that is too few. None
            for as many as are needed.

    Returns:
        The lines, at least one.
    """
    lines: list[str] = []
    line, used = "", 0.0
    blank = text_inches("x x", points) - text_inches("xx", points)
    for word in drawable(text).split(" "):
        width = text_inches(word, points)
        if line and used + blank + width <= inches:
            line, used = f"{line} {word}", used + blank + width
            continue
        if line:
            lines.append(line)
        *whole, line = _broken(word, inches, points)
        lines += whole
        used = text_inches(line, points)
    lines.append(line)
    if max_lines is not None and len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], _with_ellipsis(lines[max_lines - 1], inches, points)]
    return lines


def _broken(word: str, inches: float, points: float) -> list[str]:
    """A word in pieces that fit; at least one character each."""
    pieces = []
    while text_inches(word, points) > inches and len(word) > 1:
        length = _longest_that_fits(word, inches, points)
        pieces.append(word[:length])
        word = word[length:]
    return [*pieces, word]


def _longest_that_fits(word: str, inches: float, points: float) -> int:
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text_inches(word[:middle], points) <= inches else (low, middle - 1)
    return low


def _with_ellipsis(line: str, inches: float, points: float) -> str:
    kept = line
    while kept and text_inches(kept + ELLIPSIS, points) > inches:
        kept = kept[:-1].rstrip()
    return kept + ELLIPSIS


def shortened_in_middle(text: str, inches: float, points: float) -> str:
    """A name in one line of at most so many inches; its beginning and end stay, as names differ there."""
    name = drawable(text)
    if text_inches(name, points) <= inches:
        return name
    fewest, most = 0, len(name) - 1
    while fewest < most:  # the most characters that fit beside the ellipsis
        middle = (fewest + most + 1) // 2
        fits = text_inches(_without_middle(name, middle), points) <= inches
        fewest, most = (middle, most) if fits else (fewest, middle - 1)
    return _without_middle(name, fewest)


def shortened_names(names: Sequence[str], inches: float, points: float) -> list[str]:
    """Names in one line each; where they would look the same, what all begin and end with is left out."""
    short = [shortened_in_middle(name, inches, points) for name in names]
    if len(set(short)) == len(set(names)):
        return short
    whole = [drawable(name) for name in names]
    start = _num_in_common(whole)
    end = _num_in_common([name[start:][::-1] for name in whole])
    own = [
        f"{ELLIPSIS if start else ''}{name[start : len(name) - end]}{ELLIPSIS if end else ''}"
        for name in whole
    ]
    return [shortened_in_middle(name, inches, points) for name in own]


def _num_in_common(texts: Sequence[str]) -> int:
    """How many characters all of them begin with."""
    first, last = min(texts), max(texts)  # in their order these two have the least in common
    return next(
        (n for n, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first)
    )


def _without_middle(name: str, num_kept: int) -> str:
    at_end = num_kept // 2
    return name[: num_kept - at_end].rstrip() + ELLIPSIS + name[len(name) - at_end :].lstrip()


def write_title(figure: Figure, lines: Sequence[str]) -> None:
    """Write lines of `TITLE_POINTS` above what a figure of constrained layout shows; none for no title."""
    if lines:
        style = writing(TITLE_POINTS, weight="bold", ha="left", x=0.01, color=INK)
        figure.suptitle("\n".join(lines), **style)


def legend_inches(labels: Sequence[Sequence[str]], points: float) -> float:
    """Height of a legend with a line for each line of each label."""
    return sum(len(lines) * line_inches(points) + LEGEND_GAP for lines in labels)


def write_legend(
    figure: Figure, handles: Sequence[Artist], labels: Sequence[Sequence[str]], *, points: float
) -> None:
    """Write a legend below what a figure with a constrained layout shows.

    Args:
        figure: The figure.
        handles: What is explained.
        labels: Lines of each explanation.
        points: Size of the font.
    """
    legend = figure.legend(
        handles=list(handles),
        labels=["label"] * len(labels),
        loc="outside lower left",
        frameon=False,
        labelspacing=0.4,
    )
    # Set afterwards: a legend leaves out labels that begin with an underscore.
    for text, lines in zip(legend.get_texts(), labels, strict=True):
        text.set(**writing(points), text="\n".join(lines))
