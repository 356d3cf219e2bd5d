"""Long windows of a video with the sentences spoken in them, as temporal alignment networks train on.

The window follows the text: it starts with a sentence, and its sentences keep their times (Han et al. 2022,
arXiv 2204.02968, released loader). Everything is in whole seconds, one feature of the video each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from narravid.text.captions import Caption, CaptionTrack
from narravid.types import Span

__all__ = [
    "UNKNOWN_SENTENCE",
    "SentenceWindow",
    "WindowRule",
    "draw_sentence_window",
    "sentence_window",
    "window_sentences",
]

WindowRule = Literal["published", "complete"]
"""What becomes of odd sentences and of videos without a window: as in the released loader ("published"), or
so that an odd sentence costs itself alone and none is made up ("complete"); see `sentence_window`."""

UNKNOWN_SENTENCE = "[UNK]"
"""What the released loader says of a window in which it finds nothing said, for all of its length."""


@dataclass(frozen=True, slots=True)
class SentenceWindow:
    """A window of a video and what is said in it.

    Attributes:
        span: The window, in whole seconds of the video. It passes the end of a video shorter than a window.
        sentences: With their times in whole seconds from the start of the window, inside it, each at
            least one second long.
        positions: Where the sentences stand in the track; none for a window of `UNKNOWN_SENTENCE`.
    """

    span: Span
    sentences: tuple[Caption, ...]
    positions: tuple[int, ...]


def window_sentences(
    track: CaptionTrack, num_seconds: int, *, window_seconds: int = 64, rule: WindowRule = "published"
) -> list[int]:
    """The sentences with which a window of a video may start.

    Sentences that do not end before the video does are left out. Of the others, those may start a window that
    begin more than its length before the end of the last one, so that it lies in the spoken part. In the
    released program none of them may, if none begins a whole second earlier than that.

    Args:
        track: The sentences.
        num_seconds: Whole seconds of the video.
        window_seconds: Length of a window.
        rule: "complete" does without that second.

    Returns:
        Positions in the track, ascending; none for a short video or a short talk.

    Raises:
        ValueError: If a number is below 1 or the rule is unknown.
    """
    _check(num_seconds, window_seconds, rule)
    inside = _positions_inside(track, num_seconds)
    if not inside:
        return []
    latest_start = track[inside[-1]].span.end_seconds - window_seconds
    if rule == "published" and all(track[p].span.start_seconds >= latest_start - 1 for p in inside):
        return []
    return [position for position in inside if track[position].span.start_seconds < latest_start]


def sentence_window(
    track: CaptionTrack,
    first: int,
    *,
    num_seconds: int,
    window_seconds: int = 64,
    rule: WindowRule = "published",
    is_known: Callable[[str], bool] | None = None,
) -> SentenceWindow:
    """The window that starts with a sentence, and the sentences in it from that one on.

    All times are rounded to whole seconds (halves to the even one). The last sentence is cut at the end of
    the window. A sentence is of no use if it lasts less than a second after rounding, or has no known word:
    by the published rule it ends the window, which loses whatever follows; by the complete rule it is passed
    over.

    Args:
        track: The sentences.
        first: Position of the first one; see `window_sentences`.
        num_seconds: Whole seconds of the video; sentences that do not end before are left out.
        window_seconds: Length of the window.
        rule: As above. A window without a sentence has, as published, `UNKNOWN_SENTENCE` in its place, a
            positive for every second of it; by the complete rule it has none.
        is_known: Whether the model knows a word of a sentence; without it every sentence counts as known.

    Returns:
        The window.

    Raises:
        ValueError: If `first` is outside the track or behind the video, a number is below 1 or the rule is
            unknown.
    """
    _check(num_seconds, window_seconds, rule)
    inside = _positions_inside(track, num_seconds)
    if first not in inside:
        raise ValueError(
            f"first must be the position of a sentence that ends before the video does, {num_seconds} s; "
            f"got {first}"
        )
    start = round(track[first].span.start_seconds)
    following = inside[inside.index(first) :]
    return _window_of(track, following, start, window_seconds=window_seconds, rule=rule, is_known=is_known)


def draw_sentence_window(
    track: CaptionTrack,
    num_seconds: int,
    *,
    generator: torch.Generator,
    window_seconds: int = 64,
    rule: WindowRule = "published",
    is_known: Callable[[str], bool] | None = None,
) -> SentenceWindow:
    """Draw a window of a video, each of `window_sentences` equally likely to start it.

    Where none may, the published rule takes the beginning of the video with `UNKNOWN_SENTENCE`, whatever is
    said there. The complete rule starts with the first sentence instead, earlier where the window would pass
    the end of the video, and at 0 without any sentence.

    Args:
        track: The sentences.
        num_seconds: Whole seconds of the video.
        generator: Source of the draw; one number is taken whatever the track.
        window_seconds: Length of the window.
        rule: As for `sentence_window`.
        is_known: As for `sentence_window`.

    Returns:
        The window; inside the video if the video is at least as long as a window, else from 0 on.

    Raises:
        ValueError: If a number is below 1 or the rule is unknown.
    """
    starting = window_sentences(track, num_seconds, window_seconds=window_seconds, rule=rule)
    number = int(torch.randint(max(1, len(starting)), (), generator=generator))
    if starting:
        return sentence_window(
            track,
            starting[number],
            num_seconds=num_seconds,
            window_seconds=window_seconds,
            rule=rule,
            is_known=is_known,
        )
    inside = _positions_inside(track, num_seconds) if rule == "complete" else []
    start = 0
    if inside:
        start = max(0, min(round(track[inside[0]].span.start_seconds), num_seconds - window_seconds))
    return _window_of(track, inside, start, window_seconds=window_seconds, rule=rule, is_known=is_known)


def _window_of(
    track: CaptionTrack,
    following: list[int],
    start: int,
    *,
    window_seconds: int,
    rule: WindowRule,
    is_known: Callable[[str], bool] | None,
) -> SentenceWindow:
    """The window from a second on, with those of the following sentences that are of use."""
    sentences = []
    positions = []
    for position in following:
        text, span = track[position].text, track[position].span
        first_second, end_second = round(span.start_seconds) - start, round(span.end_seconds) - start
        if first_second >= window_seconds:
            break
        if end_second - first_second < 1 or not (is_known is None or is_known(text)):
            if rule == "published":
                break
            continue
        sentences.append(Caption(text, Span(first_second, min(end_second, window_seconds))))
        positions.append(position)
    if not sentences and rule == "published":
        sentences = [Caption(UNKNOWN_SENTENCE, Span(0, window_seconds))]
    return SentenceWindow(Span(start, start + window_seconds), tuple(sentences), tuple(positions))


def _positions_inside(track: CaptionTrack, num_seconds: int) -> list[int]:
    return [position for position, caption in enumerate(track) if caption.span.end_seconds < num_seconds]


def _check(num_seconds: int, window_seconds: int, rule: WindowRule) -> None:
    for name, value in (("num_seconds", num_seconds), ("window_seconds", window_seconds)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if rule not in ("published", "complete"):
        raise ValueError(f"rule must be 'published' or 'complete', got {rule!r}")
