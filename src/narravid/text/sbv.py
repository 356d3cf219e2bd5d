"""YouTube's old subtitle format SBV: a line `0:00:01.000,0:00:02.500`, lines of text, an empty line."""

from __future__ import annotations

import re
from pathlib import Path

from narravid.annotation_fields import shown
from narravid.errors import AnnotationError
from narravid.text.cues import Cue, plain_lines, read_times, split_lines

__all__ = ["parse_sbv"]

_STAMP = r"(\d{1,5}):([0-5]?\d):([0-5]?\d)\.(\d{1,3})"
_TIMES = re.compile(rf"\s*{_STAMP}\s*,\s*{_STAMP}\s*")
_LIKE_TIMES = re.compile(r"\s*\d+:\d+:[^\s:]+,\s*\d+:\d+:\S+\s*")
_EXPECTED = "H:MM:SS.mmm,H:MM:SS.mmm"


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
    for number, line in enumerate([*split_lines(content), ""], start=1):
        if _LIKE_TIMES.fullmatch(line) or not line.strip():
            if times is not None:
                cues.append(Cue(*times, plain_lines("\n".join(lines))))
            times, lines = None, []
            if line.strip():
                times = read_times(line, _TIMES, path=path, number=number, expected=_EXPECTED)
        elif times is None:
            raise AnnotationError(path, f"text without a time line: {shown(line.strip())}", line=number)
        else:
            lines.append(line)
    return cues
