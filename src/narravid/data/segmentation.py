"""Which stretches of a video a pack keeps: every clip that training may draw lies in one of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from narravid.types import Span
from narravid.video.sampling import aligned_start_range, widen_span

__all__ = ["plan_segments"]

SEGMENT_COST_SECONDS = 0.25
"""What one more segment costs beside its length: a key frame, the headers of two files and their texts."""

MARGIN_SECONDS = 0.001
"""Segments are that much longer at both ends, at whole milliseconds, whatever sums of times round to."""


def plan_segments(
    captions: Iterable[Span],
    duration_seconds: float,
    *,
    clip_seconds: float,
    min_caption_seconds: float,
    max_segment_seconds: float,
) -> list[Span]:
    """Cut a video into segments around its captions.

    Every clip of at most `clip_seconds` lies in one segment that can be drawn from a caption: anywhere in its
    span, widened to `min_caption_seconds` or to less, in whole seconds or not (MIL-NCE, VT-TWINS), or around
    its centre (HTM-AA). Of all ways to do that, the one with the least to store is taken: overlaps between
    segments count, pauses between captions do not.

    Args:
        captions: When something is said, in any order.
        duration_seconds: Length of the video.
        clip_seconds: Longest clip.
        min_caption_seconds: Length to which short captions are widened.
        max_segment_seconds: Longest segment, unless one caption needs a longer one.

    Returns:
        Segments by start, none within another, all within the video.

    Raises:
        ValueError: If a length is not positive.
    """
    for name, value in (("clip_seconds", clip_seconds), ("max_segment_seconds", max_segment_seconds)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive, got {value}")
    reaches = _outermost(
        _reach(
            caption,
            duration_seconds,
            clip_seconds=clip_seconds,
            min_caption_seconds=min_caption_seconds,
        )
        for caption in captions
    )
    firsts = _best_firsts(reaches, max_segment_seconds)
    return [
        Span(reaches[first].start_seconds, reaches[end - 1].end_seconds)
        for first, end in itertools.pairwise([*firsts, len(reaches)])
    ]


def _reach(
    caption: Span, duration_seconds: float, *, clip_seconds: float, min_caption_seconds: float
) -> Span:
    """From where to where the clips of a caption can lie."""
    wide = widen_span(caption, min_caption_seconds)
    lowest, highest = aligned_start_range(
        caption.center_seconds, clip_seconds, duration_seconds=duration_seconds
    )
    # A clip that would pass the end of the video is moved forward by some samplers.
    last_start = math.floor(max(0.0, duration_seconds - clip_seconds))
    start = min(lowest, math.floor(wide.start_seconds), last_start)
    end = max(highest + clip_seconds, wide.end_seconds, caption.start_seconds + clip_seconds)
    return Span(
        max(0.0, math.floor((start - MARGIN_SECONDS) * 1000) / 1000),
        min(duration_seconds, math.ceil((end + MARGIN_SECONDS) * 1000) / 1000),
    )


def _outermost(spans: Iterable[Span]) -> list[Span]:
    """The spans that lie in no other one, by start and so by end too."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start_seconds, -span.end_seconds)):
        if not kept or span.end_seconds > kept[-1].end_seconds:
            kept.append(span)
    return kept


def _best_firsts(reaches: Sequence[Span], max_segment_seconds: float) -> list[int]:
    """Number of the first span of each segment in the cheapest division.

    The cheapest division of the first n spans is the best of: one last segment, and the cheapest division of
    what is before it.
    """
    costs = [0.0]
    firsts: list[int] = []
    for last, reach in enumerate(reaches):
        options = []
        for first in range(last, -1, -1):
            seconds = reach.end_seconds - reaches[first].start_seconds
            if first < last and seconds > max_segment_seconds:
                break
            options.append((costs[first] + seconds + SEGMENT_COST_SECONDS, first))
        cost, first = min(options)
        costs.append(cost)
        firsts.append(first)
    chosen: list[int] = []
    end = len(reaches)
    while end:
        end = firsts[end - 1]
        chosen.append(end)
    return chosen[::-1]
