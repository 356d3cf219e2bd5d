"""One writer at a time in a folder, kept by the operating system."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from narravid.errors import NarravidError

__all__ = ["hold_lock"]

LOCK_NAME = ".lock"


@contextmanager
def hold_lock(folder: Path, *, busy: str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a folder while the block runs; the system frees it when this process dies, however it dies.

    Args:
        folder: The folder, which must exist; a file `.lock` is made in it.
        busy: What to say when another process holds it.
        on_wait: Called when another process holds it, which is then waited for; without it, that is an error.

    Raises:
        NarravidError: If another process holds it, or the file system cannot lock.
    """
    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        if on_wait is None:
            raise NarravidError(busy) from error
        on_wait()
        lock.acquire(timeout=-1)
    except NotImplementedError as error:
        raise NarravidError(
            f"the file system of {folder} cannot lock files; choose a folder on another one"
        ) from error
    try:
        yield
    finally:
        lock.release()
