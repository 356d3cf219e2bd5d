"""The memory of a check: which files were found whole, so that one that was stopped goes on where it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

from narravid.inference.video_files import FileState

__all__ = ["CheckedFiles", "WholeFile"]


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A file that was found whole.

    Attributes:
        state: What it was then.
        duration_seconds: Its length.
        was_decoded: Whether all of it was decoded, not samples only.
    """

    state: FileState
    duration_seconds: float
    was_decoded: bool


class CheckedFiles:
    """The files found whole; each is appended to a file as it is found. Use as a context manager.

    Bad files are not kept: there are few of them, and what made them bad may be gone the next time.

    Args:
        path: JSON lines; made when it is not there. A line that a kill left incomplete is passed over.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[str, WholeFile] = {}
        self._output: TextIO | None = None

    def __enter__(self) -> CheckedFiles:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._output = self._path.open("a+", encoding="utf-8")
        self._output.seek(0)
        ends_whole = True
        for line in self._output:
            ends_whole = line.endswith("\n")
            self._take(line)
        if not ends_whole:
            self._output.write("\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._output is not None:
            self._output.close()

    def __len__(self) -> int:
        return len(self._files)

    def find(self, path: str, state: FileState, *, decoded: bool) -> WholeFile | None:
        """What is known of a file that has not changed since; None if it is to be checked.

        Args:
            path: Its real path.
            state: What it is now.
            decoded: Whether only a check that decoded all of it counts.
        """
        known = self._files.get(path)
        if known is None or known.state != state or (decoded and not known.was_decoded):
            return None
        return known

    def add(self, path: str, file: WholeFile) -> None:
        """Keep a file, at once."""
        self._files[path] = file
        if self._output is None:
            raise ValueError("CheckedFiles is used outside of its with block")
        state = file.state
        row = [path, state.size_bytes, state.modified_ns, file.duration_seconds, file.was_decoded]
        self._output.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._output.flush()

    def _take(self, line: str) -> None:
        try:
            path, size_bytes, modified_ns, duration_seconds, was_decoded = json.loads(line)
        except (ValueError, TypeError):
            return
        state = FileState(size_bytes, modified_ns)
        self._files[path] = WholeFile(state, duration_seconds, was_decoded)
