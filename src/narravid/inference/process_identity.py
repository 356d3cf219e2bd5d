"""Which process this is among those of all machines, and whether another one still runs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from pathlib import Path

__all__ = ["began", "is_alive", "place", "place_digits"]


def place() -> str:
    """This start of this system, and the container; process ids mean something only there."""
    parts = []
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def place_digits() -> str:
    """Eight hexadecimal digits that stand for this machine and place."""
    return hashlib.sha256(f"{socket.gethostname()} {place()}".encode()).hexdigest()[:8]


def is_alive(pid: int, beginning: str) -> bool | None:
    """Whether a process of this place runs; None where a later one may have got its id.

    One that was killed and whose parent has not asked for its end yet does not run any more.
    """
    if not _exists(pid) or _status(pid)[:1] in (["Z"], ["X"]) or began(pid) != beginning:
        return False
    return True if beginning else None


def began(pid: int) -> str:
    """When a process began, in clock ticks since the system did; empty where the system does not say."""
    status = _status(pid)
    return status[19] if status else ""


def _status(pid: int) -> list[str]:
    """What the system says of a process, from its state on; nothing where it does not say."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return status.rpartition(")")[2].split()  # the name before the bracket may hold anything


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
