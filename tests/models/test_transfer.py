"""Downloads from a real server that cuts, stalls, changes its mind, or sends something else."""

from __future__ import annotations

import resource
import signal
import socket

import numpy as np
import pytest

from file_server import Served, serve_files
from narravid.errors import DownloadError
from narravid.models import transfer
from narravid.models.transfer import AddressError, WebPageError, fetch_url

CONTENT = np.random.default_rng(5).bytes(1_000_003)
OTHER = np.random.default_rng(6).bytes(1_000_003)
ETAG = {"ETag": '"one"'}
DATED = {"Last-Modified": "Sat, 01 Jun 2024 10:00:00 GMT"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """No proxy stands before this machine, and waiting is short."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def server():
    with serve_files() as running:
        yield running


@pytest.fixture
def part(tmp_path):
    return tmp_path / "file.part"


def fetch(server, part, path="/file", **kwargs):
    fetch_url(f"{server.url}{path}", part, description="file", **kwargs)


@pytest.mark.parametrize("says_length", [True, False])
def test_a_whole_file(server, part, says_length):
    server.files["/file"] = Served(CONTENT, says_length=says_length)
    fetch(server, part, expected_bytes=len(CONTENT))
    assert part.read_bytes() == CONTENT
    assert server.ranges() == [None]
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("headers", [ETAG, DATED, {}, {"ETag": 'W/"weak"'}])
def test_a_cut_connection_is_taken_up_where_it_broke(server, part, headers):
    server.files["/file"] = Served(CONTENT, headers=headers, cuts=[300_000, 200_000])
    fetch(server, part)
    assert part.read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=300000-", "bytes=500000-"]
    named = {request.get("If-Range") for _, request in server.requests[1:]}
    strong = {value for value in headers.values() if not value.startswith("W/")}
    assert named == (strong or {None})


def test_a_connection_that_gives_nothing_any_more_is_given_up_and_what_came_is_kept(server, part):
    server.files["/file"] = Served(CONTENT, headers=ETAG, cuts=[300_000, 0, 0, 0])
    with pytest.raises(AddressError, match="broke off after 300,000 bytes, which are kept for the next try"):
        fetch(server, part)
    assert part.read_bytes() == CONTENT[:300_000]
    fetch(server, part)
    assert part.read_bytes() == CONTENT
    assert server.ranges()[-1] == "bytes=300000-"


def test_a_server_without_parts_sends_all_again(server, part):
    server.files["/file"] = Served(CONTENT, headers=ETAG, knows_ranges=False, cuts=[300_000])
    fetch(server, part)
    assert part.read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=300000-"]


@pytest.mark.parametrize(
    ("knows_if_range", "num_bytes"),
    # Without If-Range, a change that keeps the size shows in the recorded SHA-256 only.
    [(True, 1_000_003), (True, 700_000), (True, 100_000), (False, 700_000), (False, 100_000)],
)
def test_no_file_is_made_of_two_versions(server, part, knows_if_range, num_bytes):
    server.files["/file"] = Served(CONTENT, headers=ETAG, cuts=[300_000, 0, 0, 0])
    with pytest.raises(AddressError):
        fetch(server, part)
    other = OTHER[:num_bytes]
    server.files["/file"] = Served(other, headers={"ETag": '"two"'}, knows_if_range=knows_if_range)
    fetch(server, part)
    assert part.read_bytes() == other


def test_a_part_of_which_nothing_is_known_is_not_trusted(server, part):
    part.write_bytes(OTHER[:1000])
    server.files["/file"] = Served(CONTENT)
    fetch(server, part)
    assert part.read_bytes() == CONTENT
    (part.parent / "file.part.json").write_text("{")
    part.write_bytes(OTHER[:1000])
    fetch(server, part)
    assert part.read_bytes() == CONTENT


def test_a_part_that_is_whole_is_not_fetched_again(server, part):
    server.files["/file"] = Served(CONTENT, headers=ETAG)
    fetch(server, part)
    fetch(server, part)
    assert len(server.requests) == 1


def test_a_server_that_sends_other_parts_than_asked_for(server, part):
    server.files["/file"] = Served(
        CONTENT, status=206, headers={"Content-Range": f"bytes 5-9/{len(CONTENT)}"}
    )
    with pytest.raises(AddressError, match="sends another part than was asked for"):
        fetch(server, part)


@pytest.mark.parametrize(("status", "said"), [(404, "404 Not Found"), (403, "403"), (503, "503")])
def test_a_dead_address_says_what_it_says(server, part, status, said):
    server.files["/file"] = Served(b"<html>gone</html>", status=status)
    with pytest.raises(AddressError, match=said):
        fetch(server, part)
    assert not part.exists()
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_page_in_place_of_a_file(server, part, kind):
    page = b"\n<!DOCTYPE html><html><body>We moved</body></html>"
    server.files["/file"] = Served(page, headers={"Content-Type": kind})
    with pytest.raises(WebPageError, match="gives a web page in place of the file") as caught:
        fetch(server, part)
    assert "We moved" in caught.value.text
    assert not part.exists() or part.stat().st_size == 0


def test_another_size_is_refused_before_anything_comes(server, part):
    server.files["/file"] = Served(CONTENT)
    with pytest.raises(AddressError, match="gives a file of 1,000,003 bytes, the published one has 125"):
        fetch(server, part, expected_bytes=125)
    assert not part.exists()


def test_compressed_content_is_refused(server, part):
    server.files["/file"] = Served(CONTENT, headers={"Content-Encoding": "gzip"})
    with pytest.raises(AddressError, match="compressed content"):
        fetch(server, part)


def test_redirects_lead_to_the_file_but_not_out_of_the_web(server, part, tmp_path):
    server.files["/file"] = Served(CONTENT)
    server.files["/moved"] = Served(status=302, headers={"Location": "/file"})
    fetch(server, part, "/moved")
    assert part.read_bytes() == CONTENT
    secret = tmp_path / "secret"
    secret.write_text("x")
    for target in (secret.as_uri(), "ftp://127.0.0.1/file"):
        server.files["/out"] = Served(status=302, headers={"Location": target})
        with pytest.raises(AddressError):
            fetch(server, tmp_path / "other.part", "/out")
    assert not (tmp_path / "other.part").exists()
    server.files["/round"] = Served(status=302, headers={"Location": "/round"})
    with pytest.raises(AddressError, match="302"):
        fetch(server, tmp_path / "other.part", "/round")


@pytest.mark.parametrize("location", ["http://[", f"http://{'a' * 70}.org/file", "http://127.0.0.1:x/file"])
def test_a_redirect_to_no_address(server, part, location):
    server.files["/file"] = Served(status=302, headers={"Location": location})
    with pytest.raises(AddressError, match="address|connection"):
        fetch(server, part)


@pytest.mark.parametrize("status", [200, 404])
def test_a_page_that_ends_too_early(server, part, status):
    headers = {"Content-Type": "text/html", "Transfer-Encoding": "chunked"}
    server.files["/file"] = Served(b"ffff\r\n<html>", status=status, says_length=False, headers=headers)
    with pytest.raises(WebPageError, match="web page|404"):
        fetch(server, part)


@pytest.mark.parametrize("length", ["9" * 5000, "\xb2", "many"])
def test_a_length_that_is_no_number(server, part, length):
    server.files["/file"] = Served(CONTENT, says_length=False, headers={"Content-Length": length})
    fetch(server, part)
    assert part.read_bytes() == CONTENT


def test_a_disk_that_is_full_while_the_file_comes(server, tmp_path):
    server.files["/file"] = Served(CONTENT, headers=ETAG)
    full = tmp_path / "full.part"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(
            DownloadError, match=r"full\.part cannot be written \(File too large\); what came is"
        ):
            fetch(server, full)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert full.stat().st_size == 300_000
    fetch(server, full)
    assert full.read_bytes() == CONTENT
    assert server.ranges()[-1] == "bytes=300000-"


def test_no_connection_at_all(part):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(AddressError, match="no connection"):
        fetch_url(f"http://127.0.0.1:{port}/file", part, description="file")


def test_a_server_that_falls_silent(server, part, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 0.2)
    server.files["/file"] = Served(CONTENT, headers=ETAG, stalls=[100_000, 0, 0, 0])
    with pytest.raises(AddressError, match="no answer within 0.2 s") as caught:
        fetch(server, part)
    assert "100,000 bytes, which are kept" in str(caught.value)
    assert part.read_bytes() == CONTENT[:100_000]
    fetch(server, part)
    assert part.read_bytes() == CONTENT


def test_a_disk_without_room(server, part, monkeypatch):
    usage = transfer.shutil.disk_usage(part.parent)._replace(free=1000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    server.files["/file"] = Served(CONTENT)
    with pytest.raises(DownloadError, match="has room for 1,000 bytes, 1,000,003 are to come"):
        fetch(server, part)
