"""UCF101 and HMDB51 as tables `video_id,label,split1,split2,split3`.

This is the form in which the repositories of MIL-NCE (Miech et al. 2020, arXiv 1912.06430) and VT-TWINS
(Ko et al. 2022) publish the three official splits for the linear probe. UCF101's `video_id` is
`CLASS/v_CLASS_gNN_cNN.mp4` and its label the number of the class, counted from 1; HMDB51's is a file name,
and its label the name of the class with `_test` behind. A split column holds 1 for training, 2 for testing,
0 for neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from narravid.annotation_fields import Fields
from narravid.annotation_files import read_table

__all__ = [
    "ActionVideo",
    "SplitPart",
    "classes_of",
    "in_class_order",
    "read_hmdb51_splits",
    "read_ucf101_splits",
]

SplitPart = Literal["train", "test", "unused"]
"""What a split does with a video."""

PARTS: tuple[SplitPart, ...] = ("unused", "train", "test")
SPLIT_COLUMNS = ("split1", "split2", "split3")
LABEL_ENDING = "_test"


@dataclass(frozen=True, slots=True)
class ActionVideo:
    """A video that shows one action.

    Attributes:
        name: The file as the list names it.
        label: Name of the class.
        splits: What splits 1, 2 and 3 do with it.
    """

    name: str
    label: str
    splits: tuple[SplitPart, SplitPart, SplitPart]

    @property
    def places(self) -> tuple[str, ...]:
        """Where it may lie, without suffix: in a folder of its class, or beside all others."""
        stem = os.path.splitext(self.name)[0].rpartition("/")[2]
        return f"{self.label}/{stem}", stem


def classes_of(videos: Iterable[ActionVideo]) -> tuple[str, ...]:
    """Names of the classes in the order of their published numbers: by name, small and capital letters alike.

    So UCF101 numbers its own, and CPD's lists both data sets: Hammering comes before HammerThrow.
    """
    return in_class_order(video.label for video in videos)


def in_class_order(names: Iterable[str]) -> tuple[str, ...]:
    """The different names of classes in the order of their numbers, wherever no list numbers them.

    By name, small and capital letters alike; names that differ in nothing else, capitals first.
    """
    return tuple(sorted(set(names), key=lambda name: (name.casefold(), name)))


def read_ucf101_splits(path: Path) -> tuple[ActionVideo, ...]:
    """Read UCF101's table; the class's name is the folder in `video_id`.

    Args:
        path: The CSV file (13,320 rows as published).

    Returns:
        The videos in order.

    Raises:
        AnnotationError: If the table has a fault, a video is there twice, or a class comes with two numbers.
    """
    numbers: dict[str, int] = {}

    def class_name(row: Fields) -> str:
        label, _, stem = row.text("video_id").partition("/")
        if not (label and stem):
            raise row.wrong("video_id", "CLASS/FILE")
        number = row.integer("label", at_least=1)
        if numbers.setdefault(label, number) != number:
            raise row.fault(f"{label} had the number {numbers[label]} before, got {number}", "label")
        return label

    return _read_splits(path, class_name)


def read_hmdb51_splits(path: Path) -> tuple[ActionVideo, ...]:
    """Read HMDB51's table; the class's name is the label without `_test`.

    Args:
        path: The CSV file (6,766 rows as published).

    Returns:
        The videos in order.

    Raises:
        AnnotationError: If the table has a fault or a video is there twice.
    """

    def class_name(row: Fields) -> str:
        label = row.text("label").removesuffix(LABEL_ENDING)
        if not label or label.isdecimal():
            raise row.wrong("label", "the name of a class")
        return label

    return _read_splits(path, class_name)


def _read_splits(path: Path, class_name: Callable[[Fields], str]) -> tuple[ActionVideo, ...]:
    lines: dict[str, int | None] = {}
    videos = []
    for row in read_table(path, ("video_id", "label", *SPLIT_COLUMNS)):
        name = row.text("video_id")
        if name in lines:
            raise row.fault(f"the video {name} is on line {lines[name]} too", "video_id")
        lines[name] = row.line
        first, second, third = (PARTS[row.integer(column, at_most=2)] for column in SPLIT_COLUMNS)
        videos.append(ActionVideo(name, class_name(row), (first, second, third)))
    return tuple(videos)
