"""A long video through a short view: which windows an aligner sees, with which texts, and what they sum to.

The protocol of HTM-Align (Han et al., CVPR 2022, arXiv 2204.02968): windows of 64 s every 16 s, each with the
texts spoken around it; scores are averaged over the windows that saw a text and a second together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from narravid.metrics.ranking import Array
from narravid.types import Span

__all__ = [
    "AlignmentWindow",
    "StitchedScores",
    "StitchedSimilarity",
    "alignment_windows",
    "stitch_scores",
    "stitch_similarity",
    "whole_video_window",
]

EndRule = Literal["both", "published"]
"""What a window near both ends of a short video takes in: the texts up to either end ("both"), or, as in the
published program, only those up to the beginning ("published")."""

NUM_END_WINDOWS = 4
"""How many windows at either end of a video count as near it."""


@dataclass(frozen=True, slots=True)
class AlignmentWindow:
    """What an aligner sees at once.

    Attributes:
        seconds: The whole seconds of the video; second t covers [t, t + 1).
        texts: The places of the texts.
    """

    seconds: range
    texts: range


@dataclass(frozen=True, slots=True)
class StitchedSimilarity:
    """Similarities of a whole video.

    Attributes:
        similarity: (N, T) float64 mean over the windows that saw text and second together; 0 where none did.
        num_windows: (N, T) int64 how many those are.
    """

    similarity: torch.Tensor
    num_windows: torch.Tensor


@dataclass(frozen=True, slots=True)
class StitchedScores:
    """Scores of the texts of a whole video.

    Attributes:
        scores: (N,) float64 mean over the windows that saw the text; 0 where none did.
        num_windows: (N,) int64 how many those are.
    """

    scores: torch.Tensor
    num_windows: torch.Tensor


def alignment_windows(
    num_seconds: int,
    spans: Sequence[Span],
    is_alignable: Sequence[bool],
    *,
    window_seconds: int = 64,
    step_seconds: int = 16,
    end_rule: EndRule = "both",
) -> list[AlignmentWindow]:
    """The windows that cover a video, with the texts that each is shown.

    Windows start every `step_seconds` as long as more than half a window remains. A text whose place is to be
    found must not be chosen by its true time, so the texts are chosen by their order and the times of those
    that are *not* alignable, which are only spoken: all between the first and the last such text whose middle
    lies at most one window's length before the window or behind it. A window without such a text nearby is
    left out. The first four windows take in all texts from the first, the last four all up to the last.

    Args:
        num_seconds: T, whole seconds of the video.
        spans: (N,) when each text is spoken, in order of speaking.
        is_alignable: (N,) whether each text has a true place in the video.
        window_seconds: Length of a window.
        step_seconds: Distance of their starts.
        end_rule: "both", or "published" for the numbers of the published program, where one of the first
            four windows never takes in the last texts, so that a video of four windows misses them.

    Returns:
        The windows in order of time; none for a video of at most half a window, or one whose texts are all
        alignable: its texts stay uncovered.

    Raises:
        ValueError: If a length is not positive or the lists differ in length.

    Example:
        >>> spans = [Span(2.0, 4.0), Span(30.0, 33.0), Span(60.0, 64.0), Span(90.0, 95.0)]
        >>> windows = alignment_windows(80, spans, [True, False, False, True])
        >>> [(window.seconds, window.texts) for window in windows[1:]]
        [(range(16, 80), range(0, 4)), (range(32, 80), range(0, 4))]
        >>> alignment_windows(80, spans, [True, False, False, True], end_rule="published")[0].texts
        range(0, 3)
    """
    _check_lengths(num_seconds, window_seconds, step_seconds)
    if len(spans) != len(is_alignable):
        raise ValueError(f"{len(spans)} spans and {len(is_alignable)} entries of is_alignable")
    if end_rule not in ("both", "published"):
        raise ValueError(f"end_rule must be 'both' or 'published', got {end_rule!r}")
    middles = {place: span.center_seconds for place, span in enumerate(spans) if not is_alignable[place]}
    starts = range(0, num_seconds - window_seconds // 2, step_seconds)
    windows = []
    for number, start in enumerate(starts):
        near = [p for p, m in middles.items() if start - window_seconds <= m <= start + 2 * window_seconds]
        if near:
            is_at = (number < NUM_END_WINDOWS, number >= len(starts) - NUM_END_WINDOWS)
            seconds = range(start, min(start + window_seconds, num_seconds))
            windows.append(AlignmentWindow(seconds, _texts_shown(near, len(spans), is_at, end_rule=end_rule)))
    return windows


def _texts_shown(near: list[int], num_texts: int, is_at: tuple[bool, bool], *, end_rule: EndRule) -> range:
    """Places of the texts that a window shows: those near it, and more where it is at an end."""
    is_at_beginning, is_at_end = is_at
    if end_rule == "published" and is_at_beginning:
        is_at_end = False
    return range(0 if is_at_beginning else near[0], num_texts if is_at_end else near[-1] + 1)


def whole_video_window(num_seconds: int, num_texts: int) -> list[AlignmentWindow]:
    """The one window of the *global* protocol: the whole video with all its texts.

    Args:
        num_seconds: T, at least 1.
        num_texts: N, at least 1.

    Returns:
        A list of one window.

    Raises:
        ValueError: If there is no second or no text.
    """
    if min(num_seconds, num_texts) < 1:
        raise ValueError(f"num_seconds and num_texts must be at least 1, got {num_seconds}, {num_texts}")
    return [AlignmentWindow(range(num_seconds), range(num_texts))]


def stitch_similarity(
    windows: Sequence[AlignmentWindow],
    similarities: Sequence[Array],
    *,
    num_texts: int,
    num_seconds: int,
) -> StitchedSimilarity:
    """Average the similarities of overlapping windows.

    Args:
        windows: From `alignment_windows` or `whole_video_window`.
        similarities: For each window a (its texts, its seconds) floating point matrix.
        num_texts: N, all texts of the video.
        num_seconds: T, all its seconds.

    Returns:
        The means, summed in float64.

    Raises:
        ValueError: If the lists differ in length, a window lies outside the video, or a matrix does not fit
            its window.

    Example:
        >>> windows = [AlignmentWindow(range(0, 2), range(1)), AlignmentWindow(range(1, 3), range(1))]
        >>> stitched = stitch_similarity(
        ...     windows, [torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 5.0]])], num_texts=2, num_seconds=3
        ... )
        >>> stitched.similarity.tolist(), stitched.num_windows.tolist()
        ([[1.0, 3.0, 5.0], [0.0, 0.0, 0.0]], [[1, 2, 1], [0, 0, 0]])
    """
    sums = torch.zeros(num_texts, num_seconds, dtype=torch.float64)
    num_windows = torch.zeros(num_texts, num_seconds, dtype=torch.int64)
    for window, matrix in _checked(windows, similarities, num_texts, num_seconds):
        values = _fitting("similarities", matrix, (len(window.texts), len(window.seconds)))
        rows, columns = _slice(window.texts), _slice(window.seconds)
        sums[rows, columns] += values
        num_windows[rows, columns] += 1
    return StitchedSimilarity(sums / num_windows.clamp(min=1), num_windows)


def stitch_scores(
    windows: Sequence[AlignmentWindow], scores: Sequence[Array], *, num_texts: int
) -> StitchedScores:
    """Average what overlapping windows say of each text, such as its alignability.

    Args:
        windows: From `alignment_windows` or `whole_video_window`.
        scores: For each window (its texts,) floating point.
        num_texts: N, all texts of the video.

    Returns:
        The means, summed in float64.

    Raises:
        ValueError: If the lists differ in length, a window lies outside the video, or scores do not fit their
            window.
    """
    sums = torch.zeros(num_texts, dtype=torch.float64)
    num_windows = torch.zeros(num_texts, dtype=torch.int64)
    for window, row in _checked(windows, scores, num_texts, None):
        texts = _slice(window.texts)
        sums[texts] += _fitting("scores", row, (len(window.texts),))
        num_windows[texts] += 1
    return StitchedScores(sums / num_windows.clamp(min=1), num_windows)


def _check_lengths(num_seconds: int, window_seconds: int, step_seconds: int) -> None:
    if min(num_seconds, window_seconds, step_seconds) < 1:
        raise ValueError(
            "num_seconds, window_seconds and step_seconds must be at least 1, "
            f"got {num_seconds}, {window_seconds}, {step_seconds}"
        )


def _checked(
    windows: Sequence[AlignmentWindow], values: Sequence[Array], num_texts: int, num_seconds: int | None
) -> list[tuple[AlignmentWindow, Array]]:
    if len(windows) != len(values):
        raise ValueError(f"{len(windows)} windows and scores of {len(values)}")
    for window in windows:
        is_inside = window.texts.start >= 0 and window.texts.stop <= num_texts
        if num_seconds is not None:
            is_inside &= window.seconds.start >= 0 and window.seconds.stop <= num_seconds
        if not is_inside:
            raise ValueError(f"{window} lies outside {num_texts} texts and {num_seconds} seconds")
    return list(zip(windows, values, strict=True))


def _fitting(name: str, values: Array, shape: tuple[int, ...]) -> torch.Tensor:
    tensor = torch.as_tensor(values).detach()
    if tensor.shape != shape or not tensor.dtype.is_floating_point:
        raise ValueError(
            f"{name} of this window must be {shape} floating point, got {tuple(tensor.shape)} {tensor.dtype}"
        )
    return tensor.double().cpu()


def _slice(places: range) -> slice:
    return slice(places.start, places.stop)
