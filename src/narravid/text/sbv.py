"""YouTube's old subtitle format SBV: a line `0:00:01.000,0:00:02.500`, lines of text, an empty line."""

from __future__ import annotations

import re
from pathlib import Path

from narravid.errors import AnnotationError
from narravid.text.cues import Cue, plain_lines

__all__ = ["parse_sbv"]

_STAMP = r"(\d{1,5}):([0-5]?\d):([0-5]?\d)\.(\d{1,3})"
_TIMES = re.compile(rf"\s*{_STAMP}\s*,\s*{_STAMP}\s*")
_LIKE_TIMES = re.compile(r"\s*\d+:\d+:\S+,\s*\d+:\d+:\S+\s*")
_LINE_BREAK = re.compile(r"\r\n|\n|\r")


def parse_sbv(content: str, path: Path) -> list[Cue]:
    """Read every cue of a file, those without text included.

    Args:
        content: The decoded text of the file, without a byte order mark.
        path: Named in errors.

    Returns:
        The cues in the order of the file.

    Raises:
        AnnotationError: If the file is empty, a time line is malformed or ends before it starts, or text
            stands without a time line.
    """
    if not content.strip():
        raise AnnotationError(path, "the file is empty; fetch it again or delete it", line=1)
    cues: list[Cue] = []
    times: tuple[float, float] | None = None
    lines: list[str] = []
    for number, line in enumerate([*_LINE_BREAK.split(content), ""], start=1):
        if _LIKE_TIMES.fullmatch(line) or not line.strip():
            if times is not None:
                cues.append(Cue(*times, plain_lines("\n".join(lines))))
            times, lines = (_read_times(line, path, number) if line.strip() else None), []
        elif times is None:
            raise AnnotationError(path, f"text without a time line: {line.strip()!r}", line=number)
        else:
            lines.append(line)
    return cues


def _read_times(line: str, path: Path, number: int) -> tuple[float, float]:
    match = _TIMES.fullmatch(line)
    if match is None:
        reason = f"malformed time line {line.strip()!r}, expected H:MM:SS.mmm,H:MM:SS.mmm"
        raise AnnotationError(path, reason, line=number)
    parts = match.groups()
    start_seconds, end_seconds = _seconds(*parts[:4]), _seconds(*parts[4:])
    if end_seconds < start_seconds:
        raise AnnotationError(path, f"the cue ends before it starts: {line.strip()!r}", line=number)
    return start_seconds, end_seconds


def _seconds(hours: str, minutes: str, seconds: str, fraction: str) -> float:  # the four parts of a stamp
    milliseconds = int(fraction.ljust(3, "0"))
    return ((int(hours) * 60 + int(minutes)) * 60_000 + int(seconds) * 1000 + milliseconds) / 1000
