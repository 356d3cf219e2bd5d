"""Reading the transcripts of videos, in every form in which they are published.

Every fault is an `AnnotationError` with file and line (in JSON: the field). A file that is well formed and
holds no speech gives an empty track; whether that matters is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from narravid.annotation_files import read_table, read_text
from narravid.errors import AnnotationError
from narravid.text.caption_columns import COLUMNS, caption_text
from narravid.text.captions import Caption, CaptionTrack, Transcript
from narravid.text.cues import parse_cues, transcript_of_cues
from narravid.text.sbv import parse_sbv
from narravid.text.timed_text import parse_timed_text
from narravid.text.transcript_json import read_json_transcript
from narravid.text.transcript_names import TRANSCRIPT_SUFFIXES
from narravid.text.word_times import read_word_alignment

__all__ = ["load_transcript", "read_transcript"]


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

    WebVTT, SubRip, SBV and YouTube's timed text lose their markup, and rolling captions (as YouTube writes
    them) are unrolled, so that every line is read once. HowTo100M lists (`start,end,text` in seconds) are
    taken as they are; a missing text, also one saved as the word "nan", is dropped. For JSON see
    `read_json_transcript`, for `.align` `read_word_alignment`.

    Args:
        path: A file in UTF-8 with one of `TRANSCRIPT_SUFFIXES`.

    Returns:
        The captions, and how many without text were dropped.

    Raises:
        AnnotationError: If the file cannot be read, is of another kind, or has a fault.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _read_howto100m(path)
    if suffix in (".json", ".json3"):
        return read_json_transcript(path)
    if suffix == ".align":
        return read_word_alignment(path)
    if suffix not in TRANSCRIPT_SUFFIXES:
        known = ", ".join(TRANSCRIPT_SUFFIXES)
        raise AnnotationError(path, f"cannot read {suffix!r} as a transcript; convert it to one of {known}")
    content = read_text(path)
    if suffix in (".vtt", ".srt"):
        return transcript_of_cues(parse_cues(content, path, cue_format="vtt" if suffix == ".vtt" else "srt"))
    if suffix == ".sbv":
        return transcript_of_cues(parse_sbv(content, path))
    return transcript_of_cues(parse_timed_text(content, path))


def _read_howto100m(path: Path) -> Transcript:
    captions: list[Caption] = []
    num_dropped = 0
    for row in read_table(path, COLUMNS, check_header=partial(_refuse_several_videos, path)):
        caption = Caption(caption_text(row, "text").strip(), row.span("start", "end"))
        if caption.text:
            captions.append(caption)
        else:
            num_dropped += 1
    return Transcript(CaptionTrack(tuple(captions)), num_dropped)


def _refuse_several_videos(path: Path, columns: Sequence[str]) -> None:
    if "video_id" in columns:
        reason = "the list covers several videos; a transcript covers one"
        raise AnnotationError(path, reason, line=1, field="video_id")
