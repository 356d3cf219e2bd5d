"""Reading the transcripts of videos: WebVTT, SubRip, and the caption lists of HowTo100M.

Every fault is an `AnnotationError` with file and line. A file that is well formed and holds no speech gives
an empty track; whether that matters is for the caller to say.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from narravid.errors import AnnotationError
from narravid.text.captions import Caption, CaptionTrack
from narravid.text.cues import CueFormat, parse_cues, unroll_cues
from narravid.types import Span

__all__ = ["TRANSCRIPT_SUFFIXES", "Transcript", "find_transcript", "load_transcript", "read_transcript"]

TRANSCRIPT_SUFFIXES = (".vtt", ".srt", ".csv")
"""What can be read, the preferred kind first."""

CSV_COLUMNS = ("start", "end", "text")


@dataclass(frozen=True, slots=True)
class Transcript:
    """A transcript and what was left out of it.

    Attributes:
        track: The captions with text.
        num_dropped: Captions without text (blank, or NaN in a CSV), which were left out.
    """

    track: CaptionTrack
    num_dropped: int


def find_transcript(video_path: Path, *, captions_dir: Path | None = None) -> Path | None:
    """The transcript of a video: the file of the same stem with the first suffix of `TRANSCRIPT_SUFFIXES`.

    Args:
        video_path: The video.
        captions_dir: Where transcripts lie, None for beside the video.

    Returns:
        The file, or None if there is none.
    """
    folder = video_path.parent if captions_dir is None else captions_dir
    candidates = [folder / f"{video_path.stem}{suffix}" for suffix in TRANSCRIPT_SUFFIXES]
    return next((path for path in candidates if path.is_file()), None)


def read_transcript(path: Path) -> CaptionTrack:
    """The captions of a transcript file; see `load_transcript`.

    Returns:
        The captions with text, empty if the file holds none.

    Raises:
        AnnotationError: As for `load_transcript`.
    """
    return load_transcript(path).track


def load_transcript(path: Path) -> Transcript:
    """Read a transcript file of any known kind; the suffix says which.

    WebVTT and SubRip lose their markup, and rolling captions (as YouTube writes them) are unrolled, so that
    every line is read once. HowTo100M lists (`start,end,text` in seconds) are taken as they are; a missing
    text, also one saved as the word "nan", is dropped.

    Args:
        path: A `.vtt`, `.srt` or `.csv` file in UTF-8.

    Returns:
        The captions, and how many without text were dropped.

    Raises:
        AnnotationError: If the file cannot be read, is of another kind, or has a fault.
    """
    suffix = path.suffix.lower()
    if suffix not in TRANSCRIPT_SUFFIXES:
        known = ", ".join(TRANSCRIPT_SUFFIXES)
        raise AnnotationError(path, f"cannot read {suffix!r} as a transcript; convert it to one of {known}")
    content = _read_text(path)
    if suffix == ".csv":
        return _read_howto100m(content, path)
    return _read_subtitles(content, path, "vtt" if suffix == ".vtt" else "srt")


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(path, f"cannot be opened: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason = f"not UTF-8 text (byte {data[error.start]:#04x}); convert it, for example with iconv"
        raise AnnotationError(path, reason, line=line) from error


def _read_subtitles(content: str, path: Path, cue_format: CueFormat) -> Transcript:
    cues = parse_cues(content, path, cue_format=cue_format)
    cues.sort(key=lambda cue: cue.start_seconds)
    captions = tuple(
        Caption(" ".join(cue.lines), Span(cue.start_seconds, cue.end_seconds)) for cue in unroll_cues(cues)
    )
    return Transcript(CaptionTrack(captions), num_dropped=sum(1 for cue in cues if not cue.lines))


def _read_howto100m(content: str, path: Path) -> Transcript:
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    captions: list[Caption] = []
    num_dropped = 0
    try:
        _check_columns(reader.fieldnames or (), path)
        for row in reader:
            caption = _read_row(row, path, reader.line_num)
            if caption.text in ("", "nan"):
                num_dropped += 1
            else:
                captions.append(caption)
    except csv.Error as error:
        raise AnnotationError(path, f"not valid CSV: {error}", line=reader.reader.line_num) from error
    return Transcript(CaptionTrack(tuple(captions)), num_dropped)


def _check_columns(columns: Sequence[str], path: Path) -> None:
    missing = [column for column in CSV_COLUMNS if column not in columns]
    if missing:
        reason = f"a HowTo100M caption list has the columns start,end,text, got {','.join(columns)[:80]!r}"
        raise AnnotationError(path, reason, line=1, field=missing[0])
    if "video_id" in columns:
        raise AnnotationError(
            path, "the list covers several videos; a transcript covers one", line=1, field="video_id"
        )


def _read_row(row: dict[str, str | None], path: Path, line: int) -> Caption:
    if None in row or None in row.values():
        raise AnnotationError(path, "the row has another number of fields than the header", line=line)
    start_seconds, end_seconds = (_read_seconds(row, field, path, line) for field in ("start", "end"))
    if end_seconds < start_seconds:
        reason = f"the caption ends ({end_seconds}) before it starts ({start_seconds})"
        raise AnnotationError(path, reason, line=line, field="end")
    return Caption((row["text"] or "").strip(), Span(start_seconds, end_seconds))


def _read_seconds(row: dict[str, str | None], field: str, path: Path, line: int) -> float:
    value = row[field] or ""
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise AnnotationError(
            path, f"expected seconds from the start of the video, got {value!r}", line=line, field=field
        )
    return seconds
