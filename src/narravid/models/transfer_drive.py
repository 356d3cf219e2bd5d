"""Google Drive: its confirmation page for large files, and its daily cap."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

from narravid.models.transfer import AddressError, WebPageError, fetch_url

__all__ = ["DRIVE_HOST", "fetch_drive_file"]

DRIVE_HOST = "https://drive.google.com"

CAP_SIGNS = ("quota exceeded", "download quota", "too many users have viewed or downloaded")
ACCOUNT_SIGNS = ("accounts.google.com", "you need access", "request access")
CAP = (
    "Google Drive's daily cap on downloads of this file is reached, as many people fetch it; "
    "try again in 24 hours"
)


def fetch_drive_file(
    file_id: str,
    part: Path,
    *,
    expected_bytes: int | None = None,
    description: str,
    host: str = DRIVE_HOST,
) -> None:
    """Fetch a file that is shared on Google Drive.

    For a file too large to be searched for viruses, Drive answers with a form that asks whether to go on; its
    fields are sent back.

    Args:
        file_id: The file's id.
        part: Where to put it, as for `fetch_url`.
        expected_bytes: Its exact size, if known.
        description: What the progress bar says.
        host: Drive's address.

    Raises:
        AddressError: If Drive does not give the file; names its daily cap where that is the reason.
    """
    url = f"{host}/uc?{urlencode({'export': 'download', 'id': file_id})}"
    try:
        try:
            fetch_url(url, part, expected_bytes=expected_bytes, description=description)
        except WebPageError as page:
            confirmed = _confirmation_url(page)
            if confirmed is None:
                raise
            fetch_url(confirmed, part, expected_bytes=expected_bytes, description=description)
    except WebPageError as page:
        raise AddressError(_why(page)) from page


def _confirmation_url(page: WebPageError) -> str | None:
    """Where the form of a confirmation page leads; None if the page is another."""
    form = _DownloadForm()
    form.feed(page.text)
    if form.action is None:
        return None
    action = urljoin(page.url, form.action)
    if urlsplit(action).scheme not in ("http", "https"):
        return None
    return f"{action}{'&' if urlsplit(action).query else '?'}{urlencode(form.fields)}"


def _why(page: WebPageError) -> str:
    said = page.text.lower()
    if any(sign in said for sign in CAP_SIGNS):
        return CAP
    if any(sign in said or sign in page.url for sign in ACCOUNT_SIGNS):
        return "its owner shares it with chosen accounts only"
    return f"{page}; Drive may have changed its pages: open the address in a browser"


class _DownloadForm(HTMLParser):
    """Finds the form that leads to the file, and its hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the form's address and what its hidden fields hold."""
        values = dict(attrs)
        if (
            tag == "form"
            and self.action is None
            and "download" in f"{values.get('id')} {values.get('action')}"
        ):
            self.action = values.get("action")
            self._inside = self.action is not None
        elif tag == "input" and self._inside and values.get("type") == "hidden" and values.get("name"):
            self.fields[str(values["name"])] = values.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        """The form ends."""
        if tag == "form":
            self._inside = False
