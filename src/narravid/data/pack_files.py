"""The files of a pack, in a folder or at an address: read whole or in part, never more than is asked for."""

from __future__ import annotations

import os
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from fsspec.core import url_to_fs
from fsspec.registry import known_implementations

from narravid.data.pack_format import INFO_NAME, PackError
from narravid.errors import MissingExtraError
from narravid.extras import import_extra

__all__ = ["LocalFiles", "PackFiles", "RemoteFiles", "is_address", "pack_files"]

RETRY_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""How long to wait before each further try of a request that failed for a passing reason."""

SILENCE_SECONDS = 30.0
"""How long a server may send nothing before a request has failed."""

LASTING_FAULTS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
PASSING_STATUSES = frozenset({408, 425, 429})
FIRST_SERVER_FAULT = 500


class PackFiles(Protocol):
    """Gives the bytes of a pack's files, to several threads at once."""

    root: str

    def place(self, name: str) -> str:
        """Path or address of a file, for messages."""

    def read(self, name: str) -> bytes | None:
        """A whole file, a small one; None if it is not there.

        Raises:
            PackError: If it cannot be read.
        """

    def read_part(self, name: str, start: int, size: int) -> bytes:
        """Bytes from `start` on: `size` of them, fewer where the file ends.

        Raises:
            PackError: If it cannot be read.
        """


def is_address(root: str) -> bool:
    """Whether a text is an address (`https://...`, `s3://...`) and no path."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.:-]+://", root) is not None


def pack_files(root: str | Path) -> PackFiles:
    """The files below a folder or an address.

    Args:
        root: A path, or an address: file, http(s), or what fsspec knows (s3, gs, ...).

    Raises:
        MissingExtraError: If a library for this kind of address is not installed.
        PackError: If there is no such kind of address, or the server does not give parts of files.
    """
    text = os.fspath(root)
    if not is_address(text):
        return LocalFiles(Path(text))
    parts = urllib.parse.urlsplit(text)
    if parts.scheme == "file":
        return LocalFiles(Path(urllib.request.url2pathname(parts.path)))
    return RemoteFiles(text)


class LocalFiles:
    """Files of a folder; a file is opened for each read, which takes microseconds, and none stays open.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self._folder = root

    def place(self, name: str) -> str:
        """See `PackFiles.place`."""
        return str(self._folder / name)

    def read(self, name: str) -> bytes | None:
        """See `PackFiles.read`."""
        try:
            return (self._folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise PackError(self.place(name), f"cannot be read: {error.strerror or error}") from error

    def read_part(self, name: str, start: int, size: int) -> bytes:
        """See `PackFiles.read_part`."""
        try:
            with (self._folder / name).open("rb", buffering=0) as file:
                available = os.fstat(file.fileno()).st_size - start
                wanted = max(0, min(size, available))
                pieces: list[bytes] = []
                file.seek(start)
                while wanted and (piece := file.read(wanted)):
                    pieces.append(piece)
                    wanted -= len(piece)
        except OSError as error:
            raise PackError(self.place(name), f"cannot be read: {error.strerror or error}") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class RemoteFiles:
    """Files at an address, each part by one request; a request that fails for a passing reason is repeated.

    Args:
        root: The address.

    Raises:
        MissingExtraError: If a library for this kind of address is not installed.
        PackError: If there is no such kind of address, or the server does not give parts of files.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        is_web = self.root.startswith(("http://", "https://"))
        if is_web and ("?" in root or "#" in root):
            raise PackError(root, "an address with '?' or '#' has no files below it; name that of the folder")
        self._file_system = _file_system(self.root, is_web=is_web)
        self._base = self._file_system._strip_protocol(self.root)
        if is_web:
            self._check_parts()

    def place(self, name: str) -> str:
        """See `PackFiles.place`."""
        return f"{self.root}/{name}"

    def read(self, name: str) -> bytes | None:
        """See `PackFiles.read`."""
        try:
            return self._try(name, lambda path: self._file_system.cat_file(path))
        except FileNotFoundError:
            return None

    def read_part(self, name: str, start: int, size: int) -> bytes:
        """See `PackFiles.read_part`."""
        try:
            return self._try(
                name, lambda path: self._file_system.cat_file(path, start=start, end=start + size)
            )
        except FileNotFoundError as error:
            raise PackError(self.place(name), "is not there") from error

    def _check_parts(self) -> None:
        """A server that ignores what part is asked for would send whole shards, gigabytes, for every clip."""
        if self.read(INFO_NAME) is not None and len(self.read_part(INFO_NAME, 0, 1)) != 1:
            raise PackError(
                self.root,
                "the server sends whole files where a part is asked for (no support of Range); serve the pack"
                " from one that does, or copy it to a disk",
            )

    def _try(self, name: str, request: Callable[[str], bytes]) -> bytes:
        pauses_seconds = iter(RETRY_PAUSES_SECONDS)
        while True:
            try:
                return request(f"{self._base}/{name}")
            except FileNotFoundError:
                raise
            except Exception as error:  # a file system is anybody's, and so are the errors that it raises
                pause_seconds = next(pauses_seconds, None) if _may_pass(error) else None
                if pause_seconds is None:
                    reason = f"cannot be read ({type(error).__name__}: {error})"
                    raise PackError(self.place(name), reason) from error
            time.sleep(pause_seconds)


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    status = getattr(error, "status", None)
    if isinstance(status, int) and status:
        return status in PASSING_STATUSES or status >= FIRST_SERVER_FAULT
    return not isinstance(error, LASTING_FAULTS)


def _file_system(root: str, *, is_web: bool) -> Any:  # noqa: ANN401 - fsspec has no types
    options: dict[str, Any] = {}
    if is_web:
        aiohttp = import_extra("aiohttp", extra="shards", feature="reading a pack from a web server")
        timeout = aiohttp.ClientTimeout(total=None, connect=SILENCE_SECONDS, sock_read=SILENCE_SECONDS)
        # parts of a file that is compressed on the way would be parts of something else
        headers = {"Accept-Encoding": "identity"}
        options = {"client_kwargs": {"timeout": timeout, "headers": headers, "trust_env": True}}
    protocol = root.partition("://")[0]
    try:
        file_system, _ = url_to_fs(root, **options)
    except ImportError as error:
        known = known_implementations.get(protocol.rpartition("::")[2], {})
        module = str(known.get("class", error.name or protocol)).partition(".")[0]
        raise MissingExtraError(f"reading a pack from {protocol}://", module, None) from error
    except ValueError as error:
        raise PackError(root, f"is no kind of address that can be read ({error})") from error
    return file_system
