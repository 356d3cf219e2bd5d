"""Captions of many videos in one table: HTM-AA, and any list with the columns of a transcript and a video.

HTM-AA (Han et al. 2022, arXiv 2204.02968): `vid,timestamp,text`, one sentence a row, with the second around
which the video shows what it says; the videos last 64 to 2,000 s, and `vid_to_path.json` says where they lie
(see `video_lists`).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from narravid.annotation_files import read_table
from narravid.data.annotations.video_captions import VideoCaptions
from narravid.errors import AnnotationError
from narravid.text.caption_columns import COLUMNS, caption_text
from narravid.text.captions import Caption, CaptionTrack, Transcript
from narravid.types import Span

__all__ = ["read_caption_table", "read_htm_aa"]

VIDEO_COLUMNS = ("video_id", "vid")
"""Names of the column that names the video, the preferred first."""


class _Rows:
    """The captions of one video, packed: there may be millions."""

    __slots__ = ("_ends", "_starts", "_texts")

    def __init__(self) -> None:
        self._starts = array("d")
        self._ends = array("d")
        self._texts: list[str] = []

    def append(self, span: Span, text: str) -> None:
        self._starts.append(span.start_seconds)
        self._ends.append(span.end_seconds)
        self._texts.append(text)

    def transcript(self) -> Transcript:
        rows = zip(self._texts, self._starts, self._ends, strict=True)
        captions = tuple(Caption(text, Span(start, end)) for text, start, end in rows if text)
        return Transcript(CaptionTrack(captions), num_dropped=len(self._texts) - len(captions))


def read_htm_aa(path: Path) -> Iterator[VideoCaptions]:
    """The videos of HTM-AA.

    Args:
        path: A table with the columns `vid`, `timestamp` and `text`.

    Yields:
        Each video in the order in which the table first names it. Its captions last no time: start and end
        are the timestamp, the middle of what is shown.

    Raises:
        AnnotationError: If the table has a fault.
    """
    videos: dict[str, _Rows] = {}
    for row in read_table(path, ("vid", "timestamp", "text")):
        seconds = row.seconds("timestamp")
        rows = videos.setdefault(row.text("vid"), _Rows())
        rows.append(Span(seconds, seconds), caption_text(row, "text").strip())
    yield from _videos_of(videos)


def read_caption_table(path: Path) -> Iterator[VideoCaptions]:
    """The videos of a table `start,end,text` with a column `video_id` or `vid`, such as YouCook2's.

    Args:
        path: The table, with times in seconds; its rows may come in any order.

    Yields:
        Each video in the order in which the table first names it.

    Raises:
        AnnotationError: If the table has a fault.
    """
    videos: dict[str, _Rows] = {}
    for row in read_table(path, COLUMNS, check_header=partial(_require_video, path)):
        column = next(name for name in VIDEO_COLUMNS if name in row)
        rows = videos.setdefault(row.text(column), _Rows())
        rows.append(row.span("start", "end"), caption_text(row, "text").strip())
    yield from _videos_of(videos)


def _require_video(path: Path, columns: Sequence[str]) -> None:
    if columns and not any(name in columns for name in VIDEO_COLUMNS):
        raise AnnotationError(path, "no column says which video; it is named video_id or vid", line=1)


def _videos_of(videos: dict[str, _Rows]) -> Iterator[VideoCaptions]:
    for video_id, rows in videos.items():
        yield VideoCaptions(video_id, partial(_Rows.transcript, rows))
