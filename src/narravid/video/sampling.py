"""Where clips start: pure functions of seconds, and of a generator where something is drawn."""

from __future__ import annotations

import math

import torch

from narravid.types import Span

__all__ = [
    "aligned_start_range",
    "clip_start_range",
    "draw_aligned_start",
    "draw_clip_start",
    "draw_windows",
    "evaluation_windows",
    "sliding_windows",
    "uniform_windows",
    "whole_second_span",
    "widen_span",
]

END_MARGIN_SECONDS = 0.4
"""The published evaluations keep their last window this far from the end of the span."""

SAME_TIME_SECONDS = 1e-6


def evaluation_windows(span: Span, clip_seconds: float, num_windows: int) -> list[float]:
    """Starts of the windows over which an evaluation averages.

    Equally spaced from the start of the span to 0.4 s before the last place where a clip fits; all at the
    start when the span is too short (Miech et al. 2020, arXiv 1912.06430, released evaluation).

    Args:
        span: The stretch of video to cover.
        clip_seconds: Length of a clip.
        num_windows: How many windows; one alone starts at the start.

    Returns:
        `num_windows` start times in seconds, ascending.

    >>> evaluation_windows(Span(10.0, 20.0), 1.6, 3)
    [10.0, 14.0, 18.0]
    """
    _check_positive("clip_seconds", clip_seconds)
    _check_num_windows(num_windows)
    start = span.start_seconds
    last = max(start, span.end_seconds - clip_seconds - END_MARGIN_SECONDS)
    gaps = max(1, num_windows - 1)
    return [start + (last - start) * number / gaps for number in range(num_windows)]


def sliding_windows(duration_seconds: float, clip_seconds: float, *, stride_seconds: float) -> list[Span]:
    """Overlapping windows that cover a whole video.

    Windows start every `stride_seconds`; the last one is moved back so that it ends with the video. A video
    shorter than a clip gives one window over all of it.

    Args:
        duration_seconds: Length of the video.
        clip_seconds: Length of a window.
        stride_seconds: Distance of window starts, at most `clip_seconds` so that nothing falls between.

    Returns:
        At least one span, ascending; every moment of the video lies in one.

    >>> [window.start_seconds for window in sliding_windows(10.0, 4.0, stride_seconds=2.5)]
    [0.0, 2.5, 5.0, 6.0]
    """
    _check_positive("duration_seconds", duration_seconds)
    _check_positive("clip_seconds", clip_seconds)
    _check_positive("stride_seconds", stride_seconds)
    if stride_seconds > clip_seconds:
        raise ValueError(
            f"stride_seconds must not exceed clip_seconds ({clip_seconds}), or moments would be left out; "
            f"got {stride_seconds}"
        )
    last = duration_seconds - clip_seconds
    if last <= SAME_TIME_SECONDS:
        return [Span(0.0, duration_seconds)]
    num_before_last = math.ceil((last - SAME_TIME_SECONDS) / stride_seconds)
    starts = [number * stride_seconds for number in range(num_before_last)]
    return [*(Span(start, start + clip_seconds) for start in starts), Span(last, duration_seconds)]


def uniform_windows(duration_seconds: float, clip_seconds: float, *, num_windows: int) -> list[Span]:
    """Windows spread evenly over a whole video, the first at its start, the last at its end.

    Unlike `evaluation_windows`, which stops 0.4 s short of the end as published, nothing is left over.

    Args:
        duration_seconds: Length of the video.
        clip_seconds: Length of a window.
        num_windows: How many windows; one alone starts with the video.

    Returns:
        `num_windows` spans inside the video, ascending; each is all of a video shorter than a clip.

    >>> [window.start_seconds for window in uniform_windows(10.0, 4.0, num_windows=3)]
    [0.0, 3.0, 6.0]
    """
    last = _last_start(duration_seconds, clip_seconds, num_windows)
    gaps = max(1, num_windows - 1)
    starts = [last * number / gaps for number in range(num_windows)]
    return [Span(start, min(start + clip_seconds, duration_seconds)) for start in starts]


def draw_windows(
    duration_seconds: float, clip_seconds: float, *, num_windows: int, generator: torch.Generator
) -> list[Span]:
    """Draw windows of a video, each uniformly over all places where it fits: training without captions.

    Args:
        duration_seconds: Length of the video.
        clip_seconds: Length of a window.
        num_windows: How many windows, drawn independently.
        generator: Source of the draws; `num_windows` numbers are taken whatever the lengths.

    Returns:
        `num_windows` spans inside the video, in the order drawn; each is all of a video shorter than a clip.
    """
    last = _last_start(duration_seconds, clip_seconds, num_windows)
    shares = torch.rand(num_windows, generator=generator, dtype=torch.float64).tolist()
    return [Span(last * share, min(last * share + clip_seconds, duration_seconds)) for share in shares]


def widen_span(span: Span, min_seconds: float) -> Span:
    """A caption's span, widened around its centre to a least length.

    At the beginning of the video the span is moved right instead of starting before 0 (MIL-NCE, released
    training loader; Miech et al. 2020, arXiv 1912.06430).

    Args:
        span: The caption's span.
        min_seconds: Least length; a longer span is left alone.

    Returns:
        A span of at least `min_seconds`.

    >>> widen_span(Span(10.0, 12.0), 5.0)
    Span(start_seconds=8.5, end_seconds=13.5)
    """
    if not (math.isfinite(min_seconds) and min_seconds >= 0):
        raise ValueError(f"min_seconds must be at least 0, got {min_seconds}")
    start, end = span.start_seconds, span.end_seconds
    if end - start >= min_seconds:
        return span
    start = max(0.0, start - (min_seconds - end + start) / 2)
    return Span(start, start + min_seconds)


def whole_second_span(span: Span) -> Span:
    """The span with both times cut to whole seconds, as the published loaders read captions.

    >>> whole_second_span(Span(4.62, 10.96))
    Span(start_seconds=4.0, end_seconds=10.0)
    """
    return Span(float(math.trunc(span.start_seconds)), float(math.trunc(span.end_seconds)))


def clip_start_range(span: Span, clip_seconds: float) -> tuple[int, int]:
    """Lowest and highest whole second at which a clip of this span may start, both included.

    Args:
        span: A span of whole seconds; see `whole_second_span`.
        clip_seconds: Length of a clip.

    Returns:
        (lowest, highest); equal when the clip is as long as the span or longer.

    >>> clip_start_range(Span(10.0, 20.0), 3.2)
    (10, 16)
    """
    _check_positive("clip_seconds", clip_seconds)
    for name, value in (("start_seconds", span.start_seconds), ("end_seconds", span.end_seconds)):
        if value != math.trunc(value):
            raise ValueError(f"{name} must be a whole second (see whole_second_span), got {value}")
    lowest = math.trunc(span.start_seconds)
    return lowest, math.trunc(max(lowest, span.end_seconds - clip_seconds))


def draw_clip_start(span: Span, clip_seconds: float, *, generator: torch.Generator) -> int:
    """Draw a whole second at which a clip starts, each second of `clip_start_range` equally likely.

    Args:
        span: A span of whole seconds.
        clip_seconds: Length of a clip.
        generator: Source of the draw; one number is taken whatever the span.

    Returns:
        Start in whole seconds.
    """
    lowest, highest = clip_start_range(span, clip_seconds)
    return int(torch.randint(lowest, highest + 1, (), generator=generator))


def aligned_start_range(
    timestamp_seconds: float, clip_seconds: float, *, duration_seconds: float
) -> tuple[int, int]:
    """Lowest and highest whole second at which a clip of an aligned sentence may start, both included.

    HTM-AA gives a sentence one timestamp t, and a clip starts in [floor(t - clip), ceil(t)], held inside the
    video (Han et al. 2022, arXiv 2204.02968, released end-to-end loader). So the clip need not hold t: it may
    end just before or begin just after it, and pass the end of the video by up to its whole length.

    Args:
        timestamp_seconds: Centre of the sentence, at least 0.
        clip_seconds: Length of a clip.
        duration_seconds: Length of the video.

    Returns:
        (lowest, highest). Empty, with highest below lowest, when the whole range lies beyond the video.

    >>> aligned_start_range(10.3, 3.2, duration_seconds=100.0)
    (7, 11)
    """
    if not (math.isfinite(timestamp_seconds) and timestamp_seconds >= 0):
        raise ValueError(f"timestamp_seconds must be at least 0, got {timestamp_seconds}")
    _check_positive("clip_seconds", clip_seconds)
    _check_positive("duration_seconds", duration_seconds)
    lowest = max(0, math.floor(timestamp_seconds - clip_seconds))
    return lowest, min(math.ceil(timestamp_seconds), math.floor(duration_seconds))


def draw_aligned_start(
    timestamp_seconds: float, clip_seconds: float, *, duration_seconds: float, generator: torch.Generator
) -> int:
    """Draw a whole second at which a clip starts, each of `aligned_start_range` equally likely.

    Args:
        timestamp_seconds: Centre of the sentence, at least 0.
        clip_seconds: Length of a clip.
        duration_seconds: Length of the video.
        generator: Source of the draw.

    Returns:
        Start in whole seconds.

    Raises:
        ValueError: If no second is left because the sentence lies beyond the end of the video.
    """
    lowest, highest = aligned_start_range(timestamp_seconds, clip_seconds, duration_seconds=duration_seconds)
    if highest < lowest:
        raise ValueError(
            f"no clip of {clip_seconds} s at {timestamp_seconds} s can start inside a video of "
            f"{duration_seconds} s; leave this sentence out"
        )
    return int(torch.randint(lowest, highest + 1, (), generator=generator))


def _last_start(duration_seconds: float, clip_seconds: float, num_windows: int) -> float:
    """Where the last window that fits into a video starts; the three arguments are checked."""
    _check_positive("duration_seconds", duration_seconds)
    _check_positive("clip_seconds", clip_seconds)
    _check_num_windows(num_windows)
    return max(0.0, duration_seconds - clip_seconds)


def _check_num_windows(num_windows: int) -> None:
    if num_windows < 1:
        raise ValueError(f"num_windows must be at least 1, got {num_windows}")


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive, got {value}")
