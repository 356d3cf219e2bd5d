"""The members of one JSON object, one after the other: documents larger than memory.

Python's own decoder reads each member; what is done here is to hand it enough text. Streaming parsers refuse
the NaN that published files hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from narravid.annotation_fields import shown
from narravid.errors import AnnotationError

__all__ = ["read_members"]

CHUNK_CHARACTERS = 2**22
MAX_MEMBER_CHARACTERS = 2**26
"""Longer members are taken for a fault, which would otherwise fill the memory with the rest of the file."""

_SPACE = re.compile(r"[ \t\n\r]*")


def read_members(path: Path, *, chunk_characters: int = CHUNK_CHARACTERS) -> Iterator[tuple[str, Any, int]]:
    """The members of the object that a JSON document is, one at a time.

    Args:
        path: A UTF-8 file.
        chunk_characters: How much of it is read at once; a member that is longer is read whole.

    Yields:
        Key, value, and the line on which the key stands. NaN and infinity are read as such, and a key that is
        there twice comes twice.

    Raises:
        AnnotationError: If the file cannot be read, or is no JSON object.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _Members(file, path, chunk_characters).read()
    except OSError as error:
        raise AnnotationError(path, f"cannot be opened: {error.strerror}") from error
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 text (byte {error.object[error.start]:#04x}); convert it, for example with iconv"
        raise AnnotationError(path, reason) from error


class _Members:
    """A window on a document that moves along from member to member."""

    def __init__(self, file: TextIO, path: Path, chunk_characters: int) -> None:
        self._file = file
        self._path = path
        self._chunk_characters = chunk_characters
        self._decoder = json.JSONDecoder()
        self._window = ""
        self._place = 0
        self._line = 1
        self._counted = 0
        self._at_end = False

    def read(self) -> Iterator[tuple[str, Any, int]]:
        if self._next_character() != "{":
            raise self._fault("must hold an object")
        self._place += 1
        character = self._next_character()
        while character != "}":
            line = self._current_line()
            key = self._value()
            if not isinstance(key, str):
                raise self._fault(f"{shown(key)} is no key of an object")
            self._take(":")
            self._next_character()
            yield key, self._value(), line
            character = self._next_character()
            if character == ",":
                self._place += 1
                self._next_character()
            elif character != "}":
                raise self._fault("is not valid JSON: expected , or }")
        self._place += 1
        if self._next_character():
            raise self._fault("is not valid JSON: there is more behind the object")

    def _next_character(self) -> str:
        """The next character that is no space, without taking it; "" at the end."""
        while True:
            space = _SPACE.match(self._window, self._place)
            self._place = space.end() if space else self._place
            if self._place < len(self._window):
                return self._window[self._place]
            if not self._read_on(self._chunk_characters):
                return ""

    def _take(self, character: str) -> None:
        if self._next_character() != character:
            raise self._fault(f"is not valid JSON: expected {character}")
        self._place += 1

    def _value(self) -> Any:  # noqa: ANN401 - any JSON value
        """The value that starts here; more of the file is read until it is whole."""
        num_characters = self._chunk_characters
        while True:
            try:
                value, end = self._decoder.raw_decode(self._window, self._place)
            except json.JSONDecodeError as error:
                too_long = len(self._window) - self._place > MAX_MEMBER_CHARACTERS
                if too_long or not self._read_on(num_characters):
                    self._place = min(error.pos, len(self._window))
                    raise self._fault(f"is not valid JSON: {error.msg}") from error
            except (ValueError, RecursionError) as error:  # a number of thousands of digits, endless nesting
                raise self._fault(f"is not valid JSON: {error}") from error
            else:
                # a number that touches the end of the window may go on behind it
                if end < len(self._window) or not self._read_on(num_characters):
                    self._place = end
                    return value
            num_characters *= 2

    def _read_on(self, num_characters: int) -> bool:
        """Drop what has been read and add what comes next; False at the end of the file."""
        more = "" if self._at_end else self._file.read(num_characters)
        if not more:
            self._at_end = True
            return False
        self._current_line()
        self._window = self._window[self._place :] + more
        self._place = self._counted = 0
        return True

    def _current_line(self) -> int:
        self._line += self._window.count("\n", self._counted, self._place)
        self._counted = self._place
        return self._line

    def _fault(self, reason: str) -> AnnotationError:
        return AnnotationError(self._path, reason, line=self._current_line())
