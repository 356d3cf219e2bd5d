"""Who works on what, where several processes or machines share one list: claim files beside the outputs.

A claim is a file that only one process can make (a hard link or, where there are none, `O_EXCL`; network file
systems keep both). It names its owner, and the owner touches it while the work goes on. A claim whose owner
is gone is taken over: at once where that can be seen on this machine, otherwise when it has not been touched
for as long as it says itself. That time is read off the file system's own clock, so that the clocks of
machines need not agree. An owner that is seen alive on this machine keeps its claim, however old.

Claims save work and guard nothing: should two processes do the same thing after all, both write the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from narravid.inference.process_identity import began, is_alive, place, place_digits

__all__ = ["CLAIM_TIMEOUT_SECONDS", "Claims", "file_system_now", "neighbour"]

CLAIM_TIMEOUT_SECONDS = 600.0
TOUCHES_PER_TIMEOUT = 10
CLAIM_KIND = "claim"
MAX_NAME_BYTES = 160
"""Of 255 that file systems allow; drafts of claims take up to 80 more."""

LITTER = re.compile(
    r"\..+\.claim(?P<marker>\.(?:[0-9a-f]{16}|unnamed))?"
    r"(?:\.(?P<place>[0-9a-f]{8})[0-9a-f]{8}-(?P<pid>\d+)-(?P<began>\d*)\.draft)?"
)
"""What a kill at the wrong moment leaves: drafts of claims, and claims on the right to take one over."""


def neighbour(path: Path, kind: str) -> Path:
    """A hidden file beside an output that says something of it, such as `.a.npy.claim`.

    Where the name of the output is too long to be made longer, a hash stands for it.
    """
    name = path.name
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return path.with_name(f".{name}.{kind}")


def file_system_now(folder: Path) -> float:
    """Time by the clock that stamps the files of a folder, in seconds since 1970."""
    with tempfile.TemporaryFile(dir=folder, prefix=".clock.") as file:  # without a name: no kill leaves it
        return os.fstat(file.fileno()).st_mtime


@dataclass(frozen=True, slots=True)
class _Owner:
    """Who holds a claim.

    Attributes:
        host: Name of the machine.
        place: What tells one running system, and one container on it, from another; empty where unknown.
        pid: Process id.
        began: When the process began, as the system counts it: a later one with the same id is another.
        token: Drawn for each claim, after eight digits that stand for the machine and place.
        since: When the claim was made, in seconds since 1970 by the owner's clock.
        timeout_seconds: Without a touch for so long it may be taken over; its owner touches it more often.
    """

    host: str
    place: str
    pid: int
    began: str
    token: str
    since: float
    timeout_seconds: float = CLAIM_TIMEOUT_SECONDS

    @classmethod
    def new(cls, timeout_seconds: float) -> _Owner:
        pid, token = os.getpid(), place_digits() + secrets.token_hex(4)
        return cls(socket.gethostname(), place(), pid, began(pid), token, time.time(), timeout_seconds)

    @property
    def is_alive(self) -> bool | None:
        """Whether it runs; None where that cannot be seen from here."""
        if (self.host, self.place) != (socket.gethostname(), place()):
            return None
        return is_alive(self.pid, self.began)


class Claims:
    """The claims of this process. Use as a context manager; may be used from several threads.

    Args:
        timeout_seconds: Others may take our claims over that were not touched for so long. Those of others
            say themselves after how long.
    """

    def __init__(self, timeout_seconds: float = CLAIM_TIMEOUT_SECONDS) -> None:
        if not timeout_seconds > 0:
            raise ValueError(f"timeout_seconds must be positive, got {timeout_seconds}")
        self._timeout_seconds = timeout_seconds
        self._held: dict[Path, str] = {}
        self._tidy_folders: set[Path] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._touch_all, name="claims", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for claim in list(self._held):
            self._release(claim)

    @contextlib.contextmanager
    def hold(self, output: Path, *, tidy_up: Callable[[], None] = lambda: None) -> Iterator[bool]:
        """Claim an output while the block runs.

        Args:
            output: What is to be made; its folder is created.
            tidy_up: Called when the claim of a dead process was taken over, which may have left something.

        Yields:
            Whether it is ours; False where another process is at it.
        """
        claim = neighbour(output, CLAIM_KIND)
        claim.parent.mkdir(parents=True, exist_ok=True)
        self._remove_litter(claim.parent)
        is_ours = is_fresh = self._make(claim)
        if not is_fresh:
            is_ours = self._take_over(claim)
        try:
            if is_ours and not is_fresh:
                tidy_up()
            yield is_ours
        finally:
            if is_ours:
                self._release(claim)

    def forget(self, output: Path) -> None:
        """Remove the claim of a dead process on an output that is complete, if there is one."""
        claim = neighbour(output, CLAIM_KIND)
        if claim.exists() and self._abandoned(claim) is not None:
            claim.unlink(missing_ok=True)

    def _make(self, claim: Path) -> bool:
        owner = _Owner.new(self._timeout_seconds)
        if not _write_new(claim, owner):
            return False
        with self._lock:
            self._held[claim] = owner.token
        return True

    def _take_over(self, claim: Path) -> bool:
        """Put our claim in place of a dead one; of several that try, one succeeds."""
        token = self._abandoned(claim)
        if token is None:
            return False
        owner = _Owner.new(self._timeout_seconds)
        marker = claim.with_name(f"{claim.name}.{token}")
        if not _write_new(marker, owner):
            if self._abandoned(marker) is not None:
                marker.unlink(missing_ok=True)  # its maker died while it took over; the next try succeeds
            return False
        try:
            if self._abandoned(claim) != token:
                return False  # another one was quicker
            marker.replace(claim)
            with self._lock:
                self._held[claim] = owner.token
            return True
        finally:
            marker.unlink(missing_ok=True)

    def _abandoned(self, claim: Path) -> str | None:
        """Token of a claim whose owner is gone; None while it lives, or where there is no claim any more."""
        owner = _read_owner(claim)
        timeout_seconds = self._timeout_seconds if owner is None else owner.timeout_seconds
        try:
            is_old = self._age(claim) > timeout_seconds
        except OSError:
            return None
        if owner is None:  # not written yet, or cut off by a full disk
            return "unnamed" if is_old else None
        is_gone = is_old if owner.is_alive is None else not owner.is_alive
        return owner.token if is_gone else None

    def _remove_litter(self, folder: Path) -> None:
        """Remove what killed processes left of claims that came to nothing, once for each folder."""
        with self._lock:
            if folder in self._tidy_folders:
                return
            self._tidy_folders.add(folder)
        for name in os.listdir(folder):
            if self._is_litter(folder / name):
                (folder / name).unlink(missing_ok=True)

    def _is_litter(self, path: Path) -> bool:
        match = LITTER.fullmatch(path.name)
        if match is None or (match["marker"] is None and match["pid"] is None):
            return False
        if match["pid"] is None:
            return self._abandoned(path) is not None
        is_here = match["place"] == place_digits()
        runs = is_alive(int(match["pid"]), match["began"]) if is_here else None
        if runs is not None:
            return not runs
        try:
            return self._age(path) > self._timeout_seconds
        except OSError:
            return False

    def _age(self, path: Path) -> float:
        """Seconds since a file was touched."""
        touched = path.stat().st_mtime
        return file_system_now(path.parent) - touched

    def _release(self, claim: Path) -> None:
        with self._lock:
            token = self._held.pop(claim, None)
        owner = _read_owner(claim)
        if owner is not None and owner.token == token:  # else it was taken over from us meanwhile
            claim.unlink(missing_ok=True)

    def _touch_all(self) -> None:
        while not self._over.wait(self._timeout_seconds / TOUCHES_PER_TIMEOUT):
            with self._lock:
                held = list(self._held)
            for claim in held:
                with contextlib.suppress(OSError):
                    os.utime(claim)


def _write_new(path: Path, owner: _Owner) -> bool:
    """Write a file that must not be there yet, whole; whether it was not."""
    content = json.dumps(asdict(owner))
    draft = path.with_name(f"{path.name}.{owner.token}-{owner.pid}-{owner.began}.draft")
    draft.write_text(content, encoding="utf-8")
    try:
        os.link(draft, path)
        return True
    except OSError as error:
        if _has_two_names(draft):  # made after all: network file systems may ask twice
            return True
        if isinstance(error, FileExistsError):
            return False
        try:  # no hard links on this file system
            with path.open("x", encoding="utf-8") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True
    finally:
        draft.unlink(missing_ok=True)


def _has_two_names(path: Path) -> bool:
    try:
        return path.stat().st_nlink == 2
    except OSError:
        return False


def _read_owner(claim: Path) -> _Owner | None:
    try:
        return _Owner(**json.loads(claim.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
