"""Ranks of a retrieval benchmark as measures with intervals, and the queries that went best and worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from narravid.evaluation.embed import EmbeddedPairs
from narravid.evaluation.pairs import RetrievalPair
from narravid.evaluation.result import Example, Measure, Shown
from narravid.evaluation.retrieval import best_own_texts
from narravid.metrics import RankCounts, bidirectional_rank_counts_from_embeddings, chance_metrics
from narravid.metrics.bootstrap import Outcomes
from narravid.types import Similarity

__all__ = ["RankedPairs", "examples", "measures", "rank_pairs"]

DEPTHS = (1, 5, 10)
NUM_SHOWN = 4
"""Clips shown of what a query found; its own comes behind where it is not among them."""
NUM_WEIGHED = 256
"""Of the queries with the best or worst ranks so many are compared by their scores."""


@dataclass(frozen=True, slots=True, eq=False)
class RankedPairs:
    """Where the right one stands for each query, in both directions.

    Attributes:
        embedded: The N sentences and C clips.
        similarity: How they were compared.
        text_to_video: Of the N sentences, each looking for its clip.
        video_to_text: Of the C clips, each looking for the best-scored of its own sentences.
    """

    embedded: EmbeddedPairs
    similarity: Similarity
    text_to_video: RankCounts
    video_to_text: RankCounts


def rank_pairs(embedded: EmbeddedPairs, similarity: Similarity) -> RankedPairs:
    """Count ranks in both directions.

    Args:
        embedded: At least one pair.
        similarity: How to compare.
    """
    text_to_video, video_to_text = bidirectional_rank_counts_from_embeddings(
        embedded.text,
        embedded.video,
        similarity=similarity,
        video_of_text=embedded.clip_of_text,
        text_of_video=best_own_texts(embedded, similarity),
    )
    return RankedPairs(embedded, similarity, text_to_video, video_to_text)


def measures(
    ranked: RankedPairs, *, names: Mapping[str, str] | None = None, seed: int
) -> tuple[tuple[Measure, ...], tuple[Measure, ...]]:
    """Recall at 1, 5 and 10, median and mean rank, of text to video and of video to text.

    Clips are what is drawn anew for the intervals: all sentences of one clip together.

    Args:
        ranked: The ranks.
        names: For each path what the clip is called on every machine; None takes the path.
        seed: Of the resampling.

    Returns:
        Both directions; the other way has a chance level only where each clip has one sentence.
    """
    embedded = ranked.embedded
    units = _units(embedded, names or {})
    num_clips = len(units)
    chance = chance_metrics(num_clips)
    units_of_texts = tuple(units[row] for row in embedded.clip_of_text)
    is_one_to_one = len(embedded.pairs) == num_clips
    return (
        _measures(ranked.text_to_video, units_of_texts, chance=chance, seed=seed),
        _measures(ranked.video_to_text, units, chance=chance if is_one_to_one else None, seed=seed),
    )


def _measures(
    counts: RankCounts, units: tuple[str, ...], *, chance: dict[str, float] | None, seed: int
) -> tuple[Measure, ...]:
    ranks = counts.ranks().numpy()
    level = chance or {}
    shares = [
        Measure.of(
            f"R@{depth}",
            Outcomes("mean", counts.hits(depth).numpy(), units),
            kind="share",
            chance=level.get(f"R@{depth}"),
            seed=seed,
        )
        for depth in DEPTHS
    ]
    outcomes = {"MedR": Outcomes("median", ranks, units), "MeanR": Outcomes("mean", ranks, units)}
    places = [
        Measure.of(name, outcome, kind="rank", chance=level.get(name), seed=seed)
        for name, outcome in outcomes.items()
    ]
    return (*shares, *places)


def _units(embedded: EmbeddedPairs, names: Mapping[str, str]) -> tuple[str, ...]:
    """What is drawn for the intervals: the name of each of the C clips, with its span where it has one.

    Two entries of one clip have one name, so that they are drawn together.
    """
    first: dict[int, RetrievalPair] = {}
    for pair, row in zip(embedded.pairs, embedded.clip_of_text.tolist(), strict=True):
        first.setdefault(row, pair)
    return tuple(_unit(first[row], names) for row in range(len(embedded.video)))


def _unit(pair: RetrievalPair, names: Mapping[str, str]) -> str:
    name = names.get(pair.path, pair.path)
    return name if pair.span is None else f"{name}@{pair.span.start_seconds:g}-{pair.span.end_seconds:g}"


def examples(ranked: RankedPairs, *, count: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The sentences that found their clip best, and those that found it worst, with what they found.

    Of equal ranks that comes first whose clip is furthest ahead of, or behind, the best other clip.

    Args:
        ranked: The ranks.
        count: How many of each at most; no sentence is in both.

    Returns:
        Best and worst.
    """
    ranks = ranked.text_to_video.ranks().numpy()
    order = np.argsort(ranks, kind="stable")
    count = min(count, max(1, len(order) // 2))
    best = _by_margin(ranked, order[:NUM_WEIGHED])[:count]
    taken = set(best)
    worst = [text for text in _by_margin(ranked, order[::-1][:NUM_WEIGHED])[::-1] if text not in taken]
    return _shown(ranked, best), _shown(ranked, worst[:count])


def _by_margin(ranked: RankedPairs, texts: npt.NDArray[np.int64]) -> list[int]:
    """Some sentences, the best first: by rank, then by how far their clip is ahead of all others."""
    scores = _scores(ranked, texts)
    targets = ranked.embedded.clip_of_text[texts]
    rows = np.arange(len(texts))
    right = scores[rows, targets]
    scores[rows, targets] = -np.inf
    margins = right - scores.max(axis=1) if scores.shape[1] > 1 else right
    ranks = ranked.text_to_video.ranks().numpy()[texts]
    return [int(texts[place]) for place in np.lexsort((-margins, ranks))]


def _shown(ranked: RankedPairs, texts: Sequence[int]) -> tuple[Example, ...]:
    if not texts:
        return ()
    embedded = ranked.embedded
    clips: dict[int, RetrievalPair] = {}
    for pair, row in zip(embedded.pairs, embedded.clip_of_text.tolist(), strict=True):
        clips.setdefault(row, pair)
    ranks = ranked.text_to_video.ranks().numpy()
    shown = []
    for text, scores in zip(texts, _scores(ranked, np.array(texts)), strict=True):
        target = int(embedded.clip_of_text[text])
        order = np.argsort(-scores, kind="stable")
        found = order[:NUM_SHOWN].tolist()
        if target not in found:
            found.append(target)
        place_of = {int(row): place for place, row in enumerate(order, 1)}
        shown.append(
            Example(
                title=embedded.pairs[text].text,
                note=f"its clip has rank {ranks[text]:g} of {len(scores):,}",
                good=bool(ranks[text] == 1),
                shown=tuple(
                    Shown(
                        clips[row].path,
                        clips[row].span,
                        f"{'its clip, ' if row == target else ''}place {place_of[row]:,}, {scores[row]:.3f}",
                        row == target,
                    )
                    for row in found
                ),
            )
        )
    return tuple(shown)


def _scores(ranked: RankedPairs, texts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(n, C) float64 similarity of some sentences with all clips."""
    text = ranked.embedded.text[texts].astype(np.float64)
    video = ranked.embedded.video.astype(np.float64)
    if ranked.similarity == "cosine":
        text /= np.linalg.norm(text, axis=1, keepdims=True).clip(min=1e-12)
        video /= np.linalg.norm(video, axis=1, keepdims=True).clip(min=1e-12)
    scores: npt.NDArray[np.float64] = text @ video.T
    return scores
