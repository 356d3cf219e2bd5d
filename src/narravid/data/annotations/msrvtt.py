"""MSR-VTT: the 1k-A test list, lists of training videos, and the official JSON with all captions.

Xu et al. 2016. The 1k-A test list (Yu et al. 2018, JSFusion) is a table `key,vid_key,video_id,sentence` of
1,000 videos with one caption each. Official documents hold `videos` (`video_id`, `split`, `start time` and
`end time` in seconds of the YouTube video, `url`, `category`) and `sentences` (`video_id`, `caption`,
`sen_id`), 20 for each video.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from narravid.annotation_fields import Fields
from narravid.annotation_files import read_document, read_table
from narravid.data.annotations.subsets import Subset, read_subset
from narravid.types import Span

__all__ = [
    "MsrvttPair",
    "MsrvttVideo",
    "read_msrvtt",
    "read_msrvtt_pairs",
    "read_msrvtt_video_ids",
]

PAIR_COLUMNS = ("key", "vid_key", "video_id", "sentence")

FOLDERS = ("", "all/", "videos/", "videos/all/", "TrainValVideo/", "TestVideo/")
"""Where the archives that are about put the videos."""


@dataclass(frozen=True, slots=True)
class MsrvttPair:
    """A video and the caption that finds it.

    Attributes:
        key: Name of the pair, `ret0` to `ret999`.
        vid_key: JSFusion's name of the video, such as `msr9770`.
        video_id: MSR-VTT's name of the video, such as `video9770`.
        sentence: The caption.
    """

    key: str
    vid_key: str
    video_id: str
    sentence: str

    @property
    def places(self) -> tuple[str, ...]:
        """Where the video may lie, without suffix."""
        return tuple(f"{folder}{self.video_id}" for folder in FOLDERS)


@dataclass(frozen=True, slots=True)
class MsrvttVideo:
    """A video with all its captions.

    Attributes:
        video_id: Its name, such as `video0`.
        subset: The part it belongs to in the official division.
        span: The part of the YouTube video that was cut out.
        url: Where that video was.
        category: Number of its category, from 0; None where the file keeps it back.
        captions: The captions in the order of their `sen_id`.
    """

    video_id: str
    subset: Subset
    span: Span
    url: str
    category: int | None
    captions: tuple[str, ...]

    @property
    def places(self) -> tuple[str, ...]:
        """Where the video may lie, without suffix."""
        return tuple(f"{folder}{self.video_id}" for folder in FOLDERS)


def read_msrvtt_pairs(path: Path) -> tuple[MsrvttPair, ...]:
    """Read the 1k-A test list.

    Args:
        path: The CSV file (1,000 rows as published).

    Returns:
        The pairs in order.

    Raises:
        AnnotationError: If the table has a fault, or a key or a video is there twice.
    """
    pairs = []
    lines: dict[str, dict[str, int | None]] = {"key": {}, "video_id": {}}
    for row in read_table(path, PAIR_COLUMNS):
        for column in lines:
            _refuse_second(row, column, lines[column])
        pairs.append(MsrvttPair(*(row.text(column) for column in PAIR_COLUMNS)))
    return tuple(pairs)


def read_msrvtt_video_ids(path: Path) -> tuple[str, ...]:
    """Read a list of training videos, a table with the column `video_id` (9,000 rows for 1k-A).

    Returns:
        The names in order.

    Raises:
        AnnotationError: If the table has a fault or a video is there twice.
    """
    lines: dict[str, int | None] = {}
    for row in read_table(path, ("video_id",)):
        _refuse_second(row, "video_id", lines)
    return tuple(lines)


def _refuse_second(row: Fields, column: str, lines: dict[str, int | None]) -> None:
    name = row.text(column)
    if name in lines:
        raise row.fault(f"{name} is on line {lines[name]} too", column)
    lines[name] = row.line


def read_msrvtt(path: Path) -> tuple[MsrvttVideo, ...]:
    """Read an official document in full.

    Args:
        path: The JSON file: `train_val_videodatainfo.json`, `test_videodatainfo.json`, or `MSRVTT_data.json`,
            which holds both (10,000 videos, 200,000 captions).

    Returns:
        The videos in the order of the file.

    Raises:
        AnnotationError: If the document has a fault, a video or a caption's number is there twice, or a
            caption belongs to no video.
    """
    document = read_document(path)
    entries: dict[str, Fields] = {}
    for _, entry in document.child("videos", kind="array").children():
        video_id = entry.text("video_id")
        if entries.setdefault(video_id, entry) is not entry:
            raise entry.fault(f"{video_id} is at {entries[video_id].place} too", "video_id")
    captions: dict[str, list[tuple[int, str]]] = {video_id: [] for video_id in entries}
    numbers: dict[int, str] = {}
    for _, sentence in document.child("sentences", kind="array").children():
        video_id, number = sentence.text("video_id"), sentence.integer("sen_id")
        if video_id not in captions:
            raise sentence.fault(f"{video_id} is not among the videos", "video_id")
        if numbers.setdefault(number, sentence.place) != sentence.place:
            raise sentence.fault(f"{number} is at {numbers[number]} too", "sen_id")
        captions[video_id].append((number, sentence.text("caption")))
    return tuple(_read_video(entry, captions[video_id]) for video_id, entry in entries.items())


def _read_video(entry: Fields, captions: list[tuple[int, str]]) -> MsrvttVideo:
    return MsrvttVideo(
        video_id=entry.text("video_id"),
        subset=read_subset(entry, "split"),
        span=entry.span("start time", "end time"),
        url=entry.text("url"),
        category=entry.integer("category") if "category" in entry else None,
        captions=tuple(caption for _, caption in sorted(captions)),
    )
