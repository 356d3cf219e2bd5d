"""Captions with their times, and which of them belong together.

Narration is only loosely aligned with what is shown, so MIL-NCE offers a clip the P captions nearest in time
as candidates (Miech et al. 2020, arXiv 1912.06430, section 3.2). VT-TWINS aligns sequences instead and takes
consecutive captions with one clip each (Ko et al. 2022, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from narravid.types import Span

__all__ = [
    "Caption",
    "CaptionTrack",
    "Repetition",
    "ShortTrack",
    "Transcript",
    "consecutive_captions",
    "draw_captions",
    "draw_consecutive_captions",
    "first_candidate",
    "nearest_captions",
]

ShortTrack = Literal["repeat", "refuse"]
"""What a track with too few captions gives: its last caption again (as published), or an error."""

Repetition = Literal["always", "when_short"]
"""When captions drawn together may be the same: always, or only where there are too few of them."""


@dataclass(frozen=True, slots=True)
class Caption:
    """One timed sentence.

    Attributes:
        text: What is said.
        span: When, in seconds of the video.
    """

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class CaptionTrack:
    """The captions of one video, kept in the order of their starts (equal starts in the order given).

    Attributes:
        captions: The captions.
    """

    captions: tuple[Caption, ...] = ()

    def __post_init__(self) -> None:
        in_order = tuple(sorted(self.captions, key=lambda caption: caption.span.start_seconds))
        object.__setattr__(self, "captions", in_order)

    def __len__(self) -> int:
        return len(self.captions)

    def __iter__(self) -> Iterator[Caption]:
        return iter(self.captions)

    def __getitem__(self, index: int) -> Caption:
        return self.captions[index]

    @property
    def texts(self) -> list[str]:
        """The text of every caption."""
        return [caption.text for caption in self.captions]

    @property
    def span(self) -> Span | None:
        """From the first start to the last end, None without captions."""
        if not self.captions:
            return None
        last_end = max(caption.span.end_seconds for caption in self.captions)
        return Span(self.captions[0].span.start_seconds, last_end)


def draw_captions(
    num_captions: int, num_draws: int, *, generator: torch.Generator, repetition: Repetition = "always"
) -> list[int]:
    """Draw captions of one video, each equally likely.

    HowTo100M draws its pairs with repetition (Miech et al. 2019, arXiv 1906.03327, released loader), HTM-AA
    its two sentences a step without, unless the video has only one (Han et al. 2022, arXiv 2204.02968).

    Args:
        num_captions: How many the video has.
        num_draws: How many are drawn.
        generator: Source of the draws.
        repetition: "always" draws each from all captions; "when_short" draws different ones, and from all
            where there are fewer captions than draws.

    Returns:
        `num_draws` positions in [0, num_captions), in the order drawn.

    Raises:
        ValueError: If a number is below 1 or `repetition` is unknown.
    """
    for name, value in (("num_captions", num_captions), ("num_draws", num_draws)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if repetition not in ("always", "when_short"):
        raise ValueError(f"repetition must be 'always' or 'when_short', got {repetition!r}")
    if repetition == "always" or num_captions < num_draws:
        drawn = torch.randint(num_captions, (num_draws,), generator=generator)
    else:
        drawn = torch.randperm(num_captions, generator=generator)[:num_draws]
    return [int(position) for position in drawn]


@dataclass(frozen=True, slots=True)
class Transcript:
    """The captions that a file holds for one video, and what was left out of them.

    Attributes:
        track: The captions with text.
        num_dropped: Captions without text (blank, NaN or null), which were left out.
    """

    track: CaptionTrack
    num_dropped: int


def first_candidate(track: CaptionTrack, index: int, num_candidates: int) -> int:
    """The caption at which the window of candidates around a caption starts.

    The window grows by one caption at a time, on the side that keeps the covered time shorter (to the right
    when equal). Once it touches the first caption it starts there, whatever lies on the right; once it
    touches the last one the rest is taken from the left. This is the published rule, borders included.

    Args:
        track: The captions.
        index: The caption to start from.
        num_candidates: P, how many captions the window has.

    Returns:
        Position of the first candidate; negative near the end of a track that has fewer than P captions.

    Raises:
        ValueError: If the index is outside the track or `num_candidates` is below 1.
    """
    if not 0 <= index < len(track):
        raise ValueError(f"index must be in [0, {len(track)}), got {index}")
    if num_candidates < 1:
        raise ValueError(f"num_candidates must be at least 1, got {num_candidates}")
    captions = track.captions
    first = last = index
    for num_taken in range(1, num_candidates):
        if first == 0:
            return 0
        if last == len(track) - 1:
            return first - (num_candidates - num_taken)
        seconds_to_left = captions[last].span.end_seconds - captions[first - 1].span.start_seconds
        seconds_to_right = captions[last + 1].span.end_seconds - captions[first].span.start_seconds
        if seconds_to_left < seconds_to_right:
            first -= 1
        else:
            last += 1
    return first


def nearest_captions(track: CaptionTrack, index: int, num_candidates: int) -> list[int]:
    """The P captions offered as candidates for one caption of a track.

    Args:
        track: The captions.
        index: The caption to start from.
        num_candidates: P.

    Returns:
        P positions in the track, ascending. A track with fewer than P captions repeats its first or last one.

    Raises:
        ValueError: As for `first_candidate`.
    """
    first = first_candidate(track, index, num_candidates)
    return [min(max(first + step, 0), len(track) - 1) for step in range(num_candidates)]


def consecutive_captions(
    track: CaptionTrack, first: int, num_captions: int, *, when_short: ShortTrack = "repeat"
) -> list[int]:
    """The captions of a sequence, one after the other.

    Args:
        track: The captions.
        first: The first caption of the sequence.
        num_captions: Length of the sequence.
        when_short: What a track with fewer captions than that gives. Repeating the last one is the published
            rule; the repeats are then wrong negatives of each other, which "refuse" avoids.

    Returns:
        `num_captions` positions in the track, ascending; all different but for the repeats of a short track.

    Raises:
        ValueError: If the sequence does not lie inside the track, `num_captions` is below 1, the track is
            empty, or it is short and must not be.
    """
    num_starts = _num_sequence_starts(track, num_captions, when_short)
    if not 0 <= first < num_starts:
        raise ValueError(
            f"first must be in [0, {num_starts}) for {num_captions} of {len(track)} captions, got {first}"
        )
    return [min(first + step, len(track) - 1) for step in range(num_captions)]


def draw_consecutive_captions(
    track: CaptionTrack,
    num_captions: int,
    *,
    generator: torch.Generator,
    when_short: ShortTrack = "repeat",
) -> list[int]:
    """Draw a sequence of `consecutive_captions`, each start equally likely.

    Args:
        track: The captions.
        num_captions: Length of the sequence.
        generator: Source of the draw; one number is taken whatever the track.
        when_short: As for `consecutive_captions`.

    Returns:
        `num_captions` positions in the track, ascending.

    Raises:
        ValueError: As for `consecutive_captions`.
    """
    num_starts = _num_sequence_starts(track, num_captions, when_short)
    first = int(torch.randint(num_starts, (), generator=generator))
    return consecutive_captions(track, first, num_captions, when_short=when_short)


def _num_sequence_starts(track: CaptionTrack, num_captions: int, when_short: ShortTrack) -> int:
    if num_captions < 1:
        raise ValueError(f"num_captions must be at least 1, got {num_captions}")
    if when_short not in ("repeat", "refuse"):
        raise ValueError(f"when_short must be 'repeat' or 'refuse', got {when_short!r}")
    if len(track) == 0:
        raise ValueError("a sequence needs captions, and this track is empty; leave the video out")
    if len(track) < num_captions and when_short == "refuse":
        raise ValueError(
            f"a sequence of {num_captions} captions needs as many, and this track has {len(track)}"
        )
    return max(1, len(track) - num_captions + 1)
