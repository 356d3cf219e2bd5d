"""A retrieval benchmark's result: both directions, chance, what is missing, pictures and examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from narravid.evaluation.benchmarks.protocol_card import protocol_card
from narravid.evaluation.benchmarks.retrieval_clips import EmbeddedClips
from narravid.evaluation.benchmarks.retrieval_scores import RankedPairs, examples, measures, rank_pairs
from narravid.evaluation.drawings import Drawings
from narravid.evaluation.published import PUBLISHED
from narravid.evaluation.result import BenchmarkResult, Coverage, MissingItem
from narravid.evaluation.result_pictures import rank_histogram
from narravid.evaluation.session import EvaluationSession

__all__ = ["RetrievalData", "retrieval_result"]

NUM_EXAMPLES = 8


@dataclass(frozen=True, slots=True)
class RetrievalData:
    """What a retrieval benchmark's numbers are about.

    Attributes:
        benchmark: Its name.
        title: Its name for people.
        files: Annotation files by what they are.
        gallery: What is searched, in a few words.
    """

    benchmark: str
    title: str
    files: Mapping[str, Path]
    gallery: str


def retrieval_result(
    session: EvaluationSession, data: RetrievalData, clips: EmbeddedClips
) -> BenchmarkResult:
    """Score embeddings and put together everything that is to be told of them.

    Args:
        session: The run.
        data: What the numbers are about.
        clips: At least one pair.

    Returns:
        The result: text to video first, video to text further.
    """
    embedded = clips.embedded
    ranked = rank_pairs(embedded, clips.card["similarity"])
    text_to_video, video_to_text = measures(ranked, names=clips.names, seed=session.seed)
    best, worst = examples(ranked, count=NUM_EXAMPLES)
    num_clips = len(embedded.video)
    return BenchmarkResult(
        benchmark=data.benchmark,
        title=data.title,
        measures=text_to_video,
        further={"video to text": video_to_text},
        card=protocol_card(
            session,
            data.benchmark,
            files=data.files,
            gallery=data.gallery,
            gallery_size=num_clips,
            num_texts=len(embedded.pairs),
            **clips.card,
        ),
        coverage=Coverage(
            unit="pairs of clip and sentence",
            num_expected=len(embedded.pairs) + len(embedded.missing),
            num_measured=len(embedded.pairs),
            missing=tuple(MissingItem(item.pair.path, item.reason) for item in embedded.missing),
        ),
        published=PUBLISHED.get(data.benchmark, ()),
        plots=_histograms(ranked),
        best=best,
        worst=worst,
    )


def _histograms(ranked: RankedPairs) -> Drawings:
    """Both directions; the other way only where each clip has one sentence, as its bars of chance assume."""
    num_texts, num_clips = len(ranked.embedded.pairs), len(ranked.embedded.video)
    counts = {"ranks_text_to_video": (ranked.text_to_video, num_clips)}
    if num_texts == num_clips:
        counts["ranks_video_to_text"] = (ranked.video_to_text, num_texts)
    return Drawings(
        {
            name: partial(rank_histogram, of.ranks().numpy(), gallery_size=gallery_size)
            for name, (of, gallery_size) in counts.items()
        }
    )
