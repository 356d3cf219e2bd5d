"""The videos of action recognition benchmarks with their classes and splits, wherever they lie."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from narravid.data.annotations.action_splits import (
    classes_of,
    in_class_order,
    read_hmdb51_splits,
    read_ucf101_splits,
)
from narravid.data.annotations.cpd_lists import read_cpd_list
from narravid.data.annotations.kinetics import KineticsClip, read_kinetics
from narravid.data.annotations.video_places import HasPlaces, locate_videos
from narravid.data.labelled import read_labels_csv
from narravid.errors import AnnotationError, NarravidError
from narravid.evaluation.windows import WindowItem
from narravid.types import Span

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

    def check(self, source: Path, *, folder: Path, learns: bool) -> None:
        """Make sure, before anything is decoded, that every split can be judged.

        Args:
            source: The list; named in errors.
            folder: Of the videos; named in errors.
            learns: Whether something is learnt from the training videos, of at least two classes.

        Raises:
            AnnotationError: If the list has nothing to judge by or to learn from in a split, or the same
                video in both parts of one.
            NarravidError: If none of the files is there; says where the first should lie.
        """
        for split in self.splits:
            if not split.test:
                raise AnnotationError(source, f"has no video to judge by in {split.name}")
            if learns:
                self._check_training(split, source, folder)
            self._require(split.test, purpose=f"judge by ({split.name})", folder=folder)

    def _check_training(self, split: ActionSplit, source: Path, folder: Path) -> None:
        listed = {self.classes[number] for number in split.train}
        if len(listed) < 2:
            found = "1 class" if listed else "no class"
            raise AnnotationError(
                source, f"has training videos of {found} in {split.name}; a probe needs those of two"
            )
        judged: dict[str, set[Span | None]] = {}
        for number in split.test:
            judged.setdefault(self._file(number), set()).add(self.items[number].span)
        for number in split.train:
            spans, span = judged.get(self._file(number), set()), self.items[number].span
            if any(_share_time(span, other) for other in spans):
                raise AnnotationError(
                    source,
                    f"has {self.names[number]} in both parts of {split.name}, training and test, whole or "
                    "in part",
                )
        self._require(split.train, purpose=f"learn from ({split.name})", folder=folder)

    def _file(self, number: int) -> str:
        return os.path.normpath(self.items[number].path)

    def _require(self, numbers: Sequence[int], *, purpose: str, folder: Path) -> None:
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
        splits: Which of the table's splits; for a JSON list, which is one split by itself, exactly one.

    Returns:
        The videos that at least one of the splits uses.

    Raises:
        AnnotationError: If the file has a fault, lists no video, or holds one split where more are asked for.
    """
    if annotations.suffix.lower() == ".json":
        if len(splits) != 1:
            raise AnnotationError(annotations, f"holds one split, and {len(splits)} are asked for")
        listed = read_cpd_list(annotations)
        if not listed.videos:
            raise AnnotationError(annotations, "lists no video", field="database")
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

    Of the training table those clips are taken that it calls training, of the other one those of validation
    or, where it has none, of test: both may be one table of all parts.

    Args:
        train: Table of the videos to learn from; None where nothing is learnt.
        test: Table of the videos to judge by.
        videos: Folder of the videos: itself or its `train`, `val`, `validate` or `test` holds them, in
            folders of their classes or not.

    Returns:
        One split; clips whose label is kept back are left out.

    Raises:
        AnnotationError: If a file has a fault or no labelled clip of its part, or a clip is in both parts.
    """
    judged = _kinetics_part(test, "test")
    subset = judged[0][0].subset
    learnt = () if train is None else _kinetics_part(train, "train")
    to_learn_from = {(clip.video_id, clip.span) for clip, _ in learnt}
    for clip, _ in judged:
        if (clip.video_id, clip.span) in to_learn_from:
            raise AnnotationError(
                test, f"lists {clip.places[-1]}, which {train} has among the training clips"
            )
    tables = {"train": learnt, "test": judged}
    listed = [(part, clip, label) for part, clips in tables.items() for clip, label in clips]
    placed = [_KineticsPlaces(part, clip) for part, clip, _ in listed]
    return _located(
        placed,
        videos,
        labels=in_class_order(label for _, _, label in listed),
        classes=[label for _, _, label in listed],
        parts=[[part] for part, _, _ in listed],
        names=[subset],
    )


def _kinetics_part(path: Path, part: Literal["train", "test"]) -> tuple[tuple[KineticsClip, str], ...]:
    """The clips of a table that are for this part and have a label; validation goes before test."""
    clips = read_kinetics(path)
    subset = "validation" if any(clip.subset == "validation" for clip in clips) else "test"
    wanted = [clip for clip in clips if clip.subset == ("train" if part == "train" else subset)]
    labelled = tuple((clip, clip.label) for clip in wanted if clip.label is not None)
    if not wanted:
        other = "none of training" if part == "train" else "only clips of training"
        raise AnnotationError(path, f"has {other}", field="split")
    if not labelled:
        purpose = "learn from" if part == "train" else "judge by"
        raise AnnotationError(path, f"has no clip with a label to {purpose}", field="label")
    return labelled


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
        names=tuple(Path(os.path.relpath(clip.path, path.parent)).as_posix() for clip in clips),
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


def _share_time(first: Span | None, second: Span | None) -> bool:
    """Whether two parts of one video have something in common; None is all of it."""
    if first is None or second is None:
        return True
    return first == second or first.overlap_seconds(second) > 0
