"""Fetching one file over HTTP into a part file that a later try goes on with.

The standard library is enough here: the HTTP libraries that others bring along change with their versions,
and the downloaders that we looked at (pooch, torch.hub) begin again from nothing after a broken connection.
Files on Hugging Face go through its own library instead.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from narravid.errors import DownloadError
from narravid.files import write_json
from narravid.models.transfer_opener import make_opener
from narravid.progress import ProgressBar, progress_bar

__all__ = ["AddressError", "WebPageError", "fetch_url", "remove_part"]

TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 18
MAX_PAGE_BYTES = 1 << 20
MAX_FRUITLESS_TRIES = 3
PAUSE_SECONDS = 1.0
PAGE_START = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)
BYTES_PER_MB = 1_000_000
NOTE_SUFFIX = ".json"

HTTP_PARTIAL = 206
HTTP_BEYOND_END = 416


class AddressError(Exception):
    """An address does not give the file; another one may."""


class WebPageError(AddressError):
    """An address answers with a page for people.

    Args:
        url: Where the page was, redirects followed.
        text: The page.
        reason: What is wrong, for an error.
    """

    def __init__(self, url: str, text: str, reason: str) -> None:
        super().__init__(reason)
        self.url = url
        self.text = text


class _ConnectionBrokeError(Exception):
    """The connection ended before the file did."""


class _PartOutdatedError(Exception):
    """What is there is not the beginning of what the server has now."""


@dataclass(frozen=True, slots=True)
class _Note:
    """What was known of a file when its part was begun.

    Attributes:
        validator: ETag or date of the version; empty where the server gives none that identifies it.
        total_bytes: Size of the whole file, None where the server does not say.
    """

    validator: str
    total_bytes: int | None


def fetch_url(url: str, part: Path, *, expected_bytes: int | None = None, description: str) -> None:
    """Fetch a file; a connection that breaks is taken up again where it broke, by this call or a later one.

    A part is gone on with only if the server says that it still has the same version of the file (If-Range,
    or the same size where it names no version); a server that cannot send parts sends all again.

    Args:
        url: Where the file is; http or https.
        part: Where to put it; belongs to this address alone.
        expected_bytes: Its exact size, if known; an address with a file of another size is refused at once.
        description: What the progress bar says.

    Raises:
        AddressError: If the address does not give the file; what came stays in `part`.
        DownloadError: If the disk has no room for it.
        WebPageError: If it gives a page for people.
    """
    opener = make_opener()
    num_fruitless, received_any, began_again = 0, False, False
    while True:
        before = _size_of(part)
        try:
            _fetch_once(opener, url, part, expected_bytes=expected_bytes, description=description)
            return
        except _PartOutdatedError as error:
            if began_again:
                raise AddressError(str(error)) from error
            began_again = True
            remove_part(part)
        except _ConnectionBrokeError as error:
            progressed = _size_of(part) > before
            received_any = received_any or progressed
            num_fruitless = 0 if progressed else num_fruitless + 1
            if num_fruitless >= MAX_FRUITLESS_TRIES or not received_any:
                kept = _size_of(part)
                hint = f" after {kept:,} bytes, which are kept for the next try" if kept else ""
                raise AddressError(f"{error}{hint}") from error
            time.sleep(PAUSE_SECONDS * num_fruitless)


def remove_part(part: Path) -> None:
    """Remove a part and what is noted of it."""
    part.unlink(missing_ok=True)
    _note_path(part).unlink(missing_ok=True)


def _fetch_once(
    opener: urllib.request.OpenerDirector,
    url: str,
    part: Path,
    *,
    expected_bytes: int | None,
    description: str,
) -> None:
    """One request; returns when the whole file is in `part`."""
    note = _read_note(part)
    start = _size_of(part) if note is not None else 0
    if note is not None and start and start == note.total_bytes:
        return
    request = urllib.request.Request(url, headers=_headers(start, note))
    try:
        response = opener.open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error, start) from error
    except (OSError, http.client.HTTPException) as error:
        raise _ConnectionBrokeError(_why(error)) from error
    except ValueError as error:  # a redirect to what is no address
        raise AddressError(f"leads to no address ({error})") from error
    with response:
        start, total = _beginning(response, note, start)
        _check_answer(response, part, start=start, total=total, expected_bytes=expected_bytes)
        if start == 0:
            part.unlink(
                missing_ok=True
            )  # before the note: it must never stand beside bytes of another version
            write_json(_note_path(part), {"validator": _validator(response.headers), "total_bytes": total})
        _receive(response, part, start=start, total=total, description=description)


def _headers(start: int, note: _Note | None) -> dict[str, str]:
    # Some servers turn away Python's own name. Compressed content would make sizes and offsets meaningless.
    headers = {"User-Agent": "narravid", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if note is not None and note.validator:
            headers["If-Range"] = note.validator
    return headers


def _beginning(response: Any, note: _Note | None, start: int) -> tuple[int, int | None]:  # noqa: ANN401
    """Where the answer begins in the file, and how large the file is."""
    length = re.fullmatch(r"[0-9]{1,18}", response.headers.get("Content-Length", "").strip())
    if response.status != HTTP_PARTIAL:
        return 0, int(length[0]) if length else None
    said = re.fullmatch(
        r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})", response.headers.get("Content-Range", "").strip()
    )
    total = int(said[2]) if said else None
    if said is None or int(said[1]) != start or (note is not None and note.total_bytes not in (None, total)):
        raise _PartOutdatedError("sends another part than was asked for")
    return start, total


def _check_answer(
    response: Any,  # noqa: ANN401 - the library's response has no public type
    part: Path,
    *,
    start: int,
    total: int | None,
    expected_bytes: int | None,
) -> None:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise AddressError("sends compressed content, though asked not to")
    if response.headers.get_content_type() == "text/html":
        raise WebPageError(response.url, _page_text(response), "gives a web page in place of the file")
    if None not in (expected_bytes, total) and total != expected_bytes:
        raise AddressError(f"gives a file of {total:,} bytes, the published one has {expected_bytes:,}")
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - start > free:
        raise DownloadError(f"{part.parent} has room for {free:,} bytes, {total - start:,} are to come")


def _receive(
    response: Any,  # noqa: ANN401
    part: Path,
    *,
    start: int,
    total: int | None,
    description: str,
) -> None:
    remaining = None if total is None else (total - start) / BYTES_PER_MB
    described = f"{description} from {start / BYTES_PER_MB:.1f} MB" if start else description
    try:
        with (
            part.open("ab" if start else "wb") as file,
            progress_bar(described, remaining, unit="MB") as bar,
        ):
            done = _copy(response, file, bar, start=start)
    except OSError as error:  # faults of the connection have become others in _copy
        raise DownloadError(
            f"{part} cannot be written ({error.strerror or error}); what came is kept for the next try"
        ) from error
    if total is not None and done < total:
        raise _ConnectionBrokeError("the connection broke off")


def _copy(response: Any, file: Any, bar: ProgressBar, *, start: int) -> int:  # noqa: ANN401
    """Take in what comes; returns the size of the file then."""
    done = start
    while True:
        try:
            chunk = response.read1(CHUNK_BYTES)  # what is there, so that little is lost to a break
        except http.client.IncompleteRead as error:
            file.write(error.partial)
            raise _ConnectionBrokeError("the connection broke off") from error
        except (OSError, http.client.HTTPException) as error:
            raise _ConnectionBrokeError(_why(error)) from error
        if not chunk:
            return done
        if done == 0 and PAGE_START.match(chunk):
            text = chunk.decode("utf-8", errors="replace")
            raise WebPageError(response.url, text, "gives a web page in place of the file")
        file.write(chunk)
        done += len(chunk)
        bar.advance(len(chunk) / BYTES_PER_MB)


def _refusal(error: urllib.error.HTTPError, start: int) -> Exception:
    reason = f"{error.code} {error.reason}".strip()
    if error.code == HTTP_BEYOND_END and start:
        return _PartOutdatedError(reason)
    return WebPageError(error.url or "", _page_text(error), reason)


def _page_text(response: Any) -> str:  # noqa: ANN401
    """A page for people, or nothing where the connection ends within it: that it is one is reason enough."""
    try:
        page: bytes = response.read(MAX_PAGE_BYTES)
    except (OSError, http.client.HTTPException):
        return ""
    return page.decode("utf-8", errors="replace")


def _validator(headers: Mapping[str, str]) -> str:
    """What If-Range may name: a strong ETag, else the date; empty where the server gives neither."""
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified", "")


def _note_path(part: Path) -> Path:
    return part.with_name(part.name + NOTE_SUFFIX)


def _read_note(part: Path) -> _Note | None:
    """What is known of a part; None where it is unknown, so that the file is fetched from its beginning."""
    try:
        said = json.loads(_note_path(part).read_text(encoding="utf-8"))
        note = _Note(
            str(said["validator"]), None if said["total_bytes"] is None else int(said["total_bytes"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note if note.validator or note.total_bytes is not None else None


def _size_of(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _why(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    return f"no connection ({cause or type(error).__name__})"
