"""The cue grammar of WebVTT and SubRip, read with line numbers, and rolling captions undone.

Faults of hand-made files that leave no doubt about what is meant are accepted (a comma or a point before the
milliseconds, no blank line between cues); whatever would silently lose speech or its time is an error.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from narravid.annotation_fields import shown
from narravid.errors import AnnotationError
from narravid.text.captions import Caption, CaptionTrack, Transcript
from narravid.types import Span

__all__ = [
    "Cue",
    "CueFormat",
    "parse_cues",
    "plain_lines",
    "read_times",
    "split_lines",
    "transcript_of_cues",
    "unroll_cues",
]

CueFormat = Literal["vtt", "srt"]

Line = tuple[int, str]
"""Line number, counted from 1, and content."""

CONTIGUOUS_SECONDS = 0.1
"""Cues nearer than this follow each other without a pause."""

MIN_ROLLING_SHARE = 0.5
"""Share of neighbouring cues that must carry lines over before a track counts as rolling."""

_STAMP = r"(?:(\d{1,5}):)?([0-5]?\d):([0-5]?\d)[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}(?:\s.*)?")
_LINE_BREAK = re.compile(r"\r\n|\n|\r")
_TAG = re.compile(r"<(?:/?[A-Za-z][^<>]*|\d[\d:.,]*)>|\{\\[^{}]*\}")
_ENDLESS_REFERENCE = re.compile(r"&#[0-9]{1000,};?")
"""Python does not read numbers of thousands of digits; no character has one."""
_VTT_REMARK = re.compile(r"(?:NOTE|STYLE|REGION)(?:[ \t].*)?")


@dataclass(frozen=True, slots=True)
class Cue:
    """One entry of a subtitle file.

    Attributes:
        start_seconds: When it appears.
        end_seconds: When it disappears, not before the start.
        lines: Its lines without markup; blank ones are left out, so a cue without text has none.
    """

    start_seconds: float
    end_seconds: float
    lines: tuple[str, ...]


def parse_cues(content: str, path: Path, *, cue_format: CueFormat) -> list[Cue]:
    """Read every cue of a file, those without text included.

    Args:
        content: The decoded text of the file, without a byte order mark.
        path: Named in errors.
        cue_format: "vtt" needs the WEBVTT header and knows comments and styles; "srt" numbers its cues.

    Returns:
        The cues in the order of the file.

    Raises:
        AnnotationError: If the header is missing, a time line is malformed or ends before it starts, or text
            stands without a time line.
    """
    lines = list(enumerate(split_lines(content), start=1))
    if not content.strip():
        raise AnnotationError(path, "the file is empty; fetch it again or delete it", line=1)
    if cue_format == "vtt":
        lines = _after_vtt_header(lines, path)
    cues: list[Cue] = []
    for block in _blocks(lines):
        times_at = [place for place, (_, line) in enumerate(block) if "-->" in line]
        if times_at:
            _check_before_times(block[: times_at[0]], path, cue_format)
            cues += _cues_of_block(block, times_at, path)
        elif cue_format == "srt" and cues and not block[0][1].strip().isdecimal():
            # players show text behind a blank line as part of the cue before it, so it is spoken there
            cues[-1] = replace(cues[-1], lines=cues[-1].lines + _text_of(block))
        elif not (cue_format == "vtt" and _VTT_REMARK.fullmatch(block[0][1])):
            raise AnnotationError(path, f"text without a time line: {shown(block[0][1])}", line=block[0][0])
    return cues


def _after_vtt_header(lines: list[Line], path: Path) -> list[Line]:
    """Drop the WEBVTT line and the metadata under it, which last to the first blank or time line."""
    first = lines[0][1]
    if not re.fullmatch(r"WEBVTT(?:[ \t].*)?", first):
        raise AnnotationError(path, f"a WebVTT file starts with WEBVTT, got {first[:40]!r}", line=1)
    body = itertools.dropwhile(lambda numbered: numbered[1] != "" and "-->" not in numbered[1], lines)
    return list(body)


def _blocks(lines: Sequence[Line]) -> list[list[Line]]:
    """Runs of lines between empty ones; runs of nothing but white space are left out.

    A line of white space does not end a run: rolling captions have such lines within a cue.
    """
    runs = itertools.groupby(lines, key=lambda numbered: numbered[1] != "")
    blocks = [list(run) for filled, run in runs if filled]
    return [block for block in blocks if any(line.strip() for _, line in block)]


def _check_before_times(head: Sequence[Line], path: Path, cue_format: CueFormat) -> None:
    """Above the first time line of a block may stand one identifier, in SubRip a number."""
    filled = [(number, line) for number, line in head if line.strip()]
    is_number = bool(filled) and filled[-1][1].strip().isdecimal()
    allowed = 1 if cue_format == "vtt" or is_number else 0
    if len(filled) > allowed:
        number, line = filled[0]
        raise AnnotationError(path, f"text without a time line: {shown(line)}", line=number)


def _cues_of_block(block: Sequence[Line], times_at: Sequence[int], path: Path) -> list[Cue]:
    """The cues of one run of lines; where blank lines are missing it holds several."""
    is_numbered = times_at[0] > 0 and block[times_at[0] - 1][1].strip().isdecimal()
    cues = []
    for place, next_place in itertools.pairwise([*times_at, len(block)]):
        text = block[place + 1 : next_place]
        if is_numbered and next_place < len(block) and text and text[-1][1].strip().isdecimal():
            text = text[:-1]  # the number of the next cue, not a word
        number, line = block[place]
        start_seconds, end_seconds = read_times(line, _TIMES, path=path, number=number)
        cues.append(Cue(start_seconds, end_seconds, _text_of(text)))
    return cues


def split_lines(content: str) -> list[str]:
    """The lines of a subtitle file, whatever the system it was written on; nothing else ends a line."""
    return _LINE_BREAK.split(content)


def read_times(
    line: str,
    pattern: re.Pattern[str],
    *,
    path: Path,
    number: int,
    expected: str = "HH:MM:SS.mmm --> HH:MM:SS.mmm",
) -> tuple[float, float]:
    """The times of a time line.

    Args:
        line: The line.
        pattern: Matches all of it; its groups are hours, minutes, seconds and their decimals, twice.
        path: Named in errors.
        number: Of the line, for errors.
        expected: What the pattern stands for, for errors.

    Returns:
        (start, end) in seconds.

    Raises:
        AnnotationError: If the line is another, or the end lies before the start.
    """
    match = pattern.fullmatch(line)
    if match is None:
        reason = f"malformed time line {shown(line.strip())}, expected {expected}"
        raise AnnotationError(path, reason, line=number)
    start_seconds, end_seconds = _seconds(match.groups()[:4]), _seconds(match.groups()[4:])
    if end_seconds < start_seconds:
        raise AnnotationError(path, f"the cue ends before it starts: {shown(line.strip())}", line=number)
    return start_seconds, end_seconds


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    milliseconds = int(fraction.ljust(3, "0"))
    return ((int(hours) * 60 + int(minutes)) * 60_000 + int(seconds) * 1000 + milliseconds) / 1000


def _text_of(lines: Sequence[Line]) -> tuple[str, ...]:
    return plain_lines("\n".join(line for _, line in lines))


def plain_lines(content: str) -> tuple[str, ...]:
    """The lines of a cue's text without tags, entities and superfluous white space; tags may span lines."""
    plain = html.unescape(_ENDLESS_REFERENCE.sub("\N{REPLACEMENT CHARACTER}", _TAG.sub("", content)))
    return tuple(" ".join(line.split()) for line in plain.split("\n") if line.strip())


def transcript_of_cues(cues: Sequence[Cue]) -> Transcript:
    """The captions that cues show, each line read once and those without text counted.

    Args:
        cues: The cues of one file, in any order.
    """
    in_order = sorted(cues, key=lambda cue: cue.start_seconds)
    captions = [
        Caption(" ".join(cue.lines), Span(cue.start_seconds, cue.end_seconds))
        for cue in unroll_cues(in_order)
    ]
    return Transcript(CaptionTrack(tuple(captions)), num_dropped=sum(1 for cue in cues if not cue.lines))


def unroll_cues(cues: Sequence[Cue]) -> list[Cue]:
    """Undo rolling captions, in which each cue shows the line before once more above the new one.

    Only tracks in which at least two cues, and half of all neighbours, carry lines over without a pause are
    changed: elsewhere a repeated line is said twice.

    Args:
        cues: The cues of one file in the order of time.

    Returns:
        The cues with text; in a rolling track each with its new lines only, lasting until it is complete.
    """
    spoken = [cue for cue in cues if cue.lines]
    carried = [0] + [_num_carried(before, cue) for before, cue in itertools.pairwise(spoken)]
    num_carrying = sum(1 for count in carried if count)
    if num_carrying < 2 or num_carrying < MIN_ROLLING_SHARE * (len(spoken) - 1):
        return spoken
    unrolled: list[Cue] = []
    for cue, count in zip(spoken, carried, strict=True):
        if count < len(cue.lines):
            unrolled.append(replace(cue, lines=cue.lines[count:]))
        else:
            end_seconds = max(unrolled[-1].end_seconds, cue.end_seconds)
            unrolled[-1] = replace(unrolled[-1], end_seconds=end_seconds)
    return unrolled


def _num_carried(before: Cue, cue: Cue) -> int:
    """How many lines at the top of a cue are the last ones of the cue just before it."""
    if cue.start_seconds - before.end_seconds > CONTIGUOUS_SECONDS:
        return 0
    counts = range(min(len(before.lines), len(cue.lines)), 0, -1)
    return next((count for count in counts if before.lines[-count:] == cue.lines[:count]), 0)
