"""The table of embedded clips on disk: one LanceDB table, one row per clip.

Everything known of a video lies in its rows and a video's rows arrive in one LanceDB commit (a new version of
the table, put in place by a rename), so a process killed at any moment leaves each video either wholly in the
table or not at all, and there is no second place that could disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from narravid.inference.video_files import FileState
from narravid.types import Span

__all__ = ["ClipRows", "ClipTable", "IndexedFile", "VideoClips"]

TABLE_NAME = "clips"
PATHS_PER_DELETE = 500
OLD_VERSIONS_KEPT = timedelta(minutes=1)
"""How long replaced versions stay, for processes that are reading one; LanceDB's own default is a week."""


@dataclass(frozen=True, slots=True)
class VideoClips:
    """The embedded clips of one video.

    Attributes:
        path: Real absolute path.
        state: The file's state when it was read.
        num_windows: Windows the video was cut into.
        window_numbers: Which of them could be read, N numbers, ascending.
        spans: Their N spans.
        vectors: (N, D) float32.
    """

    path: str
    state: FileState
    num_windows: int
    window_numbers: tuple[int, ...]
    spans: tuple[Span, ...]
    vectors: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.window_numbers)
        if count == 0 or len(self.spans) != count or self.vectors.shape[:1] != (count,):
            raise ValueError(
                f"{self.path}: need at least one window and as many spans and vectors, got {count}, "
                f"{len(self.spans)} and {self.vectors.shape}"
            )


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """What the table holds of one video.

    Attributes:
        state: The file's state when it was indexed.
        num_clips: Its rows.
        num_windows: Windows it was cut into; more than `num_clips` when some could not be read.
    """

    state: FileState
    num_clips: int
    num_windows: int


@dataclass(frozen=True, slots=True)
class ClipRows:
    """Rows in memory, in order of path and time.

    Attributes:
        paths: The distinct paths, sorted.
        path_numbers: (N,) int64, each row's place in `paths`.
        start_seconds: (N,) float64.
        end_seconds: (N,) float64.
        vectors: (N, D) float32.
    """

    paths: tuple[str, ...]
    path_numbers: npt.NDArray[np.int64]
    start_seconds: npt.NDArray[np.float64]
    end_seconds: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.path_numbers)


class ClipTable:
    """The rows of an index. Made by `create` or `open`.

    Args:
        table: The LanceDB table.
    """

    def __init__(self, table: Any) -> None:  # noqa: ANN401 - LanceDB carries no usable types
        self._table = table

    @classmethod
    def create(cls, folder: Path, embed_dim: int) -> ClipTable:
        """Make an empty table, or open the empty one that a killed run left.

        Args:
            folder: The index folder.
            embed_dim: D, length of the vectors.
        """
        connection = lancedb.connect(folder)
        return cls(connection.create_table(TABLE_NAME, schema=_schema(embed_dim), exist_ok=True))

    @classmethod
    def open(cls, folder: Path) -> ClipTable:
        """Open the table of an index folder.

        Raises:
            ValueError: If there is none.
        """
        return cls(lancedb.connect(folder).open_table(TABLE_NAME))

    @property
    def num_clips(self) -> int:
        """How many rows there are."""
        return int(self._table.count_rows())

    @property
    def embed_dim(self) -> int:
        """Length of the vectors."""
        return int(self._table.schema.field("vector").type.list_size)

    def refresh(self) -> bool:
        """Move on to the newest version, which another process may have written; True if there is one."""
        before = self._table.version
        self._table.checkout_latest()
        return bool(self._table.version != before)

    def files(self) -> dict[str, IndexedFile]:
        """The videos that have rows, by path."""
        columns = ["path", "size_bytes", "modified_ns", "num_windows"]
        grouped = self._scan(columns).group_by(columns).aggregate([([], "count_all")])
        return {
            row["path"]: IndexedFile(
                FileState(row["size_bytes"], row["modified_ns"]), row["count_all"], row["num_windows"]
            )
            for row in sorted(grouped.to_pylist(), key=lambda row: str(row["path"]))
        }

    def commit(self, videos: Sequence[VideoClips], *, replace: bool) -> None:
        """Add the rows of some videos in one step: afterwards either all of them are there or none.

        Args:
            videos: Videos with their clips, each path once.
            replace: Whether some may have rows already, which then give way in the same step. Adding without
                looking for them is faster.
        """
        if not videos:
            return
        rows = _rows(videos, self.embed_dim)
        if not replace:
            self._table.add(rows)
            return
        merge = self._table.merge_insert(["path", "window_number"])
        merge = merge.when_matched_update_all().when_not_matched_insert_all()
        merge.when_not_matched_by_source_delete(_path_filter([video.path for video in videos])).execute(rows)

    def remove(self, paths: Iterable[str]) -> None:
        """Drop the rows of some videos."""
        paths = list(paths)
        for first in range(0, len(paths), PATHS_PER_DELETE):
            self._table.delete(_path_filter(paths[first : first + PATHS_PER_DELETE]))

    def load(self) -> ClipRows:
        """Read every row into memory."""
        table = self._scan(["path", "window_number", "start_seconds", "end_seconds", "vector"])
        return _clip_rows(table, self.embed_dim)

    def nearest(self, query: npt.NDArray[np.float32], count: int) -> ClipRows:
        """The rows with the largest dot products, found by LanceDB's exact scan of the files.

        Args:
            query: (D,) float32.
            count: How many rows.

        Returns:
            At most `count` rows.
        """
        search = self._table.search(query, vector_column_name="vector").distance_type("dot")
        search = search.bypass_vector_index().limit(count)
        columns = ["path", "window_number", "start_seconds", "end_seconds", "vector", "_distance"]
        return _clip_rows(search.select(columns).to_arrow(), self.embed_dim)

    def compact(self) -> None:
        """Join the small files of many commits and drop old versions. Only while no other process writes."""
        self._table.optimize(cleanup_older_than=OLD_VERSIONS_KEPT, delete_unverified=True)

    def _scan(self, columns: list[str]) -> pa.Table:
        return self._table.search().select(columns).to_arrow()


def _schema(embed_dim: int) -> pa.Schema:
    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("size_bytes", pa.int64(), nullable=False),
            pa.field("modified_ns", pa.int64(), nullable=False),
            pa.field("num_windows", pa.int32(), nullable=False),
            pa.field("window_number", pa.int32(), nullable=False),
            pa.field("start_seconds", pa.float64(), nullable=False),
            pa.field("end_seconds", pa.float64(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), embed_dim), nullable=False),
        ]
    )


def _rows(videos: Sequence[VideoClips], embed_dim: int) -> pa.Table:
    vectors = np.concatenate([video.vectors for video in videos]).astype(np.float32, copy=False)
    if vectors.shape[1] != embed_dim:
        raise ValueError(f"the index holds vectors of length {embed_dim}, got {vectors.shape[1]}")
    each = [(video, number, span) for video in videos for number, span in _windows(video)]
    columns = {
        "path": [video.path for video, _, _ in each],
        "size_bytes": [video.state.size_bytes for video, _, _ in each],
        "modified_ns": [video.state.modified_ns for video, _, _ in each],
        "num_windows": [video.num_windows for video, _, _ in each],
        "window_number": [number for _, number, _ in each],
        "start_seconds": [span.start_seconds for _, _, span in each],
        "end_seconds": [span.end_seconds for _, _, span in each],
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), embed_dim),
    }
    return pa.table(columns, schema=_schema(embed_dim))


def _windows(video: VideoClips) -> Iterable[tuple[int, Span]]:
    return zip(video.window_numbers, video.spans, strict=True)


def _clip_rows(table: pa.Table, embed_dim: int) -> ClipRows:
    """Rows in order of path and time: what follows cannot depend on the order of commits."""
    paths, path_numbers = np.unique(np.asarray(table["path"].to_pylist(), dtype=np.str_), return_inverse=True)
    order = np.lexsort((table["window_number"].to_numpy(), path_numbers))
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, embed_dim)
    return ClipRows(
        paths=tuple(str(path) for path in paths),
        path_numbers=path_numbers[order].astype(np.int64),
        start_seconds=table["start_seconds"].to_numpy()[order],
        end_seconds=table["end_seconds"].to_numpy()[order],
        vectors=vectors[order],
    )


def _path_filter(paths: Sequence[str]) -> str:
    quoted = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    return f"path IN ({quoted})"
