"""A small stand-in for Hugging Face that speaks its protocol: commits, large files, downloads."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_testtoken"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class HubServer:
    """A running server and what it holds: content by repository and path."""

    url: str
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    large: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


@contextmanager
def serve_hub() -> Iterator[HubServer]:
    """Serve while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _get(self, hub)

        def do_HEAD(self) -> None:
            _get(self, hub)

        def do_POST(self) -> None:
            _post(self, hub)

        def do_PUT(self) -> None:
            hub.requests.append(f"PUT {self.path}")
            hub.large[self.path.rpartition("/")[2]] = _body(self)
            _answer(self, b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub = HubServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _body(request: BaseHTTPRequestHandler) -> bytes:
    return request.rfile.read(int(request.headers.get("Content-Length", 0)))


def _answer(
    request: BaseHTTPRequestHandler,
    content: bytes,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content)


def _answer_json(request: BaseHTTPRequestHandler, value: Any) -> None:
    _answer(request, json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def _refuse(request: BaseHTTPRequestHandler, status: int, code: str) -> None:
    _answer(request, b"{}", status=status, headers={"X-Error-Code": code, "X-Error-Message": code})


def _post(request: BaseHTTPRequestHandler, hub: HubServer) -> None:
    path = request.path.partition("?")[0]
    hub.requests.append(f"POST {path}")
    body = _body(request)
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        _refuse(request, 401, "RepoNotFound")
    elif path == "/api/repos/create":
        said = json.loads(body)
        name = f"{said['organization']}/{said['name']}" if said.get("organization") else said["name"]
        hub.repositories.setdefault(name, {})
        hub.private |= {name} if said.get("private") or said.get("visibility") == "private" else set()
        _answer_json(request, {"url": f"{hub.url}/{name}", "name": name, "id": "1"})
    elif path == "/api/validate-yaml":
        _answer_json(request, {"warnings": [], "errors": []})
    elif "/preupload/" in path:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        _answer_json(request, {"files": files})
    elif path.endswith(".git/info/lfs/objects/batch"):
        objects = [
            {**thing, "actions": {"upload": {"href": f"{hub.url}/large/{thing['oid']}"}}}
            for thing in json.loads(body)["objects"]
        ]
        _answer_json(request, {"transfer": "basic", "objects": objects})
    elif match := re.fullmatch(r"/api/models/(.+)/commit/(.+)", path):
        _commit(hub, match[1], body)
        _answer_json(
            request,
            {"commitUrl": f"{hub.url}/{match[1]}/commit/{COMMIT}", "commitOid": COMMIT, "success": True},
        )
    else:
        _answer(request, b"{}", status=404)


def _commit(hub: HubServer, name: str, body: bytes) -> None:
    for line in body.splitlines():
        said = json.loads(line)
        value = said["value"]
        if said["key"] == "file":
            hub.repositories[name][value["path"]] = base64.b64decode(value["content"])
        elif said["key"] == "lfsFile":
            hub.repositories[name][value["path"]] = hub.large[value["oid"]]


def _get(request: BaseHTTPRequestHandler, hub: HubServer) -> None:
    path = request.path.partition("?")[0]
    hub.requests.append(f"{request.command} {path}")
    match = re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+|/tree/[^/]+)?", path)
    file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
    name = (match or file)[1] if match or file else ""
    if name not in hub.repositories:
        _refuse(request, 404, "RepoNotFound")
    elif name in hub.gated:
        _refuse(request, 403, "GatedRepo")
    elif match:
        _describe(request, hub, name, tree=bool(match[2] and match[2].startswith("/tree")))
    elif file and file[3] in hub.repositories[name]:
        content = hub.repositories[name][file[3]]
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        _answer(request, content, headers={"ETag": etag, "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})
    else:
        _refuse(request, 404, "EntryNotFound")


def _describe(request: BaseHTTPRequestHandler, hub: HubServer, name: str, *, tree: bool) -> None:
    files = hub.repositories[name]
    if tree:
        entries = [
            {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for path, content in files.items()
        ]
        _answer_json(request, entries)
        return
    siblings = [{"rfilename": path} for path in files]
    _answer_json(request, {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": []})
