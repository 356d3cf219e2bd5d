"""Transcripts in JSON, one file for one video; the content says which of the known shapes it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from narravid.annotation_fields import Fields, shown
from narravid.annotation_files import read_document, read_text
from narravid.errors import AnnotationError
from narravid.text.caption_columns import COLUMNS, caption_text, span_of_duration, transcript_of_columns
from narravid.text.captions import Caption, CaptionTrack, Transcript
from narravid.text.cues import transcript_of_cues
from narravid.text.timed_text import cues_of_json3
from narravid.text.word_times import group_words

__all__ = ["read_json_transcript"]

TEXT_KEYS = ("text", "sentence", "content", "caption", "word")
START_KEYS = ("start", "start_seconds")
END_KEYS = ("end", "end_seconds")
DURATION_KEYS = ("duration", "dur")

KNOWN_SHAPES = (
    'known are {"start": [...], "end": [...], "text": [...]} (HowTo100M, VT-TWINS);'
    f' a list of {{"start", "end" or "duration", and one of {", ".join(TEXT_KEYS)}}};'
    ' a list of [text, start, end]; {"segments": such a list} (Whisper); {"events": [...]} (json3 of YouTube)'
)


def read_json_transcript(path: Path) -> Transcript:
    """Read the transcript of a video in JSON.

    Known are the columns of HowTo100M and VT-TWINS; lists of records with a start, an end or a duration and a
    text, and of triples text, start, end; the segments of Whisper; and YouTube's json3. Times are seconds
    (milliseconds in json3). Where the entries are single words they are put together to captions.

    Args:
        path: The file.

    Returns:
        The captions, and how many without text were dropped.

    Raises:
        AnnotationError: If the file is not JSON, has another shape, or a value is wrong.
    """
    kind: Literal["object", "array"] = "array" if read_text(path).lstrip()[:1] == "[" else "object"
    document = read_document(path, kind=kind)
    if kind == "array":
        return _transcript_of_list(document)
    if "events" in document:
        return transcript_of_cues(cues_of_json3(document))
    if all(column in document for column in COLUMNS):
        return transcript_of_columns(document)
    if "segments" in document:
        return _transcript_of_list(document.child("segments", kind="array"))
    found = f"an object with {shown(', '.join(map(str, document.keys())))}"
    raise AnnotationError(path, f"{found} is no known transcript; {KNOWN_SHAPES}")


def _transcript_of_list(entries: Fields) -> Transcript:
    timed = list(_timed_texts(entries))
    spoken = [entry for entry in timed if entry.text.strip()]
    spoken.sort(key=lambda entry: entry.span.start_seconds)
    if len(spoken) > 1 and all(len(entry.text.split()) == 1 for entry in spoken):
        captions = group_words(spoken)
    else:
        captions = [Caption(entry.text.strip(), entry.span) for entry in spoken]
    return Transcript(CaptionTrack(tuple(captions)), num_dropped=len(timed) - len(spoken))


def _timed_texts(entries: Fields) -> Iterator[Caption]:
    for index in entries.keys():  # noqa: SIM118 - no dictionary
        value = entries.value(index)
        if isinstance(value, list) and len(value) == 3:
            triple = entries.child(index, kind="array")
            yield Caption(caption_text(triple, 0), triple.span(1, 2))
        elif isinstance(value, dict):
            yield _timed_text(entries.child(index))
        else:
            raise entries.fault(f"{shown(value)} is no caption; {KNOWN_SHAPES}", index)


def _timed_text(record: Fields) -> Caption:
    text_key, start_key = _present(record, TEXT_KEYS), _present(record, START_KEYS)
    if text_key is None or start_key is None:
        lacking = "text" if text_key is None else "start"
        found = shown(", ".join(map(str, record.keys())))
        raise record.fault(f"a record with {found} has no {lacking}; {KNOWN_SHAPES}")
    end_key, duration_key = _present(record, END_KEYS), _present(record, DURATION_KEYS)
    if end_key is not None:
        span = record.span(start_key, end_key)
    elif duration_key is not None:
        span = span_of_duration(record, start_key, duration_key)
    else:
        raise record.fault("has neither an end nor a duration", END_KEYS[0])
    return Caption(caption_text(record, text_key), span)


def _present(record: Fields, keys: tuple[str, ...]) -> str | None:
    """The first of the keys that the record has, be its value null or not."""
    return next((key for key in keys if key in record.values), None)
