"""The folder where published files are kept, and what is recorded of each: its SHA-256 at first sight.

It is `$NARRAVID_HOME`, else `narravid` in `$XDG_CACHE_HOME` or `~/.cache`. A published name has a folder of
its own in it, `published/NAME`, with its files and `files.json`, the records.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from narravid.config import from_dict
from narravid.errors import ConfigError, DownloadError
from narravid.files import file_sha256, read_json, write_json
from narravid.models.catalogue import Entry

__all__ = [
    "Record",
    "check_stored",
    "default_cache",
    "entry_folder",
    "is_cached",
    "read_records",
    "record_file",
]

HOME_VARIABLE = "NARRAVID_HOME"
RECORDS_FILE = "files.json"


@dataclass(frozen=True)
class Record:
    """What was seen of a file when it was stored.

    Attributes:
        sha256: Of its content, in hexadecimal.
        num_bytes: Its size.
        origin: Address or path that it came from.
        modified_ns: Its time of change when its hash was last checked, in nanoseconds; None for an archive,
            which is not kept.
    """

    sha256: str
    num_bytes: int
    origin: str
    modified_ns: int | None = None


def default_cache() -> Path:
    """The folder of everything that Narravid keeps for a user.

    Raises:
        ConfigError: If none is named and the user has no home.
    """
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "narravid"
    except RuntimeError as error:  # a user without a home, as in some containers
        raise ConfigError(
            f"there is no home folder for the cache; set {HOME_VARIABLE} to a folder"
        ) from error


def entry_folder(entry: Entry, cache: Path | None = None) -> Path:
    """Where the files of a published name lie, or will lie."""
    return (default_cache() if cache is None else cache) / "published" / entry.name


def is_cached(entry: Entry, cache: Path | None = None) -> bool:
    """Whether all files of a published name are there, those of its assets apart."""
    folder = entry_folder(entry, cache)
    return all((folder / name).is_file() for item in entry.items for name in item.kept_names)


def read_records(folder: Path) -> dict[str, Record]:
    """What is recorded of the files in a folder, by name.

    Raises:
        DownloadError: If the records are damaged; says to delete them.
    """
    path = folder / RECORDS_FILE
    if not path.is_file():
        return {}
    try:
        said = read_json(path)
        return {str(name): from_dict(Record, fields, source=str(path)) for name, fields in said.items()}
    except (ValueError, AttributeError, TypeError, ConfigError) as error:
        raise DownloadError(f"{path} is damaged; delete {folder} and download again ({error})") from error


def record_file(folder: Path, name: str, record: Record) -> None:
    """Add a record to those of a folder, or replace it."""
    records = {**read_records(folder), name: record}
    write_json(folder / RECORDS_FILE, {key: asdict(value) for key, value in sorted(records.items())})


def check_stored(path: Path, *, thorough: bool = True) -> Record | None:
    """Make sure that a stored file is still the one that was recorded.

    Args:
        path: The file.
        thorough: Compute its hash again; else only where its size or time of change is not the recorded one.

    Returns:
        Its record; None if there is no such file or nothing is recorded of it.

    Raises:
        DownloadError: If it has changed.
    """
    record = read_records(path.parent).get(path.name)
    if record is None or not path.is_file():
        return None
    status = path.stat()
    same_stamp = (status.st_size, status.st_mtime_ns) == (record.num_bytes, record.modified_ns)
    if same_stamp and not thorough:
        return record
    if status.st_size != record.num_bytes or file_sha256(path) != record.sha256:
        raise DownloadError(
            f"{path} is not what was stored: {status.st_size:,} bytes, recorded {record.num_bytes:,} "
            f"with SHA-256 {record.sha256}; delete it and download it again"
        )
    if not same_stamp and os.access(path.parent, os.W_OK):
        record = replace(record, modified_ns=status.st_mtime_ns)
        record_file(path.parent, path.name, record)
    return record
