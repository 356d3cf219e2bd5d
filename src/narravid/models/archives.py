"""Taking named files out of a zip archive, and nothing else that it holds."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from narravid.errors import DownloadError
from narravid.files import write_atomically

__all__ = ["unpack_members"]

MAX_RATIO = 1100
"""Deflate makes a file at most some 1,030 times smaller; what claims more is made to fill the disk."""


def unpack_members(archive: Path, names: Sequence[str], folder: Path) -> None:
    """Write the files of these names into a folder, whatever folders they have within the archive.

    Args:
        archive: The zip file.
        names: Plain file names; each must be in it exactly once.
        folder: Where to put them.

    Raises:
        DownloadError: If the archive is damaged, lacks one, has it twice, or would not fit on the disk.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            for name in names:
                _unpack(file, _find(file, name, archive), folder / name)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise DownloadError(f"{archive} is not a readable zip archive ({error})") from error
    except RuntimeError as error:  # encrypted
        raise DownloadError(f"{archive} cannot be unpacked: {error}") from error


def _find(file: zipfile.ZipFile, name: str, archive: Path) -> zipfile.ZipInfo:
    found = [
        info for info in file.infolist() if PurePosixPath(info.filename).name == name and not info.is_dir()
    ]
    # macOS adds a shadow of every file, which holds only what its desktop knows of it.
    found = [info for info in found if PurePosixPath(info.filename).parts[0] != "__MACOSX"]
    if len(found) != 1:
        held = ", ".join(info.filename for info in file.infolist()[:10])
        raise DownloadError(f"{archive} has {len(found)} files called {name}, expected one; it has: {held}")
    return found[0]


def _unpack(file: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    free = shutil.disk_usage(target.parent).free
    if info.file_size > min(free, MAX_RATIO * max(info.compress_size, 1)):
        raise DownloadError(
            f"{info.filename} claims {info.file_size:,} bytes from {info.compress_size:,} compressed ones, "
            f"with {free:,} free on the disk"
        )

    def write(temporary: Path) -> None:
        with file.open(info) as source, temporary.open("wb") as sink:
            shutil.copyfileobj(source, sink)

    write_atomically(target, write)
