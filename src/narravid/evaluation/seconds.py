"""One vector for each second of a video: what placing steps and sentences in time begins with."""

from __future__ import annotations

import math
from dataclasses import replace

from narravid.errors import DecodeError
from narravid.evaluation.window_plans import PlanRule, WindowPlan
from narravid.types import ClipSpec, Span, VideoInfo

__all__ = ["count_seconds", "second_starts", "second_windows"]

SHORTEST_SECOND = 0.1
"""A rest of a video shorter than this is the rounding of its container and no second of its own."""


def count_seconds(duration_seconds: float) -> int:
    """How many seconds a video has, the last of which may be cut short.

    Args:
        duration_seconds: Its length, positive.

    Returns:
        T, at least 1; second t covers [t, t + 1).

    Raises:
        ValueError: If the length is not positive.

    >>> count_seconds(10.04), count_seconds(10.4), count_seconds(0.05)
    (10, 11, 1)
    """
    if not (math.isfinite(duration_seconds) and duration_seconds > 0):
        raise ValueError(f"duration_seconds must be positive, got {duration_seconds}")
    return max(1, math.ceil(duration_seconds - SHORTEST_SECOND))


def second_starts(duration_seconds: float, clip_seconds: float) -> tuple[float, ...]:
    """Where the windows that stand for the seconds of a video start.

    Each lies around the middle of its second. Near the ends of the video it is moved inside, so that no
    window shows what is not there: the first seconds, and the last, may share a window.

    Args:
        duration_seconds: Length of the video, positive.
        clip_seconds: Length of a window, positive.

    Returns:
        T starts in seconds, ascending.

    >>> second_starts(5.0, 2.0)
    (0.0, 0.5, 1.5, 2.5, 3.0)
    >>> second_starts(3.0, 1.0)
    (0.0, 1.0, 2.0)
    """
    if not clip_seconds > 0:
        raise ValueError(f"clip_seconds must be positive, got {clip_seconds}")
    last = max(0.0, duration_seconds - clip_seconds)
    middles = (second + 0.5 for second in range(count_seconds(duration_seconds)))
    return tuple(min(last, max(0.0, middle - clip_seconds / 2)) for middle in middles)


def second_windows(spec: ClipSpec) -> PlanRule:
    """One window for each second of a video, whatever part of it is asked for; centre crops.

    Args:
        spec: What a window looks like; a random crop becomes that of the centre.

    Returns:
        The rule; it leaves out a video of no length.
    """
    centred = replace(spec, crop="center")

    def plan(info: VideoInfo, _: Span | None) -> WindowPlan:
        if not info.duration_seconds > 0:
            raise DecodeError(info.path, "its length is 0 s")
        return WindowPlan(centred, second_starts(info.duration_seconds, centred.duration_seconds))

    return plan
