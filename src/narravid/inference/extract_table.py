"""Extracted features that go into one LanceDB table.

LanceDB starts threads when it is imported, which does not go with forks: import this where a table is wanted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narravid.data.feature_table import FeatureTable
from narravid.inference.extract_list import ListedVideo

__all__ = ["TableStore"]

Features = npt.NDArray[np.floating]

MARKS_FOLDER = ".marks"


class TableStore:
    """All videos in one LanceDB table; see `data.feature_table`.

    Args:
        folder: Where the table lies. A video is called by the path of its features from there, or by the
            whole path where it leads out of the folder.
        dim: Size of a feature.
        dtype: "float16" or "float32".
    """

    def __init__(self, folder: Path, *, dim: int, dtype: str) -> None:
        self._folder = folder
        self._table = FeatureTable.open_or_create(folder, dim=dim, dtype=dtype)
        self._present = self._table.facts()

    def mark(self, item: ListedVideo) -> Path:
        """See `extract_store.FeatureStore`; one flat folder, whatever the names are."""
        digest = hashlib.sha256(os.fsencode(self._name(item))).hexdigest()
        return self._folder / MARKS_FOLDER / digest

    def has(self, item: ListedVideo) -> bool:
        """See `extract_store.FeatureStore`."""
        return self._name(item) in self._present or self.facts(item) is not None

    def obstacle(self, item: ListedVideo) -> Path | None:
        """See `extract_store.FeatureStore`; nothing else lies in a table."""
        return None

    def facts(self, item: ListedVideo) -> dict[str, Any] | None:
        """See `extract_store.FeatureStore`; what other processes have written meanwhile is looked up."""
        name = self._name(item)
        if name not in self._present:
            said = self._table.facts_of(name)
            if said is None:
                return None
            self._present[name] = said
        found: dict[str, Any] = json.loads(self._present[name])
        return found

    def write(self, item: ListedVideo, features: Features, facts: Mapping[str, Any]) -> None:
        """See `extract_store.FeatureStore`; where features start follows from their rate, and is not kept."""
        name = self._name(item)
        kept = {key: value for key, value in facts.items() if key != "start_seconds"}
        said = json.dumps(kept, allow_nan=False)
        self._table.write(name, features, said)
        self._present[name] = said

    def tidy_up(self, item: ListedVideo) -> None:
        """Nothing: LanceDB's commits are whole or not there."""

    def close(self) -> None:
        """Join the small pieces that single videos left in the table."""
        self._table.compact()

    def _name(self, item: ListedVideo) -> str:
        place = os.path.relpath(item.output, self._folder)
        return str(item.output) if place.split(os.sep)[0] == os.pardir else place
