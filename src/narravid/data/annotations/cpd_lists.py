"""UCF101 and HMDB51 as CPD's lists: JSON with `labels` and `database`.

The form of the repository of CPD (Li and Wang 2020, arXiv 2001.05691), one file per split:
`{"labels": [CLASS, ...], "database": {NAME: {"subset": "training", "annotations": {"label": CLASS}}}}`. The
position of a class in `labels` is its number in CPD's classifiers. Videos are `CLASS/NAME.avi`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from narravid.annotation_files import read_document
from narravid.data.annotations.subsets import Subset, read_subset

__all__ = ["CpdList", "CpdVideo", "read_cpd_list"]


@dataclass(frozen=True, slots=True)
class CpdVideo:
    """A video that shows one action.

    Attributes:
        name: Name of the file without suffix.
        label: Name of the class.
        subset: The part it belongs to; CPD calls the test videos of a split validation.
    """

    name: str
    label: str
    subset: Subset

    @property
    def places(self) -> tuple[str, ...]:
        """Where it may lie, without suffix: in a folder of its class, or beside all others."""
        return f"{self.label}/{self.name}", self.name


@dataclass(frozen=True, slots=True)
class CpdList:
    """One split.

    Attributes:
        labels: Names of the classes in the order of their numbers, from 0.
        videos: The videos, in the order of the file.
    """

    labels: tuple[str, ...]
    videos: tuple[CpdVideo, ...]


def read_cpd_list(path: Path) -> CpdList:
    """Read one split.

    Args:
        path: The JSON file.

    Returns:
        The classes and the videos.

    Raises:
        AnnotationError: If the file has a fault, a class is there twice, or a video has a class that is none
            of them.
    """
    document = read_document(path)
    listed = document.child("labels", kind="array")
    labels = listed.texts()
    repeated = next((position for position, label in enumerate(labels) if label in labels[:position]), None)
    if repeated is not None:
        raise listed.fault(f"the class {labels[repeated]!r} is there twice", repeated)
    videos = []
    for name, entry in document.child("database").children():
        annotations = entry.child("annotations")
        label = annotations.text("label")
        if label not in labels:
            raise annotations.fault(f"must be one of the {len(labels)} in 'labels', got {label!r}", "label")
        videos.append(CpdVideo(str(name), label, read_subset(entry, "subset")))
    return CpdList(labels, tuple(videos))
