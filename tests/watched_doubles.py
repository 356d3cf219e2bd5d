"""Decoders for tests: one that loses its process at files of one's choice, one that needs no process."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

from narravid.errors import DecodeError
from narravid.video import decode
from narravid.video.watched import WatchedDecoder
from narravid.video.watched_process import DecodingProcess


def is_alive(pid: int) -> bool:
    """Whether there is such a process; one that has ended and is only not yet waited for is not."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


class CrashedBy(WatchedDecoder):
    """Some files do to their decoding process what a broken decoder would: they kill or stop it."""

    def __init__(self, *paths: Path, num_workers: int = 1, deed: signal.Signals = signal.SIGKILL) -> None:
        super().__init__(num_workers, stall_seconds=10.0 if deed == signal.SIGKILL else 1.0)
        self._deadly = {os.path.abspath(path) for path in paths}
        self._deed = deed

    def _take(self) -> DecodingProcess:
        process = super()._take()
        if "request" not in vars(process):
            process.request = partial(self._request, process)
        return process

    def _request(self, process: DecodingProcess, message, array=None) -> None:
        if message["path"] in self._deadly:
            process._await_ready()
            os.kill(process.pid, self._deed)
        DecodingProcess.request(process, message, array)


class DirectDecoder:
    """Decodes in this process and notes what it was asked for."""

    def __init__(self) -> None:
        self.requests = []
        self.probed = []

    def probe(self, path):
        self.probed.append(path)
        return decode.probe(path)

    def clips(self, path, starts, spec, *, squares=None):
        assert squares is None
        self.requests.append((path, list(starts)))
        return decode.decode_clips(path, starts, spec)

    def map_jobs(self, jobs, run):
        for job in jobs:
            try:
                yield job, run(job)
            except DecodeError as error:
                yield job, error
