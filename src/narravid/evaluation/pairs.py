"""Lists of clips and the sentences that describe them, the input of retrieval."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from narravid.annotation_fields import Fields
from narravid.annotation_files import read_table
from narravid.errors import AnnotationError
from narravid.types import Span

__all__ = ["RetrievalPair", "read_pairs_csv"]

REQUIRED_COLUMNS = ("video_path", "text")
TIME_COLUMNS = ("start_seconds", "end_seconds")


@dataclass(frozen=True, slots=True)
class RetrievalPair:
    """A clip and a sentence that belongs to it.

    Attributes:
        path: The video file.
        text: The sentence.
        span: The part of the video that it describes; None for the whole video.
    """

    path: str
    text: str
    span: Span | None = None


def read_pairs_csv(path: Path) -> list[RetrievalPair]:
    """Read a list `video_path,text[,start_seconds,end_seconds]`.

    Args:
        path: A UTF-8 CSV file with a header line. Video paths that are not absolute start at its folder; a
            row with both times empty means the whole video.

    Returns:
        One pair for each row, in order.

    Raises:
        AnnotationError: If the file is absent or empty, a column is missing or unknown, or a row has a fault.
    """
    rows = read_table(path, REQUIRED_COLUMNS, check_header=partial(_check_header, path))
    pairs = [_read_pair(row) for row in rows]
    if not pairs:
        raise AnnotationError(path, "has no row behind the header")
    return pairs


def _check_header(path: Path, columns: Sequence[str]) -> None:
    known = [*REQUIRED_COLUMNS, *TIME_COLUMNS]
    for column in REQUIRED_COLUMNS:
        if column not in columns:
            raise AnnotationError(
                path, f"column missing; the header must be {','.join(known)}", line=1, field=column
            )
    for column in columns:
        if column not in known:
            nearest = difflib.get_close_matches(column, known, n=1)
            hint = f" (did you mean {nearest[0]!r}?)" if nearest else f"; known are {','.join(known)}"
            raise AnnotationError(path, f"unknown column{hint}", line=1, field=column)
    repeated = next((column for column in known if columns.count(column) > 1), None)
    if repeated is not None:
        raise AnnotationError(path, "the column is there twice", line=1, field=repeated)
    given = [column for column in TIME_COLUMNS if column in columns]
    if len(given) == 1:
        raise AnnotationError(path, f"{' and '.join(TIME_COLUMNS)} go together", line=1, field=given[0])


def _read_pair(row: Fields) -> RetrievalPair:
    path, text = row.path.parent / row.text("video_path"), row.text("text")
    if not any(column in row and row.text(column, may_be_empty=True) for column in TIME_COLUMNS):
        return RetrievalPair(str(path), text)
    return RetrievalPair(str(path), text, row.span(*TIME_COLUMNS, may_be_empty=False))
