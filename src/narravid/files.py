"""Writing files so that a kill at any moment leaves either the old content or the new, never half of one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

__all__ = [
    "file_sha256",
    "read_json",
    "remove_leftovers",
    "replace_folder",
    "set_aside",
    "write_atomically",
    "write_json",
    "write_text",
]

LEFTOVER = re.compile(r"\.(.+)\.(?:[0-9a-f]{8}-)?\d+\.(partial|previous)")
"""Machine and process, or the process alone as in earlier releases."""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content in hexadecimal, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary neighbour of `path`, flush it to disk, and put it in place.

    Args:
        path: The file to make or replace; its folder is created. Who may read it follows from the umask.
        write: Gets the temporary path and writes the whole content there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _neighbour(path, "partial")
    temporary.unlink(missing_ok=True)
    try:
        temporary.touch()
        permissions = temporary.stat().st_mode
        write(temporary)
        temporary.chmod(permissions)  # some writers replace the file by one that only its owner may read
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new neighbour of `folder`, and put it in place of what is there.

    A folder cannot be renamed over one with files in it, so the old one steps aside, whole, for a moment. A
    kill in that moment leaves it where `set_aside` finds it, and `remove_leftovers` puts it back.

    Args:
        folder: The folder to make or replace; its parent is created.
        write: Gets the new, empty folder and writes everything there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh, previous = _neighbour(folder, "partial"), _neighbour(folder, "previous")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        write(fresh)
        if folder.exists():
            shutil.rmtree(previous, ignore_errors=True)
            folder.rename(previous)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(previous, ignore_errors=True)


def set_aside(folder: Path) -> Path | None:
    """Where the old `folder` lies if a kill came while `replace_folder` exchanged it; None if none did."""
    if folder.exists():
        return None
    return next(
        (path for path, name, kind in _leftovers(folder.parent) if (name, kind) == (folder.name, "previous")),
        None,
    )


def remove_leftovers(folder: Path, *, of: Collection[str] | None = None) -> None:
    """Tidy up in `folder` after a kill: nothing half written stays, what had been set aside comes back.

    Call it only while nobody else writes there.

    Args:
        folder: Where to tidy up.
        of: Names of the files and folders to tidy up after, where others may be at work; None takes all.
    """
    for path, name, kind in _leftovers(folder):
        if of is not None and name not in of:
            continue
        if kind == "previous" and not (folder / name).exists():
            path.rename(folder / name)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write `value` as indented JSON, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """The JSON value in a file.

    Raises:
        ValueError: If the file is not JSON, or nested without end; the message names the file and the place.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def _neighbour(path: Path, kind: str) -> Path:
    """A name that no other process writes to, wherever on a shared file system it runs."""
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    return path.with_name(f".{path.name}.{host}-{os.getpid()}.{kind}")


def _leftovers(folder: Path) -> list[tuple[Path, str, str]]:
    """Path, name and kind of all that killed writers left in `folder`, and that living ones are at."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    matches = [(path, LEFTOVER.fullmatch(path.name)) for path in paths]
    return [(path, match[1], match[2]) for path, match in matches if match]
