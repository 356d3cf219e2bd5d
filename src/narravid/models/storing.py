"""Putting a whole file into the cache: checked against what is known of it, unpacked if need be, recorded."""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

from narravid.errors import DownloadError
from narravid.files import file_sha256, write_atomically
from narravid.models.archives import unpack_members
from narravid.models.cache import Record, read_records, record_file
from narravid.models.catalogue import PublishedItem

__all__ = ["link_beside", "store_item", "store_member"]


def store_item(item: PublishedItem, source: Path, folder: Path, *, origin: str) -> None:
    """Copy a file under its published name, or take out of it what is to be kept.

    Args:
        item: What it is meant to be.
        source: The file.
        folder: Where to put it.
        origin: Address or path that it came from, for the record.

    Raises:
        DownloadError: If its size or SHA-256 is not that of the published file, or of the one that was
            recorded at first, or it is no readable archive.
    """
    sha256, num_bytes = file_sha256(source), source.stat().st_size
    fault = _fault(item, num_bytes, sha256) or _change(item.file_name, sha256, folder)
    if fault:
        raise DownloadError(f"not the published {item.file_name}: it {fault}")
    if not item.members:
        _copy(source, folder / item.file_name)
        _record_stored(folder / item.file_name, sha256, origin)
        return
    unpack_members(source, item.members, folder)
    for member in item.members:
        _record_stored(folder / member, file_sha256(folder / member), origin)
    record_file(folder, item.file_name, Record(sha256, num_bytes, origin))


def store_member(name: str, source: Path, folder: Path, *, origin: str) -> None:
    """Copy a file that was taken out of its archive before.

    Raises:
        DownloadError: If it is another one than was recorded at first.
    """
    sha256 = file_sha256(source)
    fault = _change(name, sha256, folder)
    if fault:
        raise DownloadError(f"not the {name} of before: it {fault}")
    _copy(source, folder / name)
    _record_stored(folder / name, sha256, origin)


def link_beside(path: Path, target: Path) -> None:
    """Let `target` be the same file as `path`: a second name for it or, where that cannot be, a copy."""
    if target.exists() and filecmp.cmp(path, target):  # by size and time of change, else by content
        return
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:  # another disk, or a file system without such names
        write_atomically(target, lambda temporary: _copy_with_time(path, temporary))


def _fault(item: PublishedItem, num_bytes: int, sha256: str) -> str:
    """What speaks against a file; empty if nothing does."""
    if item.num_bytes is not None and num_bytes != item.num_bytes:
        return f"has {num_bytes:,} bytes, expected {item.num_bytes:,}"
    if not sha256.startswith(item.sha256_start):
        return f"has SHA-256 {sha256}, expected {item.sha256_start}"
    return ""


def _change(name: str, sha256: str, folder: Path) -> str:
    recorded = read_records(folder).get(name)
    if recorded is None or sha256 == recorded.sha256:
        return ""
    return (
        f"has SHA-256 {sha256}, what first came from {recorded.origin} had {recorded.sha256}; to accept "
        f"another file, delete {folder}"
    )


def _copy(source: Path, target: Path) -> None:
    if source.parent == target.parent:  # a part: it lies there already
        with source.open("rb") as file:
            os.fsync(file.fileno())
        source.replace(target)
    elif not (target.exists() and source.samefile(target)):
        write_atomically(target, lambda temporary: _copy_content(source, temporary))


def _copy_with_time(source: Path, target: Path) -> None:
    shutil.copy2(source, target)


def _copy_content(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _record_stored(path: Path, sha256: str, origin: str) -> None:
    status = path.stat()
    record_file(path.parent, path.name, Record(sha256, status.st_size, origin, status.st_mtime_ns))
