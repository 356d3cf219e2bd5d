"""Processes that decode for whoever asks, replaced when a file crashes or stalls them."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from narravid.errors import DecodeError
from narravid.video.watched_process import DecodingProcess, ProcessLostError
from narravid.video.watched_wire import Message

__all__ = ["DecodingProcesses"]


class DecodingProcesses:
    """Lends a process to each request and takes it back; the processes of `WatchedDecoder`.

    Args:
        num_workers: Processes that are kept for the next request.
        stall_seconds: How long a process may show no progress.
    """

    def __init__(self, num_workers: int, *, stall_seconds: float) -> None:
        if num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {num_workers}")
        if not (math.isfinite(stall_seconds) and stall_seconds > 0):
            raise ValueError(f"stall_seconds must be positive, got {stall_seconds}")
        self._num_workers = num_workers
        self._stall_seconds = stall_seconds
        self._lock = threading.Lock()
        self._idle: list[DecodingProcess] = []
        self._busy: set[DecodingProcess] = set()
        self._owner = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes. The decoder may be used again; it then starts new ones."""
        with self._lock:
            processes = [*self._idle, *self._busy]
            self._idle.clear()
            self._busy.clear()
        for process in processes:
            process.end()

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the running workers."""
        with self._lock:
            return [process.pid for process in (*self._idle, *self._busy) if process.is_running]

    def _ask(
        self, path: str | Path, request: Message, data: npt.NDArray[np.uint8] | None = None
    ) -> Iterator[tuple[Message, npt.NDArray[np.uint8] | None]]:
        """Stream the answers to one request; whatever happens, the process is left idle or dead."""
        process = self._take()
        is_done = False
        try:
            # The process may have another working folder by now; names are made absolute here.
            process.request({**request, "path": os.path.abspath(path)}, data)
            while True:
                message, array = process.receive(self._stall_seconds)
                if message["kind"] == "end":
                    is_done = True
                    return
                if message["kind"] == "error":
                    span = message["span"]
                    raise DecodeError(path, message["reason"], None if span is None else tuple(span))
                yield message, array
        except ProcessLostError as lost:
            raise DecodeError(path, str(lost)) from None
        finally:
            if not is_done and process.is_running:
                process.cancel()
            self._give_back(process)

    def _take(self) -> DecodingProcess:
        with self._lock:
            if os.getpid() != self._owner:  # a fork: the processes belong to the parent
                self._idle, self._busy, self._owner = [], set(), os.getpid()
            while self._idle:
                process = self._idle.pop()
                if process.is_running:
                    break
            else:
                process = DecodingProcess()
            self._busy.add(process)
        return process

    def _give_back(self, process: DecodingProcess) -> None:
        with self._lock:
            was_ours = process in self._busy
            self._busy.discard(process)
            keep = was_ours and process.is_running and len(self._idle) < self._num_workers
            if keep:
                self._idle.append(process)
        if not keep:
            process.end()
