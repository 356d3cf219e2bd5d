"""HowTo100M: captions of all videos in one file, and the list of the videos.

Miech et al. 2019, arXiv 1906.03327. `caption.pickle` and `caption.json` (`raw_caption.json` as well) are one
mapping `{VIDEO: {"start": [...], "end": [...], "text": [...]}}` with times in seconds. The sentencified
captions of temporal alignment networks (Han et al. 2022, arXiv 2204.02968) have the same form.
`HowTo100M_v1.csv` is a table `video_id,category_1,category_2,rank,task_id`; whoever has the videos adds a
column `path`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from narravid.annotation_fields import Fields
from narravid.annotation_files import read_table
from narravid.data.annotations.json_members import read_members
from narravid.data.annotations.pickled_arrays import PickledArray
from narravid.data.annotations.safe_pickle import read_plain_pickle
from narravid.data.annotations.video_captions import VideoCaptions
from narravid.errors import AnnotationError
from narravid.text.caption_columns import COLUMNS, transcript_of_columns
from narravid.text.captions import Transcript

__all__ = ["HowTo100MVideo", "read_caption_json", "read_caption_pickle", "read_howto100m_videos"]

VIDEO_COLUMNS = ("video_id", "category_1", "category_2", "rank", "task_id")


@dataclass(frozen=True, slots=True)
class HowTo100MVideo:
    """A video of the list.

    Attributes:
        video_id: YouTube's name of the video.
        category_1: Topic, such as "Food and Entertaining"; "" where there is none.
        category_2: Topic within it; "" where there is none.
        rank: Place among the results of the search that found it, from 1.
        task_id: Number of the task in WikiHow.
        path: Where it lies; None in the list as published.
    """

    video_id: str
    category_1: str
    category_2: str
    rank: int
    task_id: str
    path: str | None = None


def read_howto100m_videos(path: Path) -> Iterator[HowTo100MVideo]:
    """The videos of `HowTo100M_v1.csv`, one at a time.

    Raises:
        AnnotationError: If the table has a fault.
    """
    for row in read_table(path, VIDEO_COLUMNS):
        yield HowTo100MVideo(
            video_id=row.text("video_id"),
            category_1=row.text("category_1", may_be_empty=True),
            category_2=row.text("category_2", may_be_empty=True),
            rank=row.integer("rank"),
            task_id=row.text("task_id"),
            path=row.text("path") if "path" in row else None,
        )


def read_caption_json(path: Path) -> Iterator[VideoCaptions]:
    """The videos of a `caption.json`, one at a time, however large the file is.

    Args:
        path: One JSON object with a member for each video: the columns `start`, `end` and `text`.

    Yields:
        Each video; a fault within its captions shows when they are read.

    Raises:
        AnnotationError: If the file is no JSON object.
    """
    for video_id, value, line in read_members(path):
        video = Fields(path, {video_id: value}, line)
        yield VideoCaptions(video_id, partial(_transcript_of, video, video_id))


def _transcript_of(video: Fields, video_id: str) -> Transcript:
    return transcript_of_columns(video.child(video_id))


def read_caption_pickle(path: Path) -> Iterator[VideoCaptions]:
    """The videos of a `caption.pickle`, which is read whole; nothing in it is run.

    A pickle cannot be read in parts: it takes five to six times its size in memory, and a minute or more per
    gigabyte. The same saved as JSON is read video by video and several times as fast.

    Args:
        path: A pickled dictionary with an entry for each video: `start`, `end` and `text` as lists, tuples or
            one-dimensional NumPy arrays.

    Yields:
        Each video; a fault within its captions shows when they are read.

    Raises:
        AnnotationError: If the file is no pickle of plain data, or claims more captions than fit into it.
    """
    corpus = read_plain_pickle(path)
    if not isinstance(corpus, dict):
        reason = f"must hold a dictionary with an entry for each video, got a {type(corpus).__name__}"
        raise AnnotationError(path, reason)
    num_captions, num_bytes = 0, path.stat().st_size
    for name, value in corpus.items():
        video_id = str(name)
        if isinstance(value, dict):
            num_captions += _length(value.get("text"))
        if num_captions > num_bytes:  # one list under the names of many videos
            raise AnnotationError(path, f"refused: it claims more captions than its {num_bytes} bytes hold")
        yield VideoCaptions(video_id, partial(_transcript_of_pickled, path, video_id, value))


def _length(column: object) -> int:
    if not isinstance(column, list | tuple | PickledArray):
        return 0
    try:
        return len(column)
    except ValueError:  # an array of several dimensions: its fault is told when it is read
        return 0


def _transcript_of_pickled(path: Path, video_id: str, value: object) -> Transcript:
    video = Fields(path, {video_id: {}})
    if not isinstance(value, Mapping):
        raise video.fault(f"must be a dictionary with {', '.join(COLUMNS)}, got a {_kind(value)}", video_id)
    lengths = {name: _length(value.get(name)) for name in COLUMNS}
    if len(set(lengths.values())) > 1:  # before the columns are unpacked, however long they claim to be
        raise video.fault(f"has columns of different lengths: {lengths}", video_id)
    columns: dict[str, list[Any]] = {}
    for name in COLUMNS:
        columns[name] = _plain_column(video.child(video_id), name, value.get(name))
    return transcript_of_columns(Fields(path, columns, place=video_id))


def _plain_column(video: Fields, name: str, column: object) -> list[Any]:
    try:
        values = column.to_list() if isinstance(column, PickledArray) else column
        if not isinstance(values, list | tuple):
            raise ValueError(f"a {_kind(column)}")
        return [_plain_value(value) for value in values]
    except ValueError as error:  # bytes of Python 2 that are not UTF-8 as well
        raise video.fault(f"must be a list or array of numbers or texts, got {error}", name) from error


def _plain_value(value: object) -> object:
    """A text of Python 2 as text; for what is never right, and may be endless to write out, an empty list."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, int) and abs(value) >= 2**63:
        return []
    return value if value is None or isinstance(value, str | int | float) else []


def _kind(value: object) -> str:
    return "missing value" if value is None else type(value).__name__
