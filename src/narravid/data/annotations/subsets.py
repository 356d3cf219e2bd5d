"""Which part of a data set a video belongs to, under the many names that published files give the three."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from narravid.annotation_fields import Fields

__all__ = ["Subset", "read_subset"]

Subset = Literal["train", "validation", "test"]
"""A part of a data set."""

PUBLISHED_NAMES: MappingProxyType[str, Subset] = MappingProxyType(
    {
        "train": "train",
        "training": "train",
        "val": "validation",
        "validate": "validation",
        "validation": "validation",
        "test": "test",
        "testing": "test",
    }
)


def read_subset(fields: Fields, key: str) -> Subset:
    """The part that a field names.

    Raises:
        AnnotationError: If it is missing or no name of a part.
    """
    return PUBLISHED_NAMES[fields.choice(key, PUBLISHED_NAMES)]
