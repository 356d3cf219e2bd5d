"""A real HTTP server that behaves well or badly, as told, for tests of downloads."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """One address and how it behaves.

    Attributes:
        content: What it gives.
        status: Status of the answer when the whole file is sent.
        headers: Further headers of the answer, such as an ETag.
        knows_ranges: Whether parts can be asked for.
        knows_if_range: Whether it compares If-Range with its ETag or date.
        cuts: For each request in turn, after how many bytes the connection is cut; None sends all.
        chunk_pause_seconds: Pause between pieces of 64 kB.
        says_length: Whether it states Content-Length.
        stalls: For each request in turn, after how many bytes it falls silent.
        faults: For each request in turn, a status to answer with in place of the file.
    """

    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    knows_ranges: bool = True
    knows_if_range: bool = True
    cuts: list[int | None] = field(default_factory=list)
    chunk_pause_seconds: float = 0.0
    says_length: bool = True
    stalls: list[int] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)


@dataclass
class FileServer:
    """A running server: what it serves by path, and what it was asked."""

    url: str
    files: dict[str, Served] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def ranges(self) -> list[str | None]:
        """The Range header of every request."""
        return [headers.get("Range") for _, headers in self.requests]

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


@contextmanager
def serve_files(files: dict[str, Served] | None = None) -> Iterator[FileServer]:
    """Serve while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(self, served)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served = FileServer(f"http://127.0.0.1:{server.server_port}", dict(files or {}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        served.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(request: BaseHTTPRequestHandler, served: FileServer) -> None:
    request.close_connection = True
    served.requests.append((request.path, dict(request.headers)))
    file = served.files.get(request.path) or served.files.get(request.path.partition("?")[0])
    if file is None:
        file = Served(b"not here", status=404)
    if file.faults:
        file = Served(b"not now", status=file.faults.pop(0))
    part = _part(request, file)
    if part is not None and part.start >= len(file.content):
        request.send_response(416)
        request.send_header("Content-Range", f"bytes */{len(file.content)}")
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    body = file.content if part is None else file.content[part.start : part.stop]
    request.send_response(file.status if part is None else 206)
    if part is not None:
        end = part.start + len(body) - 1
        request.send_header("Content-Range", f"bytes {part.start}-{end}/{len(file.content)}")
    if file.says_length:
        request.send_header("Content-Length", str(len(body)))
    for name, value in {"Content-Type": "application/octet-stream", **file.headers}.items():
        request.send_header(name, value)
    request.end_headers()
    try:
        _send(request, served, file, body)
    except (BrokenPipeError, ConnectionResetError):
        return  # the client left, as some tests make it do


def _part(request: BaseHTTPRequestHandler, file: Served) -> slice | None:
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if asked is None or not file.knows_ranges or file.status != 200:
        return None
    condition = request.headers.get("If-Range")
    known = (file.headers.get("ETag"), file.headers.get("Last-Modified"))
    if file.knows_if_range and condition is not None and condition not in known:
        return None
    return slice(int(asked[1]), int(asked[2]) + 1 if asked[2] else None)


def _send(request: BaseHTTPRequestHandler, served: FileServer, file: Served, body: bytes) -> None:
    limit = file.cuts.pop(0) if file.cuts else None
    stall = file.stalls.pop(0) if file.stalls else None
    body = body if limit is None else body[:limit]
    body = body if stall is None else body[:stall]
    for offset in range(0, len(body), 1 << 16):
        request.wfile.write(body[offset : offset + (1 << 16)])
        request.wfile.flush()
        if file.chunk_pause_seconds:
            time.sleep(file.chunk_pause_seconds)
    if stall is not None:
        served.closing.wait(30)
