"""Reading annotation files that others wrote, so that every fault is named by file, line and field.

Tables (CSV, TSV) come row by row, JSON documents whole; both as `Fields`, whose typed accessors check values
one by one. Text is UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from narravid.annotation_fields import Fields, shown
from narravid.errors import AnnotationError

__all__ = ["read_document", "read_lines", "read_rows", "read_table", "read_text"]

_LINE_BREAK = re.compile(r"\r\n|\n|\r")
"""What ends a line for editors; `splitlines` knows more, such as U+2028, which stands within texts."""

NOT_UTF8 = "not UTF-8 text (byte {byte:#04x}); convert it, for example with iconv"


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark; line ends stay as they are.

    Raises:
        AnnotationError: If the file cannot be opened, or is not UTF-8 (with the line of the wrong byte).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unopened(path, error) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise AnnotationError(path, NOT_UTF8.format(byte=data[error.start]), line=line) from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not blank, without the white space around them, with their numbers.

    Raises:
        AnnotationError: As for `read_text`.
    """
    for number, line in enumerate(_LINE_BREAK.split(read_text(path)), 1):
        if line.strip():
            yield number, line.strip()


def read_table(
    path: Path,
    columns: Sequence[str],
    *,
    separator: str = ",",
    check_header: Callable[[Sequence[str]], None] | None = None,
) -> Iterator[Fields]:
    """The rows of a table with a header line, one at a time; blank lines are passed over.

    Args:
        path: A UTF-8 file.
        columns: The columns that must be there, in any order; others may be.
        separator: What stands between fields; they may be quoted with `"`.
        check_header: Looks at the columns of the file first, to say more than that one is missing.

    Yields:
        Each row, its values under their columns.

    Raises:
        AnnotationError: If the file cannot be read or is not CSV, a column is missing or there twice, or a
            row has another number of fields than the header.
    """
    rows = _parse(path, separator=separator, quoted=True)
    line, header = next(rows, (1, []))
    if check_header is not None:
        check_header(header)
    for column in columns:
        if column not in header:
            found = f"got {shown(','.join(header))}" if header else "but the file is empty"
            reason = f"column missing; the header must hold {','.join(columns)}, {found}"
            raise AnnotationError(path, reason, line=line, field=column)
    repeated = next((column for column in header if header.count(column) > 1), None)
    if repeated is not None:
        raise AnnotationError(path, "the column is there twice", line=line, field=repeated)
    for line, row in rows:
        if len(row) != len(header):
            reason = f"has not as many fields as the header: {len(row)} instead of {len(header)}"
            raise AnnotationError(path, reason, line=line)
        yield Fields(path, dict(zip(header, row, strict=True)), line)


def read_rows(
    path: Path,
    columns: Sequence[str],
    *,
    separator: str = ",",
    quoted: bool = True,
    num_optional: int = 0,
) -> Iterator[Fields]:
    """The rows of a table without a header line, one at a time; blank lines are passed over.

    Args:
        path: A UTF-8 file.
        columns: What the fields of a row are, in order.
        separator: What stands between fields.
        quoted: Whether `"` encloses fields; otherwise it is a character like any other.
        num_optional: How many of the last columns a row may lack.

    Yields:
        Each row, its values under the given columns.

    Raises:
        AnnotationError: If the file cannot be read or is not CSV, or a row has another number of fields.
    """
    fewest = len(columns) - num_optional
    for line, row in _parse(path, separator=separator, quoted=quoted):
        if not fewest <= len(row) <= len(columns):
            wanted = str(len(columns)) if num_optional == 0 else f"{fewest} to {len(columns)}"
            reason = f"has {len(row)} fields instead of {wanted}: {', '.join(columns)}"
            raise AnnotationError(path, reason, line=line)
        yield Fields(path, dict(zip(columns, row, strict=False)), line)


def _parse(path: Path, *, separator: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    line = 1
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator, quoting=quoting, strict=True)
            for row in reader:
                if row:
                    yield line, row
                line = reader.line_num + 1  # a quoted field may go over several lines
    except OSError as error:
        raise _unopened(path, error) from error
    except UnicodeDecodeError as error:
        read_text(path)  # reads all again, to say on which line
        raise AnnotationError(path, f"changed while it was read: {error}") from error
    except csv.Error as error:
        raise AnnotationError(path, f"is not valid CSV: {error}", line=line) from error


def read_document(path: Path, *, kind: Literal["object", "array"] = "object") -> Fields:
    """The object or array that a JSON document is.

    NaN and infinity are read as such, since published files hold them; the accessors refuse them.

    Args:
        path: A UTF-8 file.
        kind: What must stand at the top.

    Returns:
        Its fields; `.values` holds all of it as plain Python values.

    Raises:
        AnnotationError: If the file cannot be read, is not JSON (with line and column), names a key twice in
            an object, or holds something else at the top.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            keys = [key for key, _ in pairs]
            repeated = next(key for key in result if keys.count(key) > 1)
            raise AnnotationError(path, "the key is there twice in one object", field=repeated)
        return result

    try:
        value = json.loads(read_text(path), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        reason = f"is not valid JSON: {error.msg} (column {error.colno})"
        raise AnnotationError(path, reason, line=error.lineno) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, nesting without end
        raise AnnotationError(path, f"is not valid JSON: {error}") from error
    if not isinstance(value, dict if kind == "object" else list):
        raise AnnotationError(path, f"must hold an {kind}, got {shown(value)}")
    return Fields(path, value)


def _unopened(path: Path, error: OSError) -> AnnotationError:
    return AnnotationError(path, f"cannot be opened: {error.strerror}")
