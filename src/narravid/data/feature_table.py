"""The features of many videos in one LanceDB table: a row for each, its features as one list.

A video arrives in one commit of LanceDB, so it is there whole or not at all; several processes may write.
"""

from __future__ import annotations

import contextlib
import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from narravid.data.featured import FeatureTrack
from narravid.errors import DecodeError

__all__ = ["FeatureTable"]

TABLE_NAME = "features"
OLD_VERSIONS_KEPT = timedelta(minutes=10)
"""How long replaced versions stay, for other processes that read or write."""

COMMITS_PER_COMPACTION = 64


class FeatureTable:
    """Features by name of video. Made by `open` or `open_or_create`; may be used from several threads.

    Args:
        folder: Where the table lies.
        table: The LanceDB table.
    """

    def __init__(self, folder: Path, table: Any) -> None:  # noqa: ANN401 - LanceDB carries no usable types
        self._folder = folder
        self._table = table
        self._lock = threading.Lock()
        self._num_commits = 0

    @classmethod
    def open(cls, folder: Path) -> FeatureTable:
        """Open the table of a folder.

        Raises:
            ValueError: If there is none.
        """
        return cls(folder, lancedb.connect(folder).open_table(TABLE_NAME))

    @classmethod
    def open_or_create(cls, folder: Path, *, dim: int, dtype: str) -> FeatureTable:
        """Open the table of a folder, or make an empty one.

        Args:
            folder: Created where it is not there.
            dim: F, size of a feature.
            dtype: "float16" or "float32".

        Raises:
            ValueError: If there is a table of other features.
        """
        folder.mkdir(parents=True, exist_ok=True)
        try:
            table = lancedb.connect(folder).create_table(
                TABLE_NAME, schema=_schema(dim, dtype), exist_ok=True
            )
        except ValueError as error:
            raise ValueError(
                f"{folder} holds features of another size or type than {dtype} ({dim}); choose another folder"
            ) from error
        return cls(folder, table)

    @property
    def dim(self) -> int:
        """F, size of a feature."""
        return int(self._table.schema.field("features").type.value_type.list_size)

    def names(self) -> list[str]:
        """Names of all videos, sorted."""
        return sorted(self.facts())

    def facts(self) -> dict[str, str]:
        """What is known of the features of each video, as JSON, by name."""
        rows = self._scan(["name", "facts"], None).to_pylist()
        return {row["name"]: row["facts"] for row in rows}

    def facts_of(self, name: str) -> str | None:
        """The same of one video, in the newest version of the table; None where it is not there."""
        with self._lock:
            self._table.checkout_latest()
        rows = self._scan(["facts"], name).to_pylist()
        return str(rows[-1]["facts"]) if rows else None

    def read(self, name: str) -> FeatureTrack:
        """The features of a video; those written last, should two processes have written them at one moment.

        Raises:
            DecodeError: If there are none of it, or the table cannot be read.
        """
        rows = self._scan(["facts", "features"], name)
        if not rows.num_rows:
            raise DecodeError(f"{self._folder}:{name}", "there are no features of it in the table")
        rows = rows.slice(rows.num_rows - 1)
        values = rows["features"].combine_chunks().flatten().flatten().to_numpy(zero_copy_only=False)
        steps = torch.from_numpy(np.array(values).reshape(-1, self.dim))
        rate = json.loads(rows["facts"][0].as_py())["features_per_second"]
        return FeatureTrack(steps, float(rate))

    def write(self, name: str, features: npt.NDArray[np.floating], facts: str) -> None:
        """Keep the features of a video, in the place of any that are there.

        Args:
            name: The video.
            features: (n, F) in the type of the table.
            facts: What is known of them, as JSON; at least `features_per_second`.
        """
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
        lists = pa.ListArray.from_arrays([0, len(features)], vectors)
        schema = self._table.schema
        rows = pa.table({"name": [name], "facts": [facts], "features": lists}, schema=schema)
        with self._lock:
            self._table.checkout_latest()  # another process may have written it, or dropped our version
            merge = self._table.merge_insert("name").when_matched_update_all()
            merge.when_not_matched_insert_all().execute(rows)
            self._num_commits += 1
            if self._num_commits % COMMITS_PER_COMPACTION == 0:
                self.compact()

    def compact(self) -> None:
        """Join the small files of many commits and drop old versions."""
        # Another process may have written meanwhile; what it wrote counts, and the pieces stay for the next.
        with contextlib.suppress(RuntimeError, OSError):
            self._table.optimize(cleanup_older_than=OLD_VERSIONS_KEPT)

    def _scan(self, columns: list[str], name: str | None) -> pa.Table:
        """Rows in the order in which they were written; in the newest version where ours was dropped."""
        try:
            return self._scan_once(columns, name)
        except (RuntimeError, OSError):  # another process joined the pieces and dropped what we had open
            pass
        try:
            with self._lock:
                self._table.checkout_latest()
            return self._scan_once(columns, name)
        except (RuntimeError, OSError, ValueError) as error:
            reason = str(error).split("\n")[0]
            raise DecodeError(self._folder, f"the table of features cannot be read: {reason}") from error

    def _scan_once(self, columns: list[str], name: str | None) -> pa.Table:
        search = self._table.search()
        if name is not None:
            search = search.where("name = '" + name.replace("'", "''") + "'")
        return search.select(columns).to_arrow()


def _schema(dim: int, dtype: str) -> pa.Schema:
    vector = pa.list_(pa.float16() if dtype == "float16" else pa.float32(), dim)
    return pa.schema(
        [
            pa.field("name", pa.string(), nullable=False),
            pa.field("facts", pa.string(), nullable=False),
            pa.field("features", pa.list_(vector), nullable=False),
        ]
    )
