"""Where videos, classes and splits of action recognition come from, by published names or of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from narravid.errors import AnnotationError
from narravid.evaluation.benchmarks.action_lists import (
    ActionSet,
    Dataset,
    read_kinetics_set,
    read_own_set,
    read_published_set,
)
from narravid.evaluation.benchmarks.action_result import ActionData
from narravid.evaluation.benchmarks.annotation_place import find_annotations

__all__ = ["Split", "check_splits", "find_kinetics", "find_own", "find_published"]

Split = Literal[1, 2, 3]

TITLES: dict[str, str] = {"ucf101": "UCF101", "hmdb51": "HMDB51"}
TABLES: dict[str, tuple[str, ...]] = {
    "ucf101": ("ucf.csv", "ucf101.csv", "ucf101_splits.csv"),
    "hmdb51": ("hmdb51.csv", "hmdb.csv", "hmdb51_splits.csv"),
}
"""The tables of three splits as the repositories of MIL-NCE and VT-TWINS name them, and by plainer names."""

CPD_LISTS: dict[str, str] = {"ucf101": "ucf101_{:02}.json", "hmdb51": "hmdb51_{}.json"}
"""One split as the repository of CPD names it."""

KINETICS_TEST = ("val.csv", "validate.csv", "kinetics_val.csv", "kinetics400_val.csv")
KINETICS_TRAIN = ("train.csv", "kinetics_train.csv", "kinetics400_train.csv")


def find_published(
    dataset: Dataset,
    benchmark: str,
    *,
    videos: Path,
    annotations: Path | None,
    splits: tuple[Split, ...],
    remedy: str = "ask for that one by --splits",
) -> tuple[ActionSet, ActionData]:
    """UCF101 or HMDB51 by these splits, from the table of three or from CPD's list of one.

    Args:
        dataset: Which of the two.
        benchmark: Name of the benchmark.
        videos: Folder of the videos.
        annotations: The list; looked for when None.
        splits: Which splits.
        remedy: What to do where the list holds one split and more are asked for.

    Raises:
        AnnotationError: If the list is not found, has a fault, or does not hold these splits.
    """
    names = TABLES[dataset]
    if len(splits) == 1:
        names = (*names, CPD_LISTS[dataset].format(splits[0]))
    source = find_annotations(annotations, names, videos=videos)
    said = _said(splits)
    if source.suffix.lower() == ".json":
        _check_list(source, splits, remedy, dataset=dataset)
        said = f"the split of {source.name}"
    title = f"{TITLES[dataset]}, {said}"
    data = ActionData(benchmark, title, {"annotations": source}, videos, num_published_splits=3)
    return read_published_set(dataset, source, videos, splits=splits), data


def _check_list(source: Path, splits: tuple[Split, ...], remedy: str, *, dataset: Dataset) -> None:
    """Refuse a list of one split where others are asked for, as far as its name tells."""
    if len(splits) > 1:
        raise AnnotationError(
            source, f"holds one split; {remedy}, or give the table of three as --annotations"
        )
    for number in (1, 2, 3):
        if source.name == CPD_LISTS[dataset].format(number) and number not in splits:
            raise AnnotationError(
                source, f"is split {number} by its name, and split {splits[0]} is asked for"
            )


def find_kinetics(
    benchmark: str, *, videos: Path, annotations: Path | None, train: Path | None, needs_train: bool
) -> tuple[ActionSet, ActionData]:
    """Kinetics-400, with what to learn from or without.

    Raises:
        AnnotationError: If a table is not found or has a fault.
    """
    test = find_annotations(annotations, KINETICS_TEST, videos=videos)
    files = {"annotations": test}
    if needs_train:
        files["train_annotations"] = find_annotations(
            train, KINETICS_TRAIN, videos=videos, option="--train-annotations"
        )
    actions = read_kinetics_set(files.get("train_annotations"), test, videos)
    return actions, ActionData(benchmark, "Kinetics-400", files, videos)


def find_own(labels: Path, benchmark: str) -> tuple[ActionSet, ActionData]:
    """The videos of a list of one's own.

    Raises:
        AnnotationError: If the list has a fault.
    """
    data = ActionData(benchmark, f"Labelled videos of {labels.name}", {"labels": labels}, labels.parent)
    return read_own_set(labels), data


def check_splits(splits: tuple[int, ...]) -> None:
    """Refuse splits that there are not.

    Raises:
        ValueError: If one is none of 1, 2 and 3 or there twice, or there is none.
    """
    if not splits or len(set(splits)) < len(splits) or not set(splits) <= {1, 2, 3}:
        raise ValueError(f"splits must be different ones of 1, 2 and 3, got {splits}")


def _said(splits: tuple[Split, ...]) -> str:
    return f"split {splits[0]}" if len(splits) == 1 else f"mean of splits {', '.join(map(str, splits))}"
