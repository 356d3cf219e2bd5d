"""Lists of clips and the sentences that describe them, the input of retrieval."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_header(path, reader.fieldnames or [])
            pairs = [_read_row(path, reader.line_num, row) for row in reader]
    except OSError as error:
        raise AnnotationError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(path, f"is not UTF-8 text: {error}") from error
    except csv.Error as error:
        line = reader.reader.line_num  # that of the DictReader moves on only after a whole row
        raise AnnotationError(path, f"is not valid CSV: {error}", line=line) from error
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


def _read_row(path: Path, line: int, row: Mapping[str | None, str | list[str] | None]) -> RetrievalPair:
    if None in row or None in row.values():
        raise AnnotationError(path, "has not as many fields as the header", line=line)
    values = {str(name): str(value).strip() for name, value in row.items()}
    for column in REQUIRED_COLUMNS:
        if not values[column]:
            raise AnnotationError(path, "is empty", line=line, field=column)
    span = None
    if any(values.get(column) for column in TIME_COLUMNS):
        start, end = (_read_seconds(path, line, column, values[column]) for column in TIME_COLUMNS)
        if end <= start:
            reason = f"must lie after start_seconds {start:g}, got {end:g}"
            raise AnnotationError(path, reason, line=line, field="end_seconds")
        span = Span(start, end)
    return RetrievalPair(str(path.parent / values["video_path"]), values["text"], span)


def _read_seconds(path: Path, line: int, column: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise AnnotationError(path, f"must be seconds >= 0, got {value!r}", line=line, field=column)
    return seconds
