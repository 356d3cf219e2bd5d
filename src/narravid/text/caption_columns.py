"""Captions whose starts, ends and texts lie in three columns, as HowTo100M and those after it store them."""

from __future__ import annotations

import math

from narravid.annotation_fields import Fields
from narravid.text.captions import Caption, CaptionTrack, Transcript
from narravid.types import Span

__all__ = ["COLUMNS", "caption_text", "span_of_duration", "transcript_of_columns"]

COLUMNS = ("start", "end", "text")

MISSING_WORD = "nan"
"""What a missing text becomes on its way through a table of text."""


def transcript_of_columns(columns: Fields) -> Transcript:
    """The captions in three columns of the same length.

    Args:
        columns: `start` and `end` in seconds and `text`, each an array, or an object of rows as pandas
            writes a table; further columns are passed over.

    Returns:
        The captions, and how many without text (blank, null, NaN or "nan") were dropped.

    Raises:
        AnnotationError: If a column is missing or of another length, or a value is wrong.
    """
    starts, ends, texts = (_column(columns, name) for name in COLUMNS)
    for name, column in (("start", starts), ("end", ends)):
        if len(column) != len(texts):
            raise columns.fault(f"has {len(column)} values, but there are {len(texts)} texts", name)
    captions: list[Caption] = []
    for index, (start, end) in enumerate(zip(list(starts.values), list(ends.values), strict=True)):
        if type(start) is float and type(end) is float and 0 <= start <= end < math.inf:
            span = Span(start, end)  # nearly all of them, and there are a hundred million in a corpus
        else:
            span = _checked_span(starts, ends, index)
        text = caption_text(texts, index).strip()
        if text:
            captions.append(Caption(text, span))
    return Transcript(CaptionTrack(tuple(captions)), num_dropped=len(texts) - len(captions))


def caption_text(fields: Fields, key: str | int) -> str:
    """A text as it stands, and "" for a missing one (null, NaN, the word "nan").

    Raises:
        AnnotationError: If it is anything but a text.
    """
    if key not in fields or _is_nan(fields.value(key)):
        return ""
    if fields.text(key, may_be_empty=True) == MISSING_WORD:
        return ""
    return str(fields.value(key))


def span_of_duration(fields: Fields, start: str, duration: str) -> Span:
    """The stretch that starts at a time and lasts for another, both in seconds; a missing duration is 0.

    Raises:
        AnnotationError: If a time is wrong.
    """
    start_seconds = fields.seconds(start)
    end_seconds = start_seconds + (fields.seconds(duration) if duration in fields else 0.0)
    if not math.isfinite(end_seconds):
        raise fields.wrong(duration, "seconds that end somewhere")
    return Span(start_seconds, end_seconds)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _column(columns: Fields, name: str) -> Fields:
    if isinstance(columns.value(name), dict):
        rows = columns.child(name)
        values = list(rows.values.values()) if isinstance(rows.values, dict) else rows.values
        return Fields(rows.path, values, rows.line, rows.place)
    return columns.child(name, kind="array")


def _checked_span(starts: Fields, ends: Fields, index: int) -> Span:
    start_seconds, end_seconds = starts.seconds(index), ends.seconds(index)
    if end_seconds < start_seconds:
        raise ends.fault(f"must not lie before the start {start_seconds:g}, got {end_seconds:g}", index)
    return Span(start_seconds, end_seconds)
