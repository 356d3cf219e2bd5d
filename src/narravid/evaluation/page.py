"""A report as one self-contained HTML file: headings, paragraphs, tables, pictures and search results."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from narravid.files import write_text

__all__ = ["Bar", "Card", "Picture", "ScoredStrip", "Section", "Table", "write_page"]

TEMPLATE = "page.html.jinja"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its description.

    Attributes:
        data: PNG or JPEG bytes.
        caption: What it shows; may be empty where the picture says it itself.
        width_pixels: How wide it is shown, in a box that scrolls where the page is narrower; None for its own
            width, or that of the page where it is wider. Pictures with a width stand side by side.
        alternative: What is read aloud in its place; the caption when empty.
    """

    data: bytes
    caption: str
    width_pixels: int | None = None
    alternative: str = ""

    @property
    def address(self) -> str:
        """The picture as a data address."""
        kind = "png" if self.data.startswith(b"\x89PNG") else "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column is a heading of its row.

    Attributes:
        header: Column titles.
        rows: Cells, as many as there are titles.
        caption: What it shows.
        numeric: Whether the cells are numbers, which are set to the right.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numeric: bool = True

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"a row has {len(row)} cells, the header {len(self.header)}: {row}")


@dataclass(frozen=True, slots=True)
class Card:
    """One result with its pictures, such as a query and what it found.

    Attributes:
        title: The query.
        note: A remark beside the title.
        good: Whether the result is right; None when that is not known.
        pictures: What was found, best first; a picture is framed green when it belongs to `right`.
        right: Positions of the pictures that are right.
    """

    title: str
    note: str = ""
    good: bool | None = None
    pictures: Sequence[Picture] = ()
    right: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Bar:
    """A number as a bar beside its label.

    Attributes:
        label: What was measured.
        value: The number as text.
        start: Where the bar begins, as a share of the room for bars in [0, 1].
        end: Where it ends, at least `start`.
        best: Whether it is marked as the best.
    """

    label: str
    value: str
    start: float
    end: float
    best: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end <= 1:
            raise ValueError(f"a bar must lie in [0, 1], got {self.start} to {self.end}")


@dataclass(frozen=True, slots=True)
class ScoredStrip:
    """Frames of a video beside its scores.

    Attributes:
        title: Name of the video.
        note: A remark beside the title.
        picture: Its frames.
        bars: Its scores, which are always seen.
        folded: Further scores, which are seen after a click.
        folded_title: What is clicked.
    """

    title: str
    note: str
    picture: Picture
    bars: Sequence[Bar]
    folded: Sequence[Bar] = ()
    folded_title: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report.

    Attributes:
        title: Its heading.
        paragraphs: Plain text.
        tables: Tables after the text.
        pictures: Pictures after the tables.
        cards: Results after the pictures.
        strips: Videos with their scores, after the cards.
        code: Commands that the reader can repeat.
    """

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    cards: Sequence[Card] = field(default_factory=tuple)
    strips: Sequence[ScoredStrip] = ()
    code: Sequence[str] = ()


def write_page(path: Path, title: str, sections: Sequence[Section], *, summary: str = "") -> None:
    """Write the report.

    Args:
        path: The HTML file.
        title: Its title.
        sections: Its parts in order.
        summary: One sentence under the title.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("narravid.evaluation", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template(TEMPLATE).render(title=title, summary=summary, sections=sections)
    # names of files need not be text: what is not is shown by its escape
    write_text(path, html.encode("utf-8", "backslashreplace").decode("utf-8"))
