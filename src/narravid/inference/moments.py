"""Merging the neighbouring windows that a search finds into moments.

Windows overlap, so one event is found several times. The rule: take the windows in order of score; windows
of one video that overlap or touch are one moment, from the first start to the last end, with the best score.
How far down the list to go follows from the number of moments that is asked for: as few windows as give that
many. Going further would only glue moments together, in a small index until whole videos are one; so where
the number is never reached, the shortest stretch of the list with the most moments counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from narravid.types import Hit, Span

__all__ = ["merge_moments"]

TOUCH_TOLERANCE_SECONDS = 1e-6
"""Windows closer than this touch: sums of strides differ from products by rounding."""


def merge_moments(windows: Sequence[Hit], top: int) -> list[Hit]:
    """The best moments among windows.

    Args:
        windows: Single windows of any videos, best first.
        top: How many moments are wanted, at least 1.

    Returns:
        At most `top` moments, best first; two moments of one video neither overlap nor touch.

    Raises:
        ValueError: If `top` is below 1 or the windows are not in order of score.

    >>> windows = [Hit("a", Span(4, 6), 0.9), Hit("a", Span(5, 7), 0.8), Hit("b", Span(0, 2), 0.7)]
    >>> [(hit.path, hit.span.start_seconds, hit.span.end_seconds, hit.score)
    ...  for hit in merge_moments(windows, top=2)]
    [('a', 4, 7, 0.9), ('b', 0, 2, 0.7)]
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    if any(later.score > earlier.score for earlier, later in pairwise(windows)):
        raise ValueError("windows must be in order of score, best first")
    num_windows = _num_windows_to_merge(windows, top)
    moments = _Moments()
    for window in windows[:num_windows]:
        moments.add(window)
    return moments.best_first()


def _num_windows_to_merge(windows: Iterable[Hit], top: int) -> int:
    """The least number of windows that gives `top` moments, or else the most."""
    moments = _Moments()
    best_count = best_length = 0
    for length, window in enumerate(windows, start=1):
        moments.add(window)
        if moments.count > best_count:
            best_count, best_length = moments.count, length
        if best_count == top:
            break
    return best_length


class _Moments:
    """Moments by video, fed with windows best first."""

    def __init__(self) -> None:
        self._by_path: dict[str, list[Hit]] = {}
        self.count = 0

    def add(self, window: Hit) -> None:
        """Join the window to the moments it meets, or open a new one."""
        moments = self._by_path.setdefault(window.path, [])
        met = [moment for moment in moments if _meet(moment.span, window.span)]
        joined = [*met, window]
        span = Span(
            min(hit.span.start_seconds for hit in joined), max(hit.span.end_seconds for hit in joined)
        )
        kept = [moment for moment in moments if moment not in met]
        self._by_path[window.path] = [*kept, Hit(window.path, span, max(hit.score for hit in joined))]
        self.count += 1 - len(met)

    def best_first(self) -> list[Hit]:
        """Every moment; equal scores by path and time, never by luck of order."""
        moments = [moment for found in self._by_path.values() for moment in found]
        return sorted(moments, key=lambda hit: (-hit.score, hit.path, hit.span.start_seconds))


def _meet(first: Span, second: Span) -> bool:
    return (
        first.start_seconds <= second.end_seconds + TOUCH_TOLERANCE_SECONDS
        and second.start_seconds <= first.end_seconds + TOUCH_TOLERANCE_SECONDS
    )
