"""What opens addresses for downloads."""

from __future__ import annotations

import urllib.request

__all__ = ["make_opener"]


def make_opener() -> urllib.request.OpenerDirector:
    """An opener for http and https alone: a redirect to a file of this machine, or to FTP, leads nowhere."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPCookieProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
