"""The decoding process that `WatchedDecoder` starts: reads requests, streams back what it decodes.

It holds no file open between requests and dies with its parent, whose end of the socket closes then. It
imports no torch: it starts in a fraction of a second and stays small.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import queue
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from narravid.errors import DecodeError
from narravid.video.decode_check import check_video
from narravid.video.decode_chunks import ChunkShape, read_chunks
from narravid.video.decode_frames import MAX_SPREAD_BYTES, read_spread
from narravid.video.decode_measure import measure
from narravid.video.decode_reader import ClipShape, read_clips
from narravid.video.decode_source import VideoSource
from narravid.video.decode_whole import read_whole
from narravid.video.encode_segments import SegmentEncoding, cut_segments
from narravid.video.segments import Segment
from narravid.video.watched_wire import Message, receive, send, timeline_from_wire, timeline_to_wire

__all__ = ["main"]

ALIVE_SECONDS = 0.2
CLIPS_AHEAD = 8
ANSWERS_PER_TRIM = 64
MAX_MEMORY_BYTES = 2**32
"""Address space of one decoding thread: room for the largest real pictures (8K, of which decoders keep a
dozen or two), not for what a damaged header may claim."""

Answer = tuple[Message, npt.NDArray[np.uint8] | None]


class _AbandonedError(Exception):
    """The watcher no longer wants the answer."""


class _Server:
    """Answers one request at a time; a new request or a cancellation stops the present one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._answers: queue.Queue[Answer] = queue.Queue(maxsize=CLIPS_AHEAD)
        self._last_sign = 0.0

    def run(self) -> None:
        """Serve until the watcher closes the connection."""
        threading.Thread(target=self._read_requests, daemon=True).start()
        threading.Thread(target=self._send_answers, daemon=True).start()
        self._answers.put(({"kind": "ready"}, None))
        for number in count(1):
            request = self._requests.get()
            if request["kind"] != "cancel":
                self._answer(request)
            if number % ANSWERS_PER_TRIM == 0:
                _give_memory_back()

    def _read_requests(self) -> None:
        try:
            while True:
                message, array = receive(self._connection)
                self._requests.put(message if array is None else {**message, "data": array})
        except (EOFError, OSError):
            os._exit(0)  # the decoding thread may be deep inside a decoder; nothing here needs tidying

    def _send_answers(self) -> None:
        try:
            while True:
                send(self._connection, *self._answers.get())
        except OSError:
            os._exit(0)

    def _answer(self, request: Message) -> None:
        number = request["number"]
        handler = _HANDLERS[request["kind"]]
        limit_bytes = _limit_memory(request)
        try:
            for message, array in handler(request, self._show_life):
                self._answers.put(({**message, "number": number}, array))
        except DecodeError as error:
            fault = {"kind": "error", "reason": error.reason, "span": error.span, "number": number}
            self._answers.put((fault, None))
        except MemoryError:
            reason = f"needs more memory than the {limit_bytes / 2**30:.1f} GiB of a decoding process"
            self._answers.put(({"kind": "error", "reason": reason, "span": None, "number": number}, None))
        except _AbandonedError:
            pass
        self._answers.put(({"kind": "end", "number": number}, None))

    def _show_life(self) -> None:
        """Called while decoding: a sign of life now and then, and the end of work nobody waits for."""
        if not self._requests.empty():
            raise _AbandonedError
        now = time.monotonic()
        if now - self._last_sign > ALIVE_SECONDS and not self._answers.full():
            self._last_sign = now
            self._answers.put(({"kind": "alive"}, None))


def _limit_memory(request: Message) -> int:
    """Take no more address space, in bytes, than an answer may need; what asks for more fails."""
    limit_bytes = MAX_MEMORY_BYTES if request.get("num_threads", 1) == 1 else 2 * MAX_MEMORY_BYTES
    if request["kind"] == "video":
        limit_bytes += 3 * int(request["options"]["max_bytes"])  # while the frames move into a larger array
    if request["kind"] == "spread":
        limit_bytes += MAX_SPREAD_BYTES
    _, highest = resource.getrlimit(resource.RLIMIT_AS)
    if highest != resource.RLIM_INFINITY:
        limit_bytes = min(limit_bytes, highest)
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, highest))
    return limit_bytes


def _give_memory_back() -> None:
    """Return free pages to the system: what the decoders of many files leave lies scattered in glibc's heap.

    To have it map each picture by itself would keep the heap small too, but takes a tenth more of the time.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
    if trim is not None:
        trim(0)


def _probe(request: Message, on_progress: Callable[[], None]) -> Iterator[Answer]:
    with VideoSource(request["path"], on_progress=on_progress) as source:
        yield {"kind": "info", "info": measure(source)}, None


def _clips(request: Message, on_progress: Callable[[], None]) -> Iterator[Answer]:
    shape = ClipShape(**request["shape"])
    with VideoSource(
        request["path"],
        segment=_segment(request),
        num_threads=request["num_threads"],
        on_progress=on_progress,
    ) as source:
        for clip in read_clips(source, request["starts_seconds"], shape, squares=request["squares"]):
            yield {"kind": "clip", "num_valid": clip.num_valid}, clip.frames


def _segment(request: Message) -> Segment | None:
    """What the request brings along to be read in place of the file."""
    if "timeline" not in request:
        return None
    return Segment(request["data"].tobytes(), timeline_from_wire(request["timeline"]))


def _cut(request: Message, on_progress: Callable[[], None]) -> Iterator[Answer]:
    encoding = SegmentEncoding(**request["encoding"])
    with VideoSource(request["path"], num_threads=request["num_threads"], on_progress=on_progress) as source:
        for segment in cut_segments(source, request["spans_seconds"], encoding):
            answer = {"kind": "segment", "timeline": timeline_to_wire(segment.timeline)}
            yield answer, np.frombuffer(segment.data, np.uint8)


def _video(request: Message, on_progress: Callable[[], None]) -> Iterator[Answer]:
    options: dict[str, Any] = request["options"]
    with VideoSource(request["path"], num_threads=request["num_threads"], on_progress=on_progress) as source:
        frames, end_seconds = read_whole(source, **options)
        yield {"kind": "video", "end_seconds": end_seconds}, frames


def _spread(request: Message, on_progress: Callable[[], None]) -> Iterator[Answer]:
    with VideoSource(request["path"], num_threads=request["num_threads"], on_progress=on_progress) as source:
        spread = read_spread(source, request["num_frames"], sampling=request["sampling"])
        answer = {
            "kind": "spread",
            "frame_numbers": spread.frame_numbers,
            "times_seconds": spread.times_seconds,
            "num_video_frames": spread.num_video_frames,
        }
        yield answer, spread.frames


def _chunks(request: Message, on_progress: Callable[[], None]) -> Iterator[Answer]:
    shape = ChunkShape(**request["shape"])
    with VideoSource(request["path"], num_threads=request["num_threads"], on_progress=on_progress) as source:
        for frames in read_chunks(source, shape, on_progress=on_progress):
            yield {"kind": "chunk"}, frames


def _check(request: Message, on_progress: Callable[[], None]) -> Iterator[Answer]:
    found = check_video(request["path"], whole=request["whole"], on_progress=on_progress)
    yield {"kind": "checked", "found": dataclasses.asdict(found)}, None


_HANDLERS: dict[str, Callable[[Message, Callable[[], None]], Iterator[Answer]]] = {
    "probe": _probe,
    "clips": _clips,
    "cut": _cut,
    "video": _video,
    "spread": _spread,
    "chunks": _chunks,
    "check": _check,
}


def main() -> None:
    """Serve on the socket whose file descriptor is the first argument of the program."""
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        _Server(connection).run()
