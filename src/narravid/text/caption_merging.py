"""Joining captions with their neighbours until they are long enough, as HowTo100M does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from narravid.text.captions import CaptionTrack, Repetition, draw_captions
from narravid.text.words import split_words
from narravid.types import Span

__all__ = ["MergedCaption", "draw_merged_captions", "merge_neighbours"]


@dataclass(frozen=True, slots=True)
class MergedCaption:
    """Neighbouring captions joined to one.

    Attributes:
        text: Their texts, joined in the order in which they were taken, which is not that of time.
        span: From the start of the earliest to the end of the latest.
        positions: Their places in the track, in the order in which they were taken.
    """

    text: str
    span: Span
    positions: tuple[int, ...]


def merge_neighbours(track: CaptionTrack, index: int, *, min_seconds: float, min_words: int) -> MergedCaption:
    """Join a caption with its neighbours until it is long enough in time and has enough words.

    One neighbour is taken at a time. With a least duration it is the one that keeps the covered time shorter
    (the earlier when equal); without, it is the one with more words (the earlier when equal). At a border of
    the track the other side is taken. Words of every neighbour are put behind those taken so far, earlier
    neighbours included, as published (Miech et al. 2019, arXiv 1906.03327, released loader).

    Args:
        track: The captions.
        index: The caption to start from.
        min_seconds: Least duration, 0 for none.
        min_words: Least number of words, 0 for none.

    Returns:
        The joined caption; shorter than asked for only when it holds the whole track.

    Raises:
        ValueError: If the index is outside the track, or a least number is negative or not finite.
    """
    if not 0 <= index < len(track):
        raise ValueError(f"index must be in [0, {len(track)}), got {index}")
    if not (math.isfinite(min_seconds) and min_seconds >= 0):
        raise ValueError(f"min_seconds must be at least 0, got {min_seconds}")
    if min_words < 0:
        raise ValueError(f"min_words must be at least 0, got {min_words}")
    start, end = track[index].span.start_seconds, track[index].span.end_seconds
    num_words = _num_words(track, index)
    positions = [index]
    while len(positions) < len(track) and (end - start < min_seconds or num_words < min_words):
        previous, following = min(positions) - 1, max(positions) + 1
        if following == len(track):
            grow_left = True
        elif previous < 0:
            grow_left = False
        elif min_seconds > 0:
            seconds_with_previous = end - track[previous].span.start_seconds
            grow_left = seconds_with_previous <= track[following].span.end_seconds - start
        else:
            grow_left = _num_words(track, following) <= _num_words(track, previous)
        if grow_left:
            start = track[previous].span.start_seconds
        else:
            end = track[following].span.end_seconds
        positions.append(previous if grow_left else following)
        num_words += _num_words(track, positions[-1])
    text = " ".join(track[position].text for position in positions)
    return MergedCaption(text, Span(start, end), tuple(positions))


def draw_merged_captions(
    track: CaptionTrack,
    num_pairs: int,
    *,
    min_seconds: float,
    min_words: int,
    generator: torch.Generator,
    repetition: Repetition = "always",
) -> list[MergedCaption]:
    """Draw the captions of one video for a step of training on features, each joined by `merge_neighbours`.

    Args:
        track: The captions.
        num_pairs: How many are drawn; the span of each is a clip.
        min_seconds: Least duration; the released program's default is 5.
        min_words: Least number of words; the released program's default is 0.
        generator: Source of the draws.
        repetition: As for `draw_captions`; "always" is the published rule.

    Returns:
        `num_pairs` joined captions, in the order drawn. Different ones may share captions.

    Raises:
        ValueError: If the track is empty, or as for `merge_neighbours` and `draw_captions`.
    """
    if len(track) == 0:
        raise ValueError("captions cannot be drawn from an empty track; leave the video out")
    drawn = draw_captions(len(track), num_pairs, generator=generator, repetition=repetition)
    return [merge_neighbours(track, index, min_seconds=min_seconds, min_words=min_words) for index in drawn]


def _num_words(track: CaptionTrack, position: int) -> int:
    return len(split_words(track[position].text, lower_case=False))
