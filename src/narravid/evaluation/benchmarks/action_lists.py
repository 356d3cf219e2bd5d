"""The videos of action recognition benchmarks with their classes and splits, wherever they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from narravid.data.annotations.action_splits import classes_of, read_hmdb51_splits, read_ucf101_splits
from narravid.data.annotations.cpd_lists import read_cpd_list
from narravid.data.annotations.kinetics import KineticsClip, read_kinetics
from narravid.data.annotations.video_places import HasPlaces, locate_videos
from narravid.data.labelled import read_labels_csv
from narravid.errors import AnnotationError, NarravidError
from narravid.evaluation.windows import WindowItem

__all__ = [
    "ActionSet",
    "ActionSplit",
    "Dataset",
    "read_kinetics_set",
    "read_own_set",
    "read_published_set",
]

Dataset = Literal["ucf101", "hmdb51"]

SPLITS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class ActionSplit:
    """One way to part a data set.

    Attributes:
        name: What it is called.
        train: Numbers of the items to learn from.
        test: Numbers of the items to judge by.
    """

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ActionSet:
    """Videos, or parts of them, that show one action each.

    Attributes:
        labels: Names of the classes by number.
        items: The videos.
        names: What the list calls the video of each, wherever it lies.
        classes: Number of the class of each.
        splits: At least one.
        absent: Why the files of some are not there, by the number of the item.
    """

    labels: tuple[str, ...]
    items: tuple[WindowItem, ...]
    names: tuple[str, ...]
    classes: tuple[int, ...]
    splits: tuple[ActionSplit, ...]
    absent: Mapping[int, str]

    def require(self, numbers: Sequence[int], *, purpose: str, folder: Path) -> None:
        """Make sure that some of these items are there.

        Raises:
            NarravidError: If none is; says where the first should lie.
        """
        if not numbers or any(number not in self.absent for number in numbers):
            return
        first = numbers[0]
        raise NarravidError(
            f"none of the {len(numbers)} videos to {purpose} is in {folder}; the first should be "
            f"{self.items[first].path} with a video's suffix ({self.absent[first]})"
        )


def read_published_set(
    dataset: Dataset, annotations: Path, videos: Path, *, splits: Sequence[int] = SPLITS
) -> ActionSet:
    """UCF101 or HMDB51, as the table of three splits or as one split in CPD's JSON.

    Args:
        dataset: Which of the two.
        annotations: The CSV table or the JSON list.
        videos: Folder of the videos, in folders of their classes or not.
        splits: Which of the table's splits; a JSON list is one split by itself.

    Returns:
        The videos that at least one of the splits uses.

    Raises:
        AnnotationError: If the file has a fault or lists no video to judge by.
    """
    if annotations.suffix.lower() == ".json":
        listed = read_cpd_list(annotations)
        parts = [["train" if video.subset == "train" else "test"] for video in listed.videos]
        names, labels, classes = [annotations.stem], listed.labels, [video.label for video in listed.videos]
        return _located(listed.videos, videos, labels=labels, classes=classes, parts=parts, names=names)
    read = read_ucf101_splits if dataset == "ucf101" else read_hmdb51_splits
    used = [
        video for video in read(annotations) if any(video.splits[split - 1] != "unused" for split in splits)
    ]
    if not used:
        raise AnnotationError(annotations, "lists no video")
    return _located(
        used,
        videos,
        labels=classes_of(used),
        classes=[video.label for video in used],
        parts=[[video.splits[split - 1] for split in splits] for video in used],
        names=[f"split {split}" for split in splits],
    )


def read_kinetics_set(train: Path | None, test: Path, videos: Path) -> ActionSet:
    """Kinetics, its training table and the one to judge by.

    Args:
        train: Table of the videos to learn from; None where nothing is learnt.
        test: Table of the videos to judge by.
        videos: Folder of the videos: itself or its `train`, `val`, `validate` or `test` holds them, in
            folders of their classes or not.

    Returns:
        One split; clips whose label is kept back are left out.

    Raises:
        AnnotationError: If a file has a fault or a clip of `test` no label.
    """
    tables: dict[str, tuple[KineticsClip, ...]] = {
        "train": () if train is None else read_kinetics(train),
        "test": read_kinetics(test),
    }
    if not any(clip.label for clip in tables["test"]):
        raise AnnotationError(test, "has no clip with a label to judge by", field="label")
    listed = [
        (part, clip, clip.label) for part, clips in tables.items() for clip in clips if clip.label is not None
    ]
    placed = [_KineticsPlaces(part, clip) for part, clip, _ in listed]
    return _located(
        placed,
        videos,
        labels=tuple(sorted({label for _, _, label in listed})),
        classes=[label for _, _, label in listed],
        parts=[[part] for part, _, _ in listed],
        names=["validation"],
    )


@dataclass(frozen=True, slots=True)
class _KineticsPlaces:
    """Where a clip may lie: in the folder of its part, or below the data set's own."""

    part: str
    clip: KineticsClip

    @property
    def places(self) -> tuple[str, ...]:
        """See `HasPlaces`."""
        folders = ("train/",) if self.part == "train" else ("val/", "validate/", "validation/", "test/")
        return tuple(f"{folder}{place}" for folder in (*folders, "") for place in self.clip.places)


def read_own_set(path: Path) -> ActionSet:
    """A list `video_path,label,split[,start_seconds,end_seconds]` of one's own.

    A file that such a list names and that is not there counts as one that cannot be read.

    Raises:
        AnnotationError: If the list has a fault or no row to judge by.
    """
    listed = read_labels_csv(path)
    if not listed.test:
        raise AnnotationError(path, "has no row whose split is test", field="split")
    clips = (*listed.train, *listed.test)
    num_train = len(listed.train)
    return ActionSet(
        labels=listed.labels,
        items=tuple(WindowItem(str(clip.path), clip.span) for clip in clips),
        names=tuple(str(clip.path) for clip in clips),
        classes=tuple(clip.label for clip in clips),
        splits=(ActionSplit(path.stem, tuple(range(num_train)), tuple(range(num_train, len(clips)))),),
        absent={},
    )


def _located(
    records: Sequence[HasPlaces],
    videos: Path,
    *,
    labels: tuple[str, ...],
    classes: Sequence[str],
    parts: Sequence[Sequence[str]],
    names: Sequence[str],
) -> ActionSet:
    """The set of these records; `parts` says of each what the splits of these `names` do with it."""
    numbers = {label: number for number, label in enumerate(labels)}
    found = locate_videos(videos, records)
    absent = {gone.index: gone.reason for gone in found.missing}
    should_be = {gone.index: videos / gone.place for gone in found.missing}
    return ActionSet(
        labels=labels,
        items=tuple(
            WindowItem(str(should_be[number] if path is None else path))
            for number, path in enumerate(found.paths)
        ),
        names=tuple(record.places[0] for record in records),
        classes=tuple(numbers[label] for label in classes),
        splits=tuple(
            ActionSplit(
                name,
                train=tuple(number for number, part in enumerate(parts) if part[column] == "train"),
                test=tuple(number for number, part in enumerate(parts) if part[column] == "test"),
            )
            for column, name in enumerate(names)
        ),
        absent=absent,
    )
