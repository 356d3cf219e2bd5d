"""Which files an index lacks, and why: the table that lies beside its clips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from narravid.bad_items import BAD_ITEMS_NAME, BadItems
from narravid.inference.clip_table import IndexedFile
from narravid.inference.video_files import FileState, is_gone

__all__ = ["read_bad_items", "write_bad_items"]


def read_bad_items(folder: Path) -> BadItems:
    """The table in an index folder; empty where there is none.

    Raises:
        AnnotationError: If somebody made something else of it.
    """
    return BadItems.read(folder / BAD_ITEMS_NAME)


def write_bad_items(
    folder: Path, known: BadItems, *, met: Iterable[tuple[str, str]], indexed: Mapping[str, IndexedFile]
) -> None:
    """Write what is bad now: what was met in this run, and what was known before and has not been mended.

    A file leaves the table when the index holds all of it as it is now, or when it is gone.

    Args:
        folder: The index folder.
        known: The table as it was.
        met: (path, reason) of what could not be indexed, or not whole, in this run.
        indexed: The files in the index, by real path.
    """
    bad = BadItems()
    for path, reason in known.reasons.items():
        if not (is_gone(path) or _is_mended(path, indexed.get(path))):
            bad.reasons[path], bad.times[path] = reason, known.times[path]
    for path, reason in met:
        bad.times.setdefault(path, known.times[path])
        bad.add(path, reason)
    bad.write(folder / BAD_ITEMS_NAME)


def _is_mended(path: str, indexed: IndexedFile | None) -> bool:
    if indexed is None or indexed.num_clips < indexed.num_windows:
        return False
    try:
        return indexed.state == FileState.of(path)
    except OSError:
        return False
