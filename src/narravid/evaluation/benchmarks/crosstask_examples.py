"""Where CrossTask's steps were placed in the best and the worst videos: timelines and examples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from narravid.evaluation.benchmarks.crosstask_scores import ScoredVideo
from narravid.evaluation.drawings import Drawings
from narravid.evaluation.result import Example, Shown
from narravid.evaluation.result_pictures import score_timeline
from narravid.types import Span

__all__ = ["step_examples", "timelines"]

NUM_EXAMPLES = 4


def step_examples(scored: Sequence[ScoredVideo]) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The videos in which most steps were found, and those in which fewest were, with the seconds chosen.

    Args:
        scored: The videos.

    Returns:
        The best and the worst; no video is both.
    """
    order = _by_recall(scored)
    count = min(NUM_EXAMPLES, len(order) // 2)
    best = order[: max(count, 1)] if order else []
    worst = order[len(order) - count :][::-1] if count else []
    return tuple(_example(one, good=True) for one in best), tuple(_example(one, good=False) for one in worst)


def timelines(scored: Sequence[ScoredVideo]) -> Drawings:
    """Pictures of the scores of the best and the worst video over time.

    Args:
        scored: The videos.

    Returns:
        PNG files by name; none where there is no video.
    """
    order = _by_recall(scored)
    shown = {"timeline_best": order[:1], "timeline_worst": order[1:][-1:]}
    return Drawings({name: partial(_timeline, one) for name, videos in shown.items() for one in videos})


def _by_recall(scored: Sequence[ScoredVideo]) -> list[ScoredVideo]:
    """Best first; of equal recall the one with more annotated steps is the better and the worse example."""
    known = [one for one in scored if one.num_steps]

    def key(one: ScoredVideo) -> tuple[float, float, str]:
        return -one.recall, -one.num_steps if one.recall >= 0.5 else one.num_steps, one.video.listed.name

    return sorted(known, key=key)


def _timeline(one: ScoredVideo) -> bytes:
    listed = one.video.listed
    rows = range(len(listed.task.steps))
    return score_timeline(
        one.scores.T.numpy(),
        row_labels=listed.task.steps,
        true_spans=[[span for step, span in listed.annotations if step == row] for row in rows],
        chosen_seconds=(one.placed.shares.argmax(dim=0) + 0.5).tolist(),
        title=f"{listed.task.title} · {listed.video_id} · recall {one.recall:.0%}",
    )


def _example(one: ScoredVideo, *, good: bool) -> Example:
    listed = one.video.listed
    shown = []
    for step, text in enumerate(listed.task.steps):
        found = float(one.placed.found[step])
        if found == found:  # annotated in this video
            second = float(one.placed.shares[:, step].argmax())
            shown.append(
                Shown(one.video.path, Span(second, second + 1), f"{text} at {second:.0f} s", found > 0.5)
            )
    note = f"{one.recall:.0%} of {len(shown)} annotated steps found"
    return Example(f"{listed.task.title} · {listed.video_id}", note, good, tuple(shown))
