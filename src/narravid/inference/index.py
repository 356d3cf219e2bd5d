"""The video index: a folder with the embedded clips of videos, filled from files and searched by meaning.

The folder holds `index.json` (which model made the vectors, how videos were cut; written last when the index
is made, so that its presence means a complete index) and `clips.lance` (the clips, see `clip_table`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narravid.bad_items import MAX_BAD_SHARE
from narravid.errors import IndexMismatchError
from narravid.inference.clip_table import ClipRows, ClipTable, IndexedFile
from narravid.inference.embedder import Embedder
from narravid.inference.index_bad_items import read_bad_items, write_bad_items
from narravid.inference.index_folder import (
    IndexInfo,
    has_info,
    model_place,
    read_info,
    refuse_foreign_files,
    write_info,
    write_lock,
)
from narravid.inference.indexing import IndexReport, index_videos
from narravid.inference.moments import merge_moments
from narravid.inference.video_clips import ClipDecoder, embed_video
from narravid.inference.video_files import FoundFiles, find_video_files, is_gone, lies_below
from narravid.protocols import PixelDualEncoder
from narravid.types import Hit, Span

__all__ = ["VideoIndex"]

NUM_CANDIDATES = 1000
"""Best windows that are looked at when moments are merged; far more than any list of moments needs."""
MAX_RESIDENT_BYTES = 2 << 30


class VideoIndex:
    """An index folder in use. Made by `create`, `open` or `open_or_create`.

    Args:
        folder: The index folder.
        info: What its `index.json` says.
        table: Its clips.
        max_resident_bytes: Vectors are kept in memory for searching up to this size, which is several times
            faster than scanning the files for each query; a larger index is scanned.
    """

    def __init__(
        self, folder: Path, info: IndexInfo, *, table: ClipTable, max_resident_bytes: int = MAX_RESIDENT_BYTES
    ) -> None:
        self._folder = folder
        self._info = info
        self._table = table
        self._max_resident_bytes = max_resident_bytes
        self._resident: ClipRows | None = None

    @classmethod
    def create(cls, folder: Path, model: PixelDualEncoder, *, model_path: str | Path) -> VideoIndex:
        """Make an empty index for the vectors of `model`, in a folder that is new or empty.

        Args:
            folder: The index folder.
            model: The model that will fill it. Windows are as long as its clips and start half a clip apart.
            model_path: Where the model was loaded from; kept so that a search needs only the index.

        Raises:
            ValueError: If the folder is a file, an index already or holds something else.
        """
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is a file; an index needs a folder")
        folder.mkdir(parents=True, exist_ok=True)
        with write_lock(folder):
            refuse_foreign_files(folder)
            clip_seconds = model.clip_spec.duration_seconds
            info = IndexInfo(
                model_path=model_place(model_path),
                weights_hash=model.weights_hash,
                embed_dim=model.embed_dim,
                similarity=model.similarity,
                clip_seconds=clip_seconds,
                stride_seconds=clip_seconds / 2,
            )
            table = ClipTable.create(folder, model.embed_dim)
            if table.num_clips > 0:
                raise ValueError(
                    f"{folder} holds clips but no index.json; bring that back or use a new folder"
                )
            write_info(folder, info)
        return cls(folder, info, table=table)

    @classmethod
    def open(cls, folder: Path, *, max_resident_bytes: int = MAX_RESIDENT_BYTES) -> VideoIndex:
        """Open an existing index.

        Args:
            folder: The index folder.
            max_resident_bytes: See the class.

        Raises:
            ValueError: If the folder is no index or of another layout.
        """
        info = read_info(folder)
        return cls(folder, info, table=ClipTable.open(folder), max_resident_bytes=max_resident_bytes)

    @classmethod
    def open_or_create(cls, folder: Path, model: PixelDualEncoder, *, model_path: str | Path) -> VideoIndex:
        """Open the index for `model`, or make it if there is none.

        Raises:
            IndexMismatchError: If another model made the index.
        """
        if not has_info(folder):
            return cls.create(folder, model, model_path=model_path)
        index = cls.open(folder)
        index.check_model(model)
        index._remember_model_place(model_path)
        return index

    @property
    def info(self) -> IndexInfo:
        """Which model made the vectors, and how videos were cut."""
        return self._info

    @property
    def num_clips(self) -> int:
        """How many clips the index holds."""
        return self._table.num_clips

    def files(self) -> dict[str, IndexedFile]:
        """The videos in the index, by real path."""
        return self._table.files()

    def rows(self) -> ClipRows:
        """Every clip with its vector, in order of path and time."""
        return self._table.load()

    def check_model(self, model: PixelDualEncoder) -> None:
        """Refuse a model other than the one that made the index: their vectors have nothing in common.

        Raises:
            IndexMismatchError: If the hashes differ.
        """
        if model.weights_hash != self._info.weights_hash:
            raise IndexMismatchError(
                f"{self._folder} was made by the model {self._info.weights_hash} ({self._info.model_path}), "
                f"the model in use is {model.weights_hash}: use that model (--model), or index the videos "
                "again into a new folder"
            )

    def add(
        self,
        paths: Iterable[str | Path] | FoundFiles,
        embedder: Embedder,
        *,
        decoder: ClipDecoder,
        num_workers: int = 1,
        commit_seconds: float = 10.0,
        max_bad_share: float = MAX_BAD_SHARE,
    ) -> IndexReport:
        """Add the videos that are new or changed since they were indexed.

        What is bad is kept in the table `bad_items.csv` of the folder until it is mended or gone.

        Args:
            paths: Files and folders, or what `find_video_files` made of them.
            embedder: Holds the model that made this index.
            decoder: Reads the videos.
            num_workers: Videos that are read at once, each in a thread of its own that calls the decoder.
            commit_seconds: How often finished videos are written: the work that a kill can cost.
            max_bad_share: Share of the files that may be bad; judged only where there are a thousand or more.

        Returns:
            What was done, with the files left out and why. A file that was indexed before and can no longer
            be read keeps its earlier clips.

        Raises:
            IndexMismatchError: If the embedder holds another model.
            TooManyBadItemsError: If more files are bad; what is finished is written.
            NarravidError: If another process is writing to the index.
        """
        self.check_model(embedder.model)
        found = paths if isinstance(paths, FoundFiles) else find_video_files(paths)
        with write_lock(self._folder):
            self._refresh()
            known = read_bad_items(self._folder)
            report = IndexReport(
                failed=list(found.problems), passed_over=found.passed_over, num_repeated=found.num_repeated
            )
            stride = self._info.stride_seconds
            embed = partial(embed_video, embedder=embedder, decoder=decoder, stride_seconds=stride)
            try:
                index_videos(
                    self._table,
                    found.videos,
                    embed_video=embed,
                    report=report,
                    commit_seconds=commit_seconds,
                    num_workers=num_workers,
                    max_bad_share=max_bad_share,
                )
            finally:
                self._resident = None
                met = report.failed + report.partial
                write_bad_items(self._folder, known, met=met, indexed=self.files())
        return report

    def prune(self, paths: Iterable[str | Path]) -> list[str]:
        """Remove the clips of files that are gone, below the given places only.

        Files elsewhere stay, gone or not: a disk that is not mounted today must not empty the index.

        Args:
            paths: Files and folders; they need not exist any more.

        Returns:
            The paths whose clips were removed.

        Raises:
            NarravidError: If another process is writing to the index.
        """
        roots = [os.path.realpath(path) for path in paths]
        with write_lock(self._folder):
            self._refresh()
            gone = [path for path in self._table.files() if lies_below(path, roots) and is_gone(path)]
            if gone:
                self._table.remove(gone)
                self._table.compact()
        self._resident = None
        return gone

    def search(self, query: npt.NDArray[np.float32], *, top: int = 10) -> list[Hit]:
        """The moments most similar to a query; exact, every clip is compared.

        Neighbouring windows are merged into moments by the rule of `inference.moments`.

        Args:
            query: (D,) float32, from `Embedder.embed_text` or `embed_clips`.
            top: How many moments.

        Returns:
            At most `top` moments, best first; equal scores in order of path and time.

        Raises:
            ValueError: If the query has another length or is not finite, `top` is below 1, or the index is
                empty.
        """
        if query.shape != (self._info.embed_dim,) or not np.isfinite(query).all():
            raise ValueError(f"query must be {self._info.embed_dim} finite numbers, got shape {query.shape}")
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")
        self._refresh()
        if self.num_clips == 0:
            raise ValueError(f"the index {self._folder} is empty; add videos with `narravid index`")
        query = np.ascontiguousarray(query, dtype=np.float32)
        return merge_moments(self._best_windows(query, max(NUM_CANDIDATES, 10 * top)), top)

    def _best_windows(self, query: npt.NDArray[np.float32], count: int) -> list[Hit]:
        if self._resident is None and self.num_clips * self._info.embed_dim * 4 <= self._max_resident_bytes:
            self._resident = self._table.load()
        rows = self._resident if self._resident is not None else self._table.nearest(query, count)
        scores = rows.vectors @ query
        return [
            Hit(
                rows.paths[rows.path_numbers[row]],
                Span(float(rows.start_seconds[row]), float(rows.end_seconds[row])),
                float(scores[row]),
            )
            for row in _best_rows(scores, count)
        ]

    def _refresh(self) -> None:
        if self._table.refresh():
            self._resident = None

    def _remember_model_place(self, model_path: str | Path) -> None:
        """The same model under a new path: the old one may be gone tomorrow."""
        place = model_place(model_path)
        if place != self._info.model_path:
            self._info = replace(self._info, model_path=place)
            write_info(self._folder, self._info)


def _best_rows(scores: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """Row numbers of the `count` largest scores, largest first, equal ones in order of row."""
    if count >= len(scores):
        return np.argsort(-scores, kind="stable")
    threshold = np.partition(scores, len(scores) - count)[len(scores) - count]
    above = np.flatnonzero(scores > threshold)
    equal = np.flatnonzero(scores == threshold)[: count - len(above)]
    rows = np.concatenate([above, equal])
    return rows[np.argsort(-scores[rows], kind="stable")]
