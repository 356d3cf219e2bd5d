"""Words with times, as recognisers and aligners write them, and the captions that they make up.

Words are cut into captions as temporal alignment networks cut sentences (Han et al. 2022, arXiv 2204.02968,
appendix on sentencification): at full stops, at commas from 20 words on, and at pauses of more than a second;
and at the latest after 32 words, what the longest-reading text tower takes, for speech without punctuation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from narravid.annotation_files import read_rows
from narravid.text.captions import Caption, CaptionTrack, Transcript
from narravid.types import Span

__all__ = ["group_words", "read_word_alignment"]

MAX_PAUSE_SECONDS = 1.0
MIN_WORDS_BEFORE_COMMA = 20
MAX_WORDS = 32
FULL_STOPS = (".", "!", "?", "…", "。")
CLOSING_MARKS = "\"')]}»”’"

ALIGNMENT_UNITS_PER_SECOND = 25_000
"""Times of a GRID `.align` file count samples of its 25 kHz sound."""

SILENCES = ("sil", "sp")


def group_words(words: Sequence[Caption]) -> list[Caption]:
    """Captions out of single words.

    Args:
        words: Words in the order in which they are spoken, in the spelling of the file: where words start
            with a space, as recognisers based on word pieces write them, one without continues the last.

    Returns:
        The captions, each from the start of its first word to the end of its last.
    """
    separator = "" if any(word.text.startswith(" ") for word in words) else " "
    groups: list[list[Caption]] = []
    for word in words:
        if not groups or _ends_before(groups[-1], word):
            groups.append([])
        groups[-1].append(word)
    return [_caption_of(group, separator) for group in groups]


def _ends_before(group: Sequence[Caption], word: Caption) -> bool:
    last = group[-1].text.strip().rstrip(CLOSING_MARKS)
    return (
        word.span.start_seconds - group[-1].span.end_seconds > MAX_PAUSE_SECONDS
        or last.endswith(FULL_STOPS)
        or (last.endswith(",") and len(group) >= MIN_WORDS_BEFORE_COMMA)
        or len(group) >= MAX_WORDS
    )


def _caption_of(words: Sequence[Caption], separator: str) -> Caption:
    text = " ".join(separator.join(word.text for word in words).split())
    end_seconds = max(word.span.end_seconds for word in words)
    return Caption(text, Span(words[0].span.start_seconds, end_seconds))


def read_word_alignment(path: Path) -> Transcript:
    """Read a GRID `.align` file: lines `start end word` in 1/25000 s, silences named `sil` and `sp`.

    Args:
        path: The file.

    Returns:
        The captions that the words make up; silences are no captions and not counted as dropped.

    Raises:
        AnnotationError: If a line has a fault or ends before it starts.
    """
    words: list[Caption] = []
    for row in read_rows(path, ("start", "end", "word"), separator=" ", quoted=False):
        start, end = row.integer("start"), row.integer("end")
        if end < start:
            raise row.fault(f"must not lie before start {start}, got {end}", "end")
        span = Span(start / ALIGNMENT_UNITS_PER_SECOND, end / ALIGNMENT_UNITS_PER_SECOND)
        word = row.text("word")
        if word not in SILENCES:
            words.append(Caption(word, span))
    words.sort(key=lambda word: word.span.start_seconds)
    return Transcript(CaptionTrack(tuple(group_words(words))), num_dropped=0)
