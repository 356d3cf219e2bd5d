"""Where sentences were placed in the best and the worst videos of HTM-Align: timelines and examples."""

from __future__ import annotations

from functools import partial

from narravid.evaluation.benchmarks.htm_align_view import AlignedView, MeasuredVideo
from narravid.evaluation.drawings import Drawings
from narravid.evaluation.result import Example, Shown
from narravid.evaluation.result_pictures import score_timeline
from narravid.types import Span

__all__ = ["sentence_examples", "timelines"]

NUM_EXAMPLES = 4
MAX_SENTENCES = 6
"""Sentences shown of a video."""
MAX_ROWS = 40
"""Sentences of a timeline; of more it can no longer be read."""


def sentence_examples(view: AlignedView) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The videos in which most sentences were placed right, and those with fewest, with the seconds chosen.

    Args:
        view: The videos as they were aligned.

    Returns:
        The best and the worst; no video is both.
    """
    order = _by_recall(view)
    count = min(NUM_EXAMPLES, len(order) // 2)
    best = order[: max(count, 1)] if order else []
    worst = order[len(order) - count :][::-1] if count else []
    return tuple(_example(one, good=True) for one in best), tuple(_example(one, good=False) for one in worst)


def timelines(view: AlignedView) -> Drawings:
    """Pictures of the similarities of the best and the worst video over time.

    Args:
        view: The videos as they were aligned.

    Returns:
        PNG files by name; none where there is no video with an alignable sentence.
    """
    order = _by_recall(view)
    shown = {f"timeline_best_{view.name}": order[:1], f"timeline_worst_{view.name}": order[1:][-1:]}
    return Drawings({name: partial(_timeline, one) for name, videos in shown.items() for one in videos})


def _by_recall(view: AlignedView) -> list[MeasuredVideo]:
    """Best first, of those with an alignable sentence; of equal recall the one with more of them."""
    known = [one for one in view.videos if any(one.aligned.is_alignable)]

    def key(one: MeasuredVideo) -> tuple[float, float, str]:
        weight = sum(one.aligned.is_alignable)
        return -one.recall, -weight if one.recall >= 0.5 else weight, one.name

    return sorted(known, key=key)


def _alignable(one: MeasuredVideo) -> list[int]:
    return [number for number, shown in enumerate(one.aligned.is_alignable) if shown]


def _timeline(one: MeasuredVideo) -> bytes:
    rows = _alignable(one)[:MAX_ROWS]
    return score_timeline(
        one.known_similarity()[rows],
        row_labels=[one.sentences[row] for row in rows],
        true_spans=[[one.aligned.spans[row]] for row in rows],
        chosen_seconds=[None if best is None else best + 0.5 for best in map(one.best_second, rows)],
        title=f"{one.name} · R@1 {one.recall:.0%}",
    )


def _example(one: MeasuredVideo, *, good: bool) -> Example:
    rows = _alignable(one)
    shown = []
    for row in rows[:MAX_SENTENCES]:
        second, span = one.best_second(row), one.aligned.spans[row]
        true = f"shown {span.start_seconds:.0f}-{span.end_seconds:.0f} s"
        place = None if second is None else Span(float(second), second + 1.0)
        note = f"{one.sentences[row]} ({true})" if place else f"{one.sentences[row]} ({true}, never seen)"
        shown.append(Shown(one.path, place, note, bool(one.outcomes.hits[row] > 0.5)))
    note = f"{one.recall:.0%} of {len(rows)} alignable sentences placed right"
    return Example(one.name, note, good, tuple(shown))
