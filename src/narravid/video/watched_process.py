"""The watcher's handle on one decoding process: start, talk, notice death and silence, end."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from narravid.errors import NarravidError
from narravid.video.watched_wire import Message, MessageError, receive, send

__all__ = ["DecodingProcess", "ProcessLostError"]

START_SECONDS = 120.0  # importing takes seconds on a busy machine; a start is never the file's fault
CANCEL_SECONDS = 2.0
EXIT_SECONDS = 5.0
ENDED = "the decoder was closed meanwhile"

# Isolated mode keeps the working folder from shadowing modules; the parent's path is then set as it is. The
# program does not touch the parent's main module, so that may be a script, a test run or `python -c`. The
# package is entered without its front, which offers the models and would import torch for them.
_PROGRAM = """
import sys, types
package = types.ModuleType("narravid")
package.__path__ = [sys.argv[2]]
sys.modules["narravid"] = package
sys.path[:] = sys.argv[3:]
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from narravid.video.watched_child import main
main()
"""
_PACKAGE_FOLDER = str(Path(__file__).resolve().parent.parent)


class ProcessLostError(Exception):
    """The decoding process died, fell silent, talked nonsense or was ended by another thread; it is gone."""


class DecodingProcess:
    """One decoding process. It starts at once and is awaited when first used.

    Raises:
        NarravidError: If the system refuses another process.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _end()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM, str(theirs.fileno()), _PACKAGE_FOLDER, *sys.path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                process_group=0,  # Ctrl-C in a terminal reaches the watcher only, which ends its processes
            )
        except OSError as error:
            ours.close()
            self._log.close()
            raise NarravidError(f"the decoding process does not start: {error}") from error
        finally:
            theirs.close()
        self._socket = ours
        self._is_ready = False
        self._number = 0
        # Runs at the end of the interpreter too, whatever way it ends short of being killed.
        self._finalizer = weakref.finalize(self, _end, self._process, ours, self._log, os.getpid())

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives and has not been given up."""
        return self._finalizer.alive and self._process.poll() is None

    def request(self, message: Message, array: npt.NDArray[np.uint8] | None = None) -> None:
        """Send a request, with bytes where it has some; answers come through `receive`.

        Raises:
            NarravidError: If the process does not start.
            ProcessLostError: If it is dead, or another thread ends it.
        """
        self._await_ready()
        self._number += 1
        try:
            send(self._socket, {**message, "number": self._number}, array)
        except OSError:
            raise self._lost("does not take requests") from None

    def receive(self, stall_seconds: float) -> tuple[Message, npt.NDArray[np.uint8] | None]:
        """The next answer to the last request; answers to abandoned ones are passed over.

        Args:
            stall_seconds: How long to wait for any sign of life.

        Raises:
            ProcessLostError: If the process died, gave no sign of life, or another thread ends it.
        """
        while True:
            try:
                self._socket.settimeout(stall_seconds)
                message, array = receive(self._socket)
            except TimeoutError:
                self.end()
                raise ProcessLostError(f"no progress for {stall_seconds:g} s") from None
            except (EOFError, OSError):
                raise self._lost("closed its connection") from None
            except MessageError as error:
                self.end()
                raise ProcessLostError(f"decoder sent {error}") from None
            except BaseException:
                self.end()  # interrupted within a message: what follows could not be understood
                raise
            if message.get("number") == self._number:
                return message, array

    def cancel(self) -> None:
        """Give up the present request; the process is ended when it does not stop soon."""
        try:
            send(self._socket, {"kind": "cancel"})
            while self.receive(CANCEL_SECONDS)[0]["kind"] != "end":
                pass
        except (ProcessLostError, OSError):
            self.end()

    def end(self) -> None:
        """Kill the process and wait until it is gone; may be called again."""
        self._finalizer()

    def _await_ready(self) -> None:
        if self._is_ready:
            return
        try:
            self._socket.settimeout(START_SECONDS)
            message, _ = receive(self._socket)
        except (EOFError, OSError, MessageError):
            if not self._finalizer.alive:
                raise ProcessLostError(ENDED) from None
            last_words = self._last_words()
            self.end()
            raise NarravidError(f"the decoding process does not start: {last_words}") from None
        except BaseException:
            self.end()
            raise
        self._is_ready = message.get("kind") == "ready"

    def _lost(self, otherwise: str) -> ProcessLostError:
        """Why the process is gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_SECONDS)
        if not self._finalizer.alive:
            return ProcessLostError(ENDED)
        status = self._process.returncode
        last_words = self._last_words()
        self.end()
        if status is None:
            return ProcessLostError(f"decoder {otherwise}")
        if status < 0:
            return ProcessLostError(f"decoder crashed (signal {-status})")
        return ProcessLostError(f"decoder ended with status {status}: {last_words}")

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")


def _end(process: subprocess.Popen[bytes], connection: socket.socket, log: IO[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked copy of the watcher: the process is not its child
    process.kill()
    process.wait()
    connection.close()
    log.close()
