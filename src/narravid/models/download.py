"""Bringing published files into the cache: from their addresses in order, or from files that a user has.

A file is put under its name only when it is whole and its size and SHA-256 are those known or recorded.
What is known dead is tried all the same, since such addresses come back; the error names every address and
what it said.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from narravid.errors import CheckpointError, DownloadError
from narravid.locks import hold_lock
from narravid.models.cache import Record, check_stored, entry_folder, is_cached, read_records
from narravid.models.catalogue import Address, Entry, PublishedItem
from narravid.models.catalogue_entries import find_entry
from narravid.models.local_files import assign_local_files
from narravid.models.storing import link_beside, store_item, store_member
from narravid.models.transfer import AddressError, fetch_url, remove_part
from narravid.models.transfer_drive import fetch_drive_file
from narravid.models.transfer_hugging_face import fetch_hugging_face_file

__all__ = ["StoredFile", "download", "download_entry", "published_checkpoint"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredFile:
    """One file in the cache.

    Attributes:
        path: Where it lies.
        record: What is known of it.
        is_new: Whether this call put it there.
    """

    path: Path
    record: Record
    is_new: bool


@dataclass(frozen=True)
class _Job:
    """One entry on its way into the cache.

    Attributes:
        entry: The entry.
        folder: Where its files go.
        local: Files of the user by published name.
        notify: Is told what happens, a line at a time.
    """

    entry: Entry
    folder: Path
    local: dict[str, Path]
    notify: Callable[[str], None]


def download(
    name: str,
    *,
    local_files: Sequence[Path] = (),
    cache: Path | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> list[StoredFile]:
    """Bring the files of a published name into the cache, and those of the assets it needs beside them.

    Files that are there are checked against their recorded SHA-256. One process at a time fetches a name;
    others wait for it and find its files.

    Args:
        name: The published name.
        local_files: Files that the user has, taken in place of downloads; the rest is looked for beside them.
        cache: The cache; by default the user's.
        notify: Is told of licences, dead addresses and waiting, a line at a time.

    Returns:
        Every file, those of assets last.

    Raises:
        ConfigError: If there is no such name.
        DownloadError: If a file cannot be had or is another one; says how to give a local file.
    """
    entry = find_entry(name)
    return download_entry(
        entry,
        assets=[find_entry(asset) for asset in entry.assets],
        local_files=local_files,
        cache=cache,
        notify=notify,
    )


def download_entry(
    entry: Entry,
    *,
    assets: Sequence[Entry] = (),
    local_files: Sequence[Path] = (),
    cache: Path | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> list[StoredFile]:
    """The same for an entry that need not be in the table; see `download`."""
    local = assign_local_files(local_files, entry, assets=assets)
    if entry.licence_notice:
        notify(f"note: {entry.name}: {entry.licence_notice}")
    folder = entry_folder(entry, cache)
    stored = _bring(_Job(entry, folder, local, notify))
    for asset in assets:
        try:
            files = _bring(_Job(asset, entry_folder(asset, cache), local, notify))
        except DownloadError as error:
            raise DownloadError(
                f"{entry.name} is in {folder}, but lacks what belongs to it: {error}"
            ) from error
        stored += files
        for file in files:
            link_beside(file.path, folder / file.path.name)
    return stored


def _bring(job: _Job) -> list[StoredFile]:
    job.folder.mkdir(parents=True, exist_ok=True)
    busy = f"another process is bringing {job.entry.name} into {job.folder}; waiting for it"
    with hold_lock(job.folder, busy=busy, on_wait=lambda: job.notify(busy)):
        job = replace(job, local=_unrecorded(job) | job.local)
        return [file for item in job.entry.items for file in _bring_item(job, item)]


def _unrecorded(job: _Job) -> dict[str, Path]:
    """Files that somebody put into the folder by hand."""
    names = [name for item in job.entry.items for name in item.kept_names]
    known = read_records(job.folder)
    return {name: job.folder / name for name in names if name not in known and (job.folder / name).is_file()}


def _bring_item(job: _Job, item: PublishedItem) -> list[StoredFile]:
    paths = [job.folder / name for name in item.kept_names]
    found = [record for record in map(check_stored, paths) if record is not None]
    if len(found) == len(paths):
        return [StoredFile(path, record, is_new=False) for path, record in zip(paths, found, strict=True)]
    if not _take_local(job, item):
        _fetch(job, item)
    for address in item.addresses:
        remove_part(_part_path(job.folder, item, address))
    records = read_records(job.folder)
    return [StoredFile(path, records[path.name], is_new=True) for path in paths]


def _take_local(job: _Job, item: PublishedItem) -> bool:
    """Store what the user has of an item; False if that is not all of it."""
    given = (item.file_name,) if item.file_name in job.local else item.members
    if not given or not all(name in job.local for name in given):
        return False
    for name in given:
        source = job.local[name]
        try:
            if name == item.file_name:
                store_item(item, source, job.folder, origin=str(source.resolve()))
            else:
                store_member(name, source, job.folder, origin=str(source.resolve()))
        except DownloadError as error:
            raise DownloadError(f"{source}: {error}") from error
    return True


def _fetch(job: _Job, item: PublishedItem) -> None:
    """Try the addresses in order, and store what the first good one gives."""
    answers = []
    for address in item.addresses:
        part = _part_path(job.folder, item, address)
        try:
            _fetch_from(address, item, part)
            _store_part(item, part, job.folder, origin=address.url)
        except AddressError as error:
            dead = f"; known to be dead since {address.dead_since}" if address.dead_since else ""
            answers.append(f"{address.url} ({error}{dead})")
            job.notify(f"{item.file_name}: {answers[-1]}")
        else:
            return
    size = f" of {item.num_bytes:,} bytes" if item.num_bytes else ""
    raise DownloadError(
        f"no address gives {item.file_name} of {job.entry.name}: {'; '.join(answers)}; if you have a "
        f"copy{size}: narravid download {job.entry.name} --from FILE"
    )


def _part_path(folder: Path, item: PublishedItem, address: Address) -> Path:
    """Where a download from an address grows; one from another may be another version of the file."""
    place = hashlib.sha256(address.location.encode()).hexdigest()[:8]
    return folder / f".{item.file_name}.{place}.part"


def _fetch_from(address: Address, item: PublishedItem, part: Path) -> None:
    if not address.automatic:
        raise AddressError("cannot be fetched by a program: open it in a browser")
    if address.kind == "drive_file":
        fetch_drive_file(address.location, part, expected_bytes=item.num_bytes, description=item.file_name)
    elif address.kind == "hugging_face":
        fetch_hugging_face_file(*address.hugging_face_file, part)
    else:
        fetch_url(address.location, part, expected_bytes=item.num_bytes, description=item.file_name)


def _store_part(item: PublishedItem, part: Path, folder: Path, *, origin: str) -> None:
    try:
        store_item(item, part, folder, origin=origin)
    except DownloadError as error:
        remove_part(part)
        raise AddressError(f"what came is {error}") from error


def published_checkpoint(name: str, *, fetch: bool = False) -> Path:
    """The checkpoint file of a published model, from the user's cache.

    Args:
        name: The published name.
        fetch: Download what is not there.

    Returns:
        The file, which is the one that was stored; its word list or tokenizer lies beside it.

    Raises:
        ConfigError: If there is no such name.
        CheckpointError: If it is no model, or not in the cache; says how to download it.
        DownloadError: If it cannot be had, or has changed in the cache.
    """
    entry = find_entry(name)
    if entry.kind != "model":
        raise CheckpointError(name, f"this published name stands for {entry.kind}, not for a model")
    assets = [find_entry(asset) for asset in entry.assets]
    if fetch and not all(map(is_cached, (entry, *assets))):
        download(name, notify=logger.warning)
    path = entry_folder(entry) / entry.items[0].file_name
    if not path.is_file():
        raise CheckpointError(
            name,
            f"not in the cache ({path.parent}): run `narravid download {name}` first, or with --from FILE if "
            "you have the file",
        )
    check_stored(path, thorough=False)
    for asset in assets:
        for kept in (kept for item in asset.items for kept in item.kept_names):
            source = entry_folder(asset) / kept
            if source.is_file():
                check_stored(source, thorough=False)
                link_beside(source, path.parent / kept)
    return path
