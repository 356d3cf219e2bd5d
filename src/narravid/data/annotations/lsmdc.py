"""LSMDC 2016: tables without a header, six fields between tabs.

Rohrbach et al. 2017, arXiv 1605.03705; the README of the challenge's files gives the fields: clip, start and
end as aligned by hand, start and end of the clip as extracted (never shorter than 2 s), sentence. Times are
`HH.MM.SS.mmm` of the film. `LSMDC16_challenge_1000_publictect.csv` is the retrieval test, 1,000 clips;
`LSMDC16_annos_training.csv` holds 101,079 sentences, some of one clip. HowTo100M's repository (Miech et al.
2019) reads the same files, fields 0 and 5. The blind test, which has no sentences, is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from narravid.annotation_fields import Fields
from narravid.annotation_files import read_rows
from narravid.types import Span

__all__ = ["LsmdcSentence", "read_lsmdc"]

COLUMNS = ("clip_id", "start_aligned", "end_aligned", "start_extracted", "end_extracted", "sentence")


@dataclass(frozen=True, slots=True)
class LsmdcSentence:
    """A clip of a film and a sentence that describes it.

    Attributes:
        clip_id: Name of the clip, `FILM_HH.MM.SS.mmm-HH.MM.SS.mmm`; the training list names some twice.
        aligned: The part of the film that the sentence describes.
        extracted: The part of the film that the clip shows.
        text: The sentence; names of characters are SOMEONE.
    """

    clip_id: str
    aligned: Span
    extracted: Span
    text: str

    @property
    def film(self) -> str:
        """Name of the film."""
        return self.clip_id.rpartition("_")[0]

    @property
    def places(self) -> tuple[str, ...]:
        """Where the clip may lie, without suffix: in a folder of its film, or beside all others."""
        return f"{self.film}/{self.clip_id}", self.clip_id


def read_lsmdc(path: Path) -> tuple[LsmdcSentence, ...]:
    """Read a list of LSMDC.

    Args:
        path: The file; its suffix is .csv, though tabs stand between the fields and `"` means nothing.

    Returns:
        The sentences in order.

    Raises:
        AnnotationError: If a row has not six fields, a clip's name holds no film, or a time is wrong.
    """
    sentences = []
    for row in read_rows(path, COLUMNS, separator="\t", quoted=False):
        clip_id = row.text("clip_id")
        if not clip_id.rpartition("_")[0]:
            raise row.wrong("clip_id", "FILM_HH.MM.SS.mmm-HH.MM.SS.mmm")
        aligned, extracted = (
            _read_span(row, f"start_{kind}", f"end_{kind}") for kind in ("aligned", "extracted")
        )
        sentences.append(LsmdcSentence(clip_id, aligned, extracted, row.text("sentence")))
    return tuple(sentences)


def _read_span(row: Fields, start: str, end: str) -> Span:
    start_seconds, end_seconds = _read_time(row, start), _read_time(row, end)
    if end_seconds < start_seconds:
        raise row.fault(f"must not lie before {start} {row.text(start)}, got {row.text(end)}", end)
    return Span(start_seconds, end_seconds)


def _read_time(row: Fields, column: str) -> float:
    match = re.fullmatch(r"([0-9]{2})\.([0-5][0-9])\.([0-5][0-9])\.([0-9]{3})", row.text(column))
    if match is None:
        raise row.wrong(column, "a time HH.MM.SS.mmm")
    hours, minutes, seconds, milliseconds = map(int, match.groups())
    return ((hours * 60 + minutes) * 60_000 + seconds * 1000 + milliseconds) / 1000
