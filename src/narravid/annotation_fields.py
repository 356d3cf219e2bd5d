"""One row or object of an annotation file; its values are looked at by type, and a fault names its place."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from narravid.errors import AnnotationError
from narravid.types import Span

__all__ = ["Fields", "shown"]

MAX_SHOWN = 80
"""Characters of a wrong value that a message repeats."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A row of a table, or an object or array of a JSON document, with the place where it stands.

    Attributes:
        path: The file.
        values: The values: texts under their column in a table, JSON values under their key or position.
        line: Line on which a table's row starts, counted from 1; None in a JSON document.
        place: Dotted path of keys to here in a JSON document; empty at its top and in tables.
    """

    path: Path
    values: dict[str, Any] | list[Any]
    line: int | None = None
    place: str = ""

    def __len__(self) -> int:
        return len(self.values)

    def __contains__(self, key: str | int) -> bool:
        """Whether there is a value that is not JSON's null."""
        return self._find(key) is not None

    def fault(self, reason: str, key: str | int | None = None) -> AnnotationError:
        """The error that says what is wrong with a value, or with the whole when no key is given."""
        name = self.place if key is None else self._name(key)
        return AnnotationError(self.path, reason, line=self.line, field=name or None)

    def wrong(self, key: str | int, expected: str) -> AnnotationError:
        """The error for a value that is not what was expected; it repeats the value."""
        return self.fault(f"must be {expected}, got {shown(self._find(key))}", key)

    def keys(self) -> Iterator[str | int]:
        """Keys of the object, or positions of the array, in the order of the file."""
        return iter(self.values) if isinstance(self.values, dict) else iter(range(len(self.values)))

    def value(self, key: str | int) -> Any:  # noqa: ANN401 - any JSON value
        """The value as it stands.

        Raises:
            AnnotationError: If it is missing or null.
        """
        value = self._find(key)
        if value is None:
            raise self.fault("is missing", key)
        return value

    def text(self, key: str | int, *, may_be_empty: bool = False) -> str:
        """A text without the white space around it.

        Raises:
            AnnotationError: If it is missing, no text, or empty where that is not allowed.
        """
        value = self.value(key)
        if not isinstance(value, str):
            raise self.wrong(key, "a text")
        stripped = value.strip()
        if not (stripped or may_be_empty):
            raise self.fault("is empty", key)
        if _is_broken(stripped):
            raise self.fault("holds half of a character (a lone surrogate)", key)
        return stripped

    def texts(self) -> tuple[str, ...]:
        """All values of the array or object, which must be texts that are not empty.

        Raises:
            AnnotationError: If one is not.
        """
        return tuple(self.text(key) for key in self.keys())

    def integer(self, key: str | int, *, at_least: int = 0, at_most: int | None = None) -> int:
        """A whole number, also one written as text.

        Raises:
            AnnotationError: If it is missing, no whole number, or outside the bounds.
        """
        value = self.value(key)
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value):
            value = int(value.strip())  # int knows fewer kinds of white space than strip
        inside = type(value) is int and at_least <= value and (at_most is None or value <= at_most)
        if not inside:
            bounds = f">= {at_least}" if at_most is None else f"from {at_least} to {at_most}"
            raise self.wrong(key, f"a whole number {bounds}")
        return int(value)

    def seconds(self, key: str | int) -> float:
        """A time or duration in seconds, finite and not negative; also one written as text.

        Raises:
            AnnotationError: If it is missing or anything else.
        """
        value = self.value(key)
        seconds = math.nan
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            try:
                seconds = float(value)
            except (ValueError, OverflowError):
                seconds = math.nan
        if not (math.isfinite(seconds) and seconds >= 0) or (isinstance(value, str) and "_" in value):
            raise self.wrong(key, "seconds >= 0")
        return seconds

    def number(self, key: str | int) -> float:
        """A finite number of either sign; also one written as text.

        Raises:
            AnnotationError: If it is missing or anything else.
        """
        value = self.value(key)
        try:
            number = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number) or (isinstance(value, str) and "_" in value):
            raise self.wrong(key, "a finite number")
        return number

    def span(self, start: str | int, end: str | int, *, may_be_empty: bool = True) -> Span:
        """The stretch between two times.

        Args:
            start: Key of its start in seconds.
            end: Key of its end in seconds.
            may_be_empty: Whether the end may equal the start.

        Raises:
            AnnotationError: If a time is wrong, or the end lies before the start.
        """
        start_seconds, end_seconds = self.seconds(start), self.seconds(end)
        if end_seconds < start_seconds or (end_seconds == start_seconds and not may_be_empty):
            relation = "not lie before" if may_be_empty else "lie after"
            name = start if isinstance(start, str) else "the start"
            raise self.fault(f"must {relation} {name} {start_seconds:g}, got {end_seconds:g}", end)
        return Span(start_seconds, end_seconds)

    def choice(self, key: str | int, choices: Collection[str]) -> str:
        """A text that is one of a few.

        Raises:
            AnnotationError: If it is missing or another.
        """
        value = self.value(key)
        found = value.strip() if isinstance(value, str) else None
        if found is None or found not in choices:
            raise self.wrong(key, f"one of {', '.join(map(repr, choices))}")
        return found

    def child(self, key: str | int, *, kind: Literal["object", "array"] = "object") -> Fields:
        """The object or array inside.

        Raises:
            AnnotationError: If it is missing or of another kind.
        """
        value = self.value(key)
        if not isinstance(value, dict if kind == "object" else list):
            raise self.wrong(key, f"an {kind}")
        return Fields(self.path, value, self.line, self._name(key))

    def children(self, *, kind: Literal["object", "array"] = "object") -> Iterator[tuple[str | int, Fields]]:
        """Every key or position with the object or array under it.

        Raises:
            AnnotationError: If one is missing or of another kind, or a key is no text to speak of.
        """
        for key in self.keys():
            if isinstance(key, str) and (not key.strip() or _is_broken(key)):
                raise self.fault(f"a key must be a text that is not empty, got {shown(key)}")
            yield key, self.child(key, kind=kind)

    def _find(self, key: str | int) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(self.values, dict):
            return self.values.get(str(key))
        return self.values[key] if isinstance(key, int) and 0 <= key < len(self.values) else None

    def _name(self, key: str | int) -> str:
        if isinstance(key, int):
            return f"{self.place}[{key}]"
        return f"{self.place}.{key}" if self.place else key


def _is_broken(text: str) -> bool:
    """Whether a text cannot be written down: JSON can spell halves of characters."""
    return not text.isascii() and re.search("[\ud800-\udfff]", text) is not None


def shown(value: object) -> str:
    """A wrong value as a message repeats it, cut where it is long and without its depths where it is deep."""
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxlong = shortened.maxother = 2 * MAX_SHOWN
    try:
        written = shortened.repr(value)
    except ValueError:  # Python does not write out numbers of thousands of digits
        written = f"a very long {type(value).__name__}"
    return written if len(written) <= MAX_SHOWN else f"{written[: MAX_SHOWN - 3]}..."
