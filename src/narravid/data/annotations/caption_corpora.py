"""Caption corpora, one file for many videos; name and header say which of the known formats it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from narravid.annotation_files import read_rows
from narravid.data.annotations.caption_tables import read_caption_table, read_htm_aa
from narravid.data.annotations.howto100m import read_caption_json, read_caption_pickle
from narravid.data.annotations.video_captions import VideoCaptions
from narravid.errors import AnnotationError
from narravid.text.caption_columns import COLUMNS

__all__ = ["CORPUS_SUFFIXES", "read_caption_corpus"]

CORPUS_SUFFIXES = (".json", ".pickle", ".pkl", ".csv")
"""Kinds of files that can hold the captions of many videos."""


def read_caption_corpus(path: Path) -> Iterator[VideoCaptions]:
    """The videos of a caption corpus of any known kind, one at a time.

    Args:
        path: `caption.json` or `caption.pickle` of HowTo100M, sentencified captions in the same form, the
            table of HTM-AA, or a table with the columns start, end, text and video_id.

    Yields:
        Each video with its captions, which are put together when asked for.

    Raises:
        AnnotationError: If the file cannot be read, is of another kind, or has a fault.
    """
    suffix = path.suffix.lower()
    if suffix not in CORPUS_SUFFIXES:
        known = ", ".join(CORPUS_SUFFIXES)
        raise AnnotationError(path, f"cannot read {suffix!r} as captions of many videos; known are {known}")
    if suffix == ".json":
        yield from read_caption_json(path)
    elif suffix != ".csv":
        yield from read_caption_pickle(path)
    elif set(COLUMNS) <= set(header := _header(path)) or "timestamp" not in header:
        yield from read_caption_table(path)
    else:
        yield from read_htm_aa(path)


def _header(path: Path) -> list[str]:
    first = next(read_rows(path, [str(place) for place in range(100)], num_optional=100), None)
    return [] if first is None else [str(first.value(key)) for key in first.keys()]  # noqa: SIM118
