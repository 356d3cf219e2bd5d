"""What networks gave for windows of videos, kept on disk: a second evaluation decodes nothing.

One SQLite file per network lies in the folder. Several processes may use it at once; one that turns out to be
damaged is put aside with a warning and begun anew. Vectors are stored as plain float32 bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import sqlite3
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from narravid.evaluation.window_plans import WindowEncoder, WindowPlan
from narravid.types import VideoInfo

__all__ = ["EmbeddingCache"]

FORMAT = 2
DECODING_VERSION = 1
"""To be raised whenever decoding, sampling, scaling or cropping gives other pixels for the same window: what
was kept before is then no longer found."""
BUSY_SECONDS = 60.0
NAME_LENGTH = 40
VIDEOS_NAME = "videos"
VIDEOS_KEY = f"{FORMAT}.{DECODING_VERSION}"
TABLE = (
    "CREATE TABLE IF NOT EXISTS kept (path BLOB, size INTEGER, modified_ns INTEGER, plan TEXT, "
    "num_rows INTEGER, content BLOB, checksum INTEGER, PRIMARY KEY (path, plan)) WITHOUT ROWID"
)
FIND = "SELECT size, modified_ns, num_rows, content, checksum FROM kept WHERE path = ? AND plan = ?"
KEEP = "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?, ?, ?)"

FloatArray = npt.NDArray[np.float32]
Found = TypeVar("Found")


class EmbeddingCache:
    """Vectors of windows by network, plan and file. Use as a context manager.

    A file whose size or time of change is another one counts as another file.

    Args:
        folder: Where the files of the cache lie; made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, _Opened] = {}
        self._unusable: set[str] = set()
        self._seen: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files. The cache may be used again; it then opens them anew."""
        while self._opened:
            self._opened.popitem()[1].connection.close()

    def find(self, encoder: WindowEncoder, path: str, plan: WindowPlan) -> FloatArray | None:
        """What the network gave for the windows of a file.

        Args:
            encoder: The network.
            path: The video file.
            plan: Its windows.

        Returns:
            (S, F) float32, or None if it is not known.
        """
        row = self._find(_name_of(encoder), path, _key_of(encoder, plan))
        if row is None or not row[0] or row[0] != len(plan.starts):
            return None
        return np.frombuffer(row[1], "<f4").reshape(row[0], -1).astype(np.float32)

    def keep(self, encoder: WindowEncoder, path: str, plan: WindowPlan, *, vectors: FloatArray) -> None:
        """Remember what the network gave for the windows of a file.

        Args:
            encoder: The network.
            path: The video file.
            plan: Its windows; without any there is nothing to keep.
            vectors: (S, F) float32.
        """
        if not plan.starts:
            return
        content = np.ascontiguousarray(vectors, "<f4").tobytes()
        self._keep(_name_of(encoder), path, _key_of(encoder, plan), (len(vectors), content))

    def find_video(self, path: str) -> VideoInfo | None:
        """What a file holds, if it was asked before and has not changed."""
        row = self._find(VIDEOS_NAME, path, VIDEOS_KEY)
        return None if row is None else VideoInfo(**json.loads(row[1]) | {"path": path})

    def keep_video(self, path: str, info: VideoInfo) -> None:
        """Remember what a file holds."""
        self._keep(VIDEOS_NAME, path, VIDEOS_KEY, (0, json.dumps(dataclasses.asdict(info)).encode()))

    def _find(self, name: str, path: str, key: str) -> tuple[int, bytes] | None:
        """Rows and bytes that are kept for a file as it is now."""
        path = os.path.abspath(path)
        try:
            status = os.stat(path)
        except OSError:
            return None  # decoding it will say what is wrong
        self._seen[path] = (status.st_size, status.st_mtime_ns)

        def find(connection: sqlite3.Connection) -> tuple[int, bytes] | None:
            row = connection.execute(FIND, (os.fsencode(path), key)).fetchone()
            if row is None or row[:2] != self._seen[path]:
                return None
            num_rows, content, checksum = row[2:]
            if zlib.crc32(content) != checksum:
                raise sqlite3.DatabaseError(f"what is kept for {path!r} is damaged")
            return num_rows, content

        return self._using(name, find)

    def _keep(self, name: str, path: str, key: str, row: tuple[int, bytes]) -> None:
        path = os.path.abspath(path)
        if path not in self._seen:
            return
        # the state in which the file was looked up: one that was replaced meanwhile is not taken for the new
        values = (os.fsencode(path), *self._seen[path], key, *row, zlib.crc32(row[1]))
        self._using(name, lambda connection: connection.execute(KEEP, values))

    def _using(self, name: str, use: Callable[[sqlite3.Connection], Found]) -> Found | None:
        """Use one of the files; a damaged one is put aside and used anew, an unusable one is passed over."""
        for _ in range(2):
            if name in self._unusable:
                return None
            try:
                return use(self._connection(name))
            except (sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.InterfaceError) as error:
                # the file is whole: it is in use, out of reach, or was not asked as it can be
                self._unusable.add(name)
                warnings.warn(
                    f"the cache {self._path(name)} cannot be used ({error}): going on without", stacklevel=2
                )
            except sqlite3.DatabaseError as error:
                self._put_aside(name, str(error))
        return None

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.sqlite"

    def _connection(self, name: str) -> sqlite3.Connection:
        if name not in self._opened:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise sqlite3.OperationalError(str(error)) from error
            connection = sqlite3.connect(self._path(name), timeout=BUSY_SECONDS, isolation_level=None)
            self._opened[name] = _Opened(connection, self._path(name).stat().st_ino)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(TABLE)
        return self._opened[name].connection

    def _put_aside(self, name: str, reason: str) -> None:
        opened = self._opened.pop(name)
        opened.connection.close()
        path = self._path(name)
        try:
            if path.stat().st_ino != opened.inode:
                return  # another process has done so already, and begun anew
            aside = path.with_name(f"{path.name}.damaged")
            path.replace(aside)
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        except FileNotFoundError:
            return  # it is just being done
        except OSError as error:
            self._unusable.add(name)
            warnings.warn(
                f"the cache {path} is damaged ({reason}) and cannot be put aside ({error}): going on without",
                stacklevel=2,
            )
            return
        warnings.warn(f"the cache {path} is damaged ({reason}): put aside as {aside.name}", stacklevel=2)


@dataclasses.dataclass(frozen=True, slots=True)
class _Opened:
    """A file in use, and which file it was when it was opened."""

    connection: sqlite3.Connection
    inode: int


def _name_of(encoder: WindowEncoder) -> str:
    return re.sub(r"[^\w-]", "_", encoder.weights_hash)[:NAME_LENGTH]


def _key_of(encoder: WindowEncoder, plan: WindowPlan) -> str:
    """Everything that vectors of a file depend on but the file."""
    parts = {
        "format": FORMAT,
        "weights_hash": encoder.weights_hash,
        "output": encoder.output,
        "dtype": encoder.dtype,
        "backend": encoder.backend,
        "device": encoder.device.type,
        "decoding": DECODING_VERSION,
        "plan": dataclasses.asdict(plan),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
