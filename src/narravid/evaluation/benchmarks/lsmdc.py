"""LSMDC: 1,000 clips of films, searched by the sentence that describes them.

Rohrbach et al. 2017, arXiv 1605.03705. The programs of HowTo100M (Miech et al. 2019, arXiv 1906.03327) take
the whole clip as it was cut out of the film, which may be longer than what the sentence describes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from narravid.data.annotations.lsmdc import LsmdcSentence, read_lsmdc
from narravid.evaluation.benchmarks.annotation_place import find_annotations
from narravid.evaluation.benchmarks.retrieval_clips import ListedPair, embed_listed
from narravid.evaluation.benchmarks.retrieval_protocol import RetrievalProtocol
from narravid.evaluation.benchmarks.retrieval_result import RetrievalData, retrieval_result
from narravid.evaluation.result import BenchmarkResult
from narravid.evaluation.session import EvaluationSession
from narravid.types import Span

__all__ = ["Lsmdc"]

ANNOTATION_NAMES = ("LSMDC16_challenge_1000_publictect.csv",)


@dataclass(frozen=True, kw_only=True)
class Lsmdc(RetrievalProtocol):
    """Text and video retrieval on LSMDC: 1,000 clips of films, one sentence each.

    Attributes:
        videos: Folder of the clips, `FILM/FILM_START-END.avi` or all in one folder.
        annotations: The list with tabs between fields; looked for under its published name in the videos'
            folder and beside it when absent.
        part: What of a clip's file is looked at: all of it, as published (extracted), or only the part that
            the sentence was aligned with by hand (aligned).
    """

    name: ClassVar[str] = "lsmdc"

    videos: Path | None = None
    annotations: Path | None = None
    part: Literal["extracted", "aligned"] = "extracted"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.part not in ("extracted", "aligned"):
            raise ValueError(f"part must be 'extracted' or 'aligned', got {self.part!r}")

    def run(self, session: EvaluationSession) -> BenchmarkResult:
        """Measure the session's model; see `Benchmark.run`."""
        source = find_annotations(self.annotations, ANNOTATION_NAMES, videos=self.videos)
        is_aligned = self.part == "aligned"
        listed = [
            ListedPair(
                sentence.clip_id, sentence.places, sentence.text, _aligned(sentence) if is_aligned else None
            )
            for sentence in read_lsmdc(source)
        ]
        clips = embed_listed(session, self, listed, source=source, videos=self.videos)
        if is_aligned:
            num_whole = sum(pair.span is None for pair in listed)
            clips = replace(clips, card={"clips_aligned_elsewhere_taken_whole": num_whole, **clips.card})
        gallery = (
            "the aligned part of each clip's file" if is_aligned else "whole files of clips, as published"
        )
        data = RetrievalData(self.name, "LSMDC", {"annotations": source}, gallery)
        return retrieval_result(session, data, clips)


def _aligned(sentence: LsmdcSentence) -> Span | None:
    """The aligned part in seconds of the clip's file, which begins where the clip was cut out of the film.

    None, for all of the file, where the two do not meet.
    """
    start = sentence.extracted.start_seconds
    first = max(0.0, sentence.aligned.start_seconds - start)
    last = min(sentence.aligned.end_seconds, sentence.extracted.end_seconds) - start
    return Span(first, last) if last > first else None
