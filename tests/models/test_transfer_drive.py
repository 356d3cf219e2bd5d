"""Google Drive's pages, from a server that answers as Drive does."""

from __future__ import annotations

import re

import numpy as np
import pytest

from file_server import Served, serve_files
from narravid.models import transfer
from narravid.models.transfer import AddressError
from narravid.models.transfer_drive import fetch_drive_file

CONTENT = np.random.default_rng(5).bytes(500_000)
HTML = {"Content-Type": "text/html; charset=utf-8"}
CONFIRM = b"""<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<p>Google Drive can't scan this file for viruses.</p>
<form id="search" action="/search"><input type="hidden" name="wrong" value="1"></form>
<form id="download-form" action="ACTION" method="get"><input type="submit" value="Download anyway"/>
<input type="hidden" name="id" value="abc"><input type="hidden" name="confirm" value="t">
<input type="hidden" name="uuid" value="1-2&amp;3"></form></body></html>"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def server():
    with serve_files() as running:
        yield running


def fetch(server, part, **kwargs):
    fetch_drive_file("abc", part, description="file", host=server.url, **kwargs)


def test_a_small_file_comes_at_once(server, tmp_path):
    server.files["/uc"] = Served(CONTENT)
    fetch(server, tmp_path / "part", expected_bytes=len(CONTENT))
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert server.paths() == ["/uc?export=download&id=abc"]


@pytest.mark.parametrize("action", ["/download", "URL/download", "/download?at=0"])
def test_a_large_file_is_confirmed_and_a_broken_one_goes_on(server, tmp_path, action):
    page = CONFIRM.replace(b"ACTION", action.replace("URL", server.url).encode())
    server.files["/uc"] = Served(page, headers=HTML, knows_ranges=False)  # it is made for each request
    server.files["/download"] = Served(CONTENT, cuts=[200_000, 0, 0, 0])
    part = tmp_path / "part"
    with pytest.raises(AddressError, match="200,000 bytes, which are kept"):
        fetch(server, part)
    fetch(server, part)
    assert part.read_bytes() == CONTENT
    confirmed = [path for path in server.paths() if path.startswith("/download")]
    assert set(confirmed) == {
        f"{action.replace('URL', '')}{'&' if '?' in action else '?'}id=abc&confirm=t&uuid=1-2%263"
    }
    assert server.ranges()[-1] == "bytes=200000-"


QUOTA = b"""<html><title>Google Drive - Quota exceeded</title><p>Sorry, you can't view or download this file
at this time. Too many users have viewed or downloaded this file recently.</p></html>"""


@pytest.mark.parametrize("status", [200, 403, 429])
@pytest.mark.parametrize("confirmed", [False, True])
def test_the_daily_cap_is_named(server, tmp_path, status, confirmed):
    server.files["/uc"] = Served(QUOTA, status=status, headers=HTML)
    if confirmed:
        server.files["/download"] = server.files["/uc"]
        server.files["/uc"] = Served(CONFIRM.replace(b"ACTION", b"/download"), headers=HTML)
    with pytest.raises(AddressError, match=r"daily cap on downloads of this file.*24 hours"):
        fetch(server, tmp_path / "part")


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (b"<html><p>You need access. Request access</p></html>", "shares it with chosen accounts only"),
        (b"<html><p>New look!</p></html>", "web page in place of the file; Drive may have changed"),
        (CONFIRM.replace(b"ACTION", b"file:///etc/passwd?download"), "web page in place of the file"),
        (CONFIRM.replace(b'action="ACTION"', b""), "web page in place of the file"),
    ],
)
def test_other_pages_are_errors(server, tmp_path, page, said):
    server.files["/uc"] = Served(page, headers=HTML)
    with pytest.raises(AddressError, match=re.escape(said).replace("\\ ", " ")):
        fetch(server, tmp_path / "part")


def test_a_file_that_is_gone(server, tmp_path):
    with pytest.raises(AddressError, match="404 Not Found"):
        fetch(server, tmp_path / "part")
