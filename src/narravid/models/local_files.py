"""Which of the files that a user has at hand stands for which published one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from narravid.errors import DownloadError
from narravid.models.catalogue import Entry, PublishedItem

__all__ = ["assign_local_files"]


def assign_local_files(
    paths: Sequence[Path], entry: Entry, *, assets: Sequence[Entry] = ()
) -> dict[str, Path]:
    """Tell the given files apart by their names; what still lacks is looked for beside them.

    A file of another name stands for the first file of the entry, which is a model's checkpoint, if no other
    does.

    Args:
        paths: The files.
        entry: What is wanted.
        assets: Entries whose files belong beside it, such as a word list.

    Returns:
        Path by published file name, members of archives included.

    Raises:
        DownloadError: If a file is not there, or it is unclear what it stands for.
    """
    wanted = [name for part in (entry, *assets) for item in part.items for name in _names(item)]
    assigned: dict[str, Path] = {}
    others: list[Path] = []
    for path in paths:
        if not path.is_file():
            raise DownloadError(
                f"{path}: {'is a folder; name the file' if path.is_dir() else 'no such file'}"
            )
        if path.name in wanted:
            assigned[path.name] = path
        else:
            others.append(path)
    first = entry.items[0].file_name
    if others and (len(others) > 1 or first in assigned):
        named = ", ".join(str(path) for path in others)
        raise DownloadError(
            f"unclear what {named} stands for; {entry.name} has files called {', '.join(wanted)}"
        )
    if others:
        assigned[first] = others[0]
    return _beside(assigned, wanted) | assigned


def _names(item: PublishedItem) -> tuple[str, ...]:
    return (item.file_name, *item.members)


def _beside(assigned: Mapping[str, Path], wanted: Sequence[str]) -> dict[str, Path]:
    folders = dict.fromkeys(path.parent for path in assigned.values())
    return {
        name: folder / name for folder in reversed(folders) for name in wanted if (folder / name).is_file()
    }
