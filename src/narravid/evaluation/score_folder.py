"""A folder of results that a later run replaces: what was there goes, and what others put there stays."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from narravid.evaluation.trajectory_report import as_utf8
from narravid.files import read_json, write_atomically, write_text

__all__ = ["ScoreFolder"]

FORMAT = 1
DOCUMENT_NAME = "similarities.json"


class ScoreFolder:
    """Collects files, writes them together, and removes those of the run before.

    Which files are its own is said by the JSON document among them. Before anything else is written it names
    both the old and the new files, so that a run that ends in between leaves nothing that the next one would
    not know.

    Args:
        path: The folder.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writers: dict[str, Callable[[Path], object]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """All files, as paths relative to the folder; the document is the last."""
        return (*self._writers, DOCUMENT_NAME)

    def add(self, name: str, write: Callable[[Path], object]) -> None:
        """A file that `write` writes when it is given the path."""
        self._writers[name] = write

    def add_bytes(self, name: str, data: bytes) -> bytes:
        """A file of these bytes, which are given back."""
        self.add(name, partial(write_atomically, write=partial(_write_bytes, data)))
        return data

    def add_table(self, name: str, rows: Iterable[Sequence[object]]) -> None:
        """A CSV file."""
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        self.add(name, partial(write_text, text=as_utf8(text.getvalue())))

    def add_array(self, name: str, values: npt.NDArray[np.float32]) -> None:
        """An array as numpy stores it."""
        self.add(name, partial(write_atomically, write=partial(_write_array, values)))

    def write(self, document: dict[str, Any]) -> None:
        """Write all files, and remove those of an earlier run that are not among them.

        Args:
            document: What the JSON document says, besides the names of the files.

        Raises:
            OSError: If a file cannot be written.
        """
        earlier = self._files_of_earlier_run()
        self._write_document({"unfinished": True}, sorted(earlier | {*self.names}))
        for name, write in self._writers.items():
            write(self.path / name)
        for name in earlier - {*self.names}:
            if (self.path / name).is_file():
                (self.path / name).unlink()
                _remove_emptied(self.path / name, self.path)
        self._write_document(document, self.names)

    def _write_document(self, values: dict[str, Any], names: Sequence[str]) -> None:
        document = {"format": FORMAT, **values, "files": names}
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        write_text(self.path / DOCUMENT_NAME, as_utf8(text) + "\n")

    def _files_of_earlier_run(self) -> set[str]:
        """What an earlier run says that it wrote; nothing outside the folder is believed."""
        try:
            names = read_json(self.path / DOCUMENT_NAME)["files"]
            paths = [PurePosixPath(name) for name in names]
        except (OSError, ValueError, KeyError, TypeError):
            return set()
        return {str(path) for path in paths if not path.is_absolute() and ".." not in path.parts}


def _remove_emptied(path: Path, top: Path) -> None:
    """The folders between a removed file and `top`, as far as nothing else is in them."""
    with contextlib.suppress(OSError):
        for folder in path.relative_to(top).parents:
            if folder != Path():
                (top / folder).rmdir()


def _write_bytes(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def _write_array(values: npt.NDArray[np.float32], path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, values, allow_pickle=False)
