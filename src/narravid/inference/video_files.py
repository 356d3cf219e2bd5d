"""Which files a user means by a list of files and folders.

A folder means every file below it with a known video suffix; a file named itself is taken whatever its
suffix. Symbolic links are followed, and a file is known by its real path, so however many names lead to it,
it counts once. Hidden files and folders (names starting with a dot) inside a given folder are left alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from narravid.video.suffixes import VIDEO_SUFFIXES

__all__ = ["FileState", "FoundFiles", "find_video_files", "is_gone", "lies_below"]


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells an unchanged file from a changed one without reading it.

    Attributes:
        size_bytes: Its length.
        modified_ns: Time of the last change, in nanoseconds since 1970.
    """

    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: str | Path) -> FileState:
        """The state of a file now.

        Raises:
            OSError: If the file cannot be looked at.
        """
        status = os.stat(path)
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(slots=True)
class FoundFiles:
    """What a list of files and folders came to.

    Attributes:
        videos: Real absolute paths with the state of each file, in the order found (folders by name).
        problems: (path, reason) of what was named but is not there, cannot be read or holds no video.
        passed_over: Files of folders whose suffix is not a video's.
        num_repeated: How many times a path led to a file that was already in the list.
    """

    videos: dict[str, FileState] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    num_repeated: int = 0


def find_video_files(paths: Iterable[str | Path]) -> FoundFiles:
    """Collect the video files that `paths` name.

    Args:
        paths: Files (any suffix) and folders (searched to the bottom).

    Returns:
        The files and what was left out, with reasons. Nothing is raised for a path that is not there: one
        wrong name in a long list must not cost the rest.
    """
    found = FoundFiles()
    visited_folders: set[str] = set()
    for path in paths:
        real = os.path.realpath(path)
        if os.path.isdir(real):
            _add_folder(found, str(path), real, visited_folders)
        else:
            _add_file(found, str(path), real)
    return found


def lies_below(path: str, roots: Iterable[str]) -> bool:
    """Whether `path` is one of `roots` or lies below one of them; all are real absolute paths.

    >>> lies_below("/videos/cats/a.mp4", ["/videos"]), lies_below("/videos2/a.mp4", ["/videos"])
    (True, False)
    """
    return any(Path(path).is_relative_to(root) for root in roots)


def is_gone(path: str) -> bool:
    """Whether no file is left at `path`; one that merely cannot be looked at (permissions) is not gone."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def _add_file(found: FoundFiles, given: str, real: str) -> None:
    if real in found.videos:
        found.num_repeated += 1
        return
    try:
        state = FileState.of(real)
    except OSError as error:
        found.problems.append((_printable(given), (error.strerror or str(error)).lower()))
        return
    if _printable(real) != real:
        found.problems.append((_printable(given), "the file name is not valid Unicode; rename the file"))
    elif not os.path.isfile(real):
        found.problems.append((given, "neither a file nor a folder"))
    elif state.size_bytes == 0:
        found.problems.append((given, "empty file"))
    else:
        found.videos[real] = state


def _add_folder(found: FoundFiles, given: str, real: str, visited_folders: set[str]) -> None:
    if real in visited_folders:
        found.num_repeated += 1
        return
    before = len(found.videos) + len(found.problems) + found.num_repeated
    for path in _walk(real, visited_folders, found.problems):
        if Path(path).suffix.lower() in VIDEO_SUFFIXES:
            _add_file(found, path, os.path.realpath(path))
        else:
            found.passed_over.append(_printable(path))
    if len(found.videos) + len(found.problems) + found.num_repeated == before:
        found.problems.append((given, "no file with a known video suffix in this folder"))


def _printable(path: str) -> str:
    """The path as text that can be written anywhere: bytes that are no UTF-8 become question marks."""
    return os.fsencode(path).decode("utf-8", errors="replace")


def _walk(folder: str, visited_folders: set[str], problems: list[tuple[str, str]]) -> Iterator[str]:
    """The files below a folder by name; links are followed, each real folder is visited once."""
    if folder in visited_folders:
        return
    visited_folders.add(folder)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        problems.append((_printable(folder), (error.strerror or str(error)).lower()))
        return
    for name in names:
        if name.startswith("."):
            continue
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            yield from _walk(os.path.realpath(path), visited_folders, problems)
        else:
            yield path
