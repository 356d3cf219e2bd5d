"""Reading the transcripts of videos: WebVTT, SubRip, and the caption lists of HowTo100M.

Every fault is an `AnnotationError` with file and line. A file that is well formed and holds no speech gives
an empty track; whether that matters is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from narravid.annotation_files import read_table, read_text
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
    if suffix == ".csv":
        return _read_howto100m(path)
    return _read_subtitles(read_text(path), path, "vtt" if suffix == ".vtt" else "srt")


def _read_subtitles(content: str, path: Path, cue_format: CueFormat) -> Transcript:
    cues = parse_cues(content, path, cue_format=cue_format)
    cues.sort(key=lambda cue: cue.start_seconds)
    captions = tuple(
        Caption(" ".join(cue.lines), Span(cue.start_seconds, cue.end_seconds)) for cue in unroll_cues(cues)
    )
    return Transcript(CaptionTrack(captions), num_dropped=sum(1 for cue in cues if not cue.lines))


def _read_howto100m(path: Path) -> Transcript:
    captions: list[Caption] = []
    num_dropped = 0
    for row in read_table(path, CSV_COLUMNS, check_header=partial(_refuse_several_videos, path)):
        caption = Caption(row.text("text", may_be_empty=True), row.span("start", "end"))
        if caption.text in ("", "nan"):
            num_dropped += 1
        else:
            captions.append(caption)
    return Transcript(CaptionTrack(tuple(captions)), num_dropped)


def _refuse_several_videos(path: Path, columns: Sequence[str]) -> None:
    if "video_id" in columns:
        reason = "the list covers several videos; a transcript covers one"
        raise AnnotationError(path, reason, line=1, field="video_id")
