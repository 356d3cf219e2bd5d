"""YouTube's timed text: the XML of its caption service (three layouts) and its JSON, `json3`.

The XML is read by expat with every document type declaration refused. Entities can only be declared there, so
none is expanded and nothing is fetched, whatever the file says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from narravid.annotation_fields import Fields
from narravid.errors import AnnotationError
from narravid.text.caption_columns import span_of_duration
from narravid.text.cues import Cue, plain_lines
from narravid.types import Span

__all__ = ["cues_of_json3", "parse_timed_text"]

KNOWN_LAYOUTS = "<transcript><text start dur>, <timedtext><text t d> or <timedtext><body><p t d>"


MAX_MILLISECONDS = 10**12
"""Thirty years: what is longer is no time in a video, and may not fit a float."""


@dataclass(slots=True)
class _Element:
    """A caption while it is read: its attributes, where it starts, and the text in it so far."""

    attributes: dict[str, str]
    line: int
    depth: int
    parts: list[str] = field(default_factory=list)


def parse_timed_text(content: str, path: Path) -> list[Cue]:
    """Read every caption of YouTube's XML, those without text included.

    Args:
        content: The decoded text of the file.
        path: Named in errors.

    Returns:
        The captions in the order of the file. One without a duration lasts no time.

    Raises:
        AnnotationError: If the file is not well-formed XML, declares a document type, is of another layout,
            or a caption has no start.
    """
    return _TimedTextReader(path).read(content)


class _TimedTextReader:
    """Collects captions while expat goes through a document."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cues: list[Cue] = []
        self._root: str | None = None
        self._depth = 0
        self._open: _Element | None = None
        # the text has been decoded, whatever encoding the document declares
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse_declarations
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text

    def read(self, content: str) -> list[Cue]:
        try:
            self._parser.Parse(content.encode("utf-8"), True)
        except expat.ExpatError as error:
            reason = f"is not well-formed XML: {expat.ErrorString(error.code)}"
            raise AnnotationError(self._path, reason, line=error.lineno) from error
        return self._cues

    def _refuse_declarations(self, *_: object) -> None:
        reason = "refused: it declares a document type, which captions do not need; remove the declaration"
        raise AnnotationError(self._path, reason, line=self._parser.CurrentLineNumber)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._root is None:
            self._root = name
            if name not in ("transcript", "timedtext"):
                reason = f"<{name[:40]}> is no timed text of YouTube; known are {KNOWN_LAYOUTS}"
                raise AnnotationError(self._path, reason, line=self._parser.CurrentLineNumber)
        elif self._open is None:
            if name == "text" or (name == "p" and self._root == "timedtext"):
                self._open = _Element(attributes, self._parser.CurrentLineNumber, self._depth)
        elif name == "br":
            self._open.parts.append("\n")

    def _end(self, _: str) -> None:
        if self._open is not None and self._open.depth == self._depth:
            self._cues.append(self._cue(self._open))
            self._open = None
        self._depth -= 1

    def _text(self, content: str) -> None:
        if self._open is not None:
            self._open.parts.append(content)

    def _cue(self, element: _Element) -> Cue:
        values = Fields(self._path, element.attributes, element.line)
        if self._root == "transcript":
            span = span_of_duration(values, "start", "dur")
        else:
            span = _span_in_milliseconds(values, "t", "d")
        return Cue(span.start_seconds, span.end_seconds, plain_lines("".join(element.parts)))


def cues_of_json3(document: Fields) -> list[Cue]:
    """The captions of YouTube's JSON: `events` with `tStartMs`, `dDurationMs` and texts in `segs`.

    Args:
        document: The whole document.

    Returns:
        The captions in the order of the file; events without `segs` place a window and say nothing.

    Raises:
        AnnotationError: If an event with `segs` has no start or a text is none.
    """
    cues: list[Cue] = []
    for _, event in document.child("events", kind="array").children():
        if "segs" in event:
            segments = event.child("segs", kind="array").children()
            content = "".join(_raw_text(segment, "utf8") for _, segment in segments)
            span = _span_in_milliseconds(event, "tStartMs", "dDurationMs")
            cues.append(Cue(span.start_seconds, span.end_seconds, plain_lines(content)))
    return cues


def _raw_text(fields: Fields, key: str) -> str:
    """A text with the white space around it, which separates the pieces of a caption; "" if it is missing."""
    if key not in fields:
        return ""
    fields.text(key, may_be_empty=True)  # checks it
    return str(fields.value(key))


def _span_in_milliseconds(fields: Fields, start: str, duration: str) -> Span:
    start_milliseconds = fields.integer(start, at_most=MAX_MILLISECONDS)
    duration_milliseconds = fields.integer(duration, at_most=MAX_MILLISECONDS) if duration in fields else 0
    return Span(start_milliseconds / 1000, (start_milliseconds + duration_milliseconds) / 1000)
