"""Clips that show one of several classes: the data of CPD's fine-tuning.

Li & Wang, Learning Spatiotemporal Features via Video and Text Pair Discrimination, arXiv 2001.05691.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from narravid.annotation_fields import Fields
from narravid.annotation_files import read_table
from narravid.batches import LabelledBatch
from narravid.data.annotations.action_splits import (
    ActionVideo,
    classes_of,
    in_class_order,
    read_hmdb51_splits,
    read_ucf101_splits,
)
from narravid.data.annotations.cpd_lists import read_cpd_list
from narravid.data.annotations.video_places import HasPlaces, locate_videos
from narravid.data.span_clips import SpanClips, SpanItem
from narravid.errors import AnnotationError
from narravid.types import Span

__all__ = [
    "LabelledClip",
    "LabelledDataset",
    "LabelledList",
    "Part",
    "read_action_splits",
    "read_cpd_clips",
    "read_labels_csv",
]

Part = Literal["train", "test"]
"""What a clip is for."""

TIME_COLUMNS = ("start_seconds", "end_seconds")


@dataclass(frozen=True, slots=True)
class LabelledClip:
    """A video, or a part of it, that shows one class.

    Attributes:
        path: The video.
        label: Number of the class, from 0.
        span: The part; None for the whole video.
    """

    path: Path
    label: int
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class LabelledList:
    """The clips of a data set, and its classes.

    Attributes:
        labels: Names of the classes by number.
        train: Clips to learn from, whose videos are there.
        test: Clips to judge by; those whose videos are not there count as misses.
        missing: (path, reason) of the videos that are not there.
    """

    labels: tuple[str, ...]
    train: tuple[LabelledClip, ...]
    test: tuple[LabelledClip, ...]
    missing: tuple[tuple[str, str], ...] = ()

    @property
    def samples(self) -> tuple[LabelledClip, ...]:
        """Those to learn from."""
        return self.train


def read_labels_csv(path: Path) -> LabelledList:
    """Read a list `video_path,label,split[,start_seconds,end_seconds]`.

    Args:
        path: A UTF-8 CSV file with a header line; other columns are passed over. Video paths that are not
            absolute start at its folder; split is train or test; a row with both times empty means the
            whole video.

    Returns:
        The clips; the classes are numbered in the order of their names, small and capital letters alike.

    Raises:
        AnnotationError: If the file is absent or empty, a column is missing, or a row has a fault.
    """
    rows = []
    for row in read_table(path, ("video_path", "label", "split")):
        part = row.choice("split", ("train", "test"))
        rows.append((row.path.parent / row.text("video_path"), row.text("label"), part, _span(row)))
    if not rows:
        raise AnnotationError(path, "has no row behind the header")
    labels = in_class_order(label for _, label, _, _ in rows)
    numbers = {label: number for number, label in enumerate(labels)}
    clips: dict[str, list[LabelledClip]] = {"train": [], "test": []}
    for video, label, part, span in rows:
        clips[part].append(LabelledClip(video, numbers[label], span))
    return LabelledList(labels, tuple(clips["train"]), tuple(clips["test"]))


def _span(row: Fields) -> Span | None:
    if any(column in row and row.text(column, may_be_empty=True) for column in TIME_COLUMNS):
        return row.span(*TIME_COLUMNS, may_be_empty=False)
    return None


def read_action_splits(
    path: Path, root: Path, *, dataset: Literal["ucf101", "hmdb51"], split: Literal[1, 2, 3] = 1
) -> LabelledList:
    """UCF101 or HMDB51 as published for the linear probe, `video_id,label,split1,split2,split3`.

    Args:
        path: The CSV file.
        root: Folder of the videos.
        dataset: Which of the two.
        split: Which of the three splits.

    Returns:
        The clips; the classes are numbered as published.

    Raises:
        AnnotationError: If the file has a fault.
    """
    read: Callable[[Path], tuple[ActionVideo, ...]]
    read = read_ucf101_splits if dataset == "ucf101" else read_hmdb51_splits
    videos = [video for video in read(path) if video.splits[split - 1] != "unused"]
    labels = classes_of(videos)
    parts = ["train" if video.splits[split - 1] == "train" else "test" for video in videos]
    return _located(root, videos, labels, classes=[video.label for video in videos], parts=parts)


def read_cpd_clips(path: Path, root: Path) -> LabelledList:
    """One split of UCF101 or HMDB51 as CPD's list; its validation videos are the test videos.

    Args:
        path: The JSON file.
        root: Folder of the videos.

    Returns:
        The clips; the classes are numbered as in the list.

    Raises:
        AnnotationError: If the file has a fault.
    """
    listed = read_cpd_list(path)
    parts = ["train" if video.subset == "train" else "test" for video in listed.videos]
    classes = [video.label for video in listed.videos]
    return _located(root, listed.videos, listed.labels, classes=classes, parts=parts)


def _located(
    root: Path,
    videos: Sequence[HasPlaces],
    labels: tuple[str, ...],
    *,
    classes: Sequence[str],
    parts: Sequence[str],
) -> LabelledList:
    numbers = {label: number for number, label in enumerate(labels)}
    places = locate_videos(root, videos)
    clips: dict[str, list[LabelledClip]] = {"train": [], "test": []}
    # Absent test videos are judged, as misses; names that lead out of the folder are not tried.
    absent = {gone.index: root / gone.place for gone in places.missing if gone.reason != "unusable name"}
    for index, (path, label, part) in enumerate(zip(places.paths, classes, parts, strict=True)):
        if path is not None:
            clips[part].append(LabelledClip(path, numbers[label]))
        elif part == "test" and index in absent:
            clips[part].append(LabelledClip(absent[index], numbers[label]))
    missing = tuple((str(root / gone.place), gone.reason) for gone in places.missing)
    return LabelledList(labels, tuple(clips["train"]), tuple(clips["test"]), missing)


class LabelledDataset(SpanClips[LabelledClip, LabelledBatch]):
    """Draws one clip of each labelled one; see `SpanClips`."""

    def collate(self, clips: torch.Tensor, items: Sequence[SpanItem]) -> LabelledBatch:
        """The batch of some items; see `ClipDataset.collate`."""
        return LabelledBatch(
            clips=clips,
            labels=torch.tensor([self.samples[item.index].label for item in items]),
            video_ids=tuple(item.video_id for item in items),
            start_seconds=torch.tensor([item.start_seconds for item in items], dtype=torch.float64),
        )
