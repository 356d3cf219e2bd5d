"""Captions joined with their neighbours: which side grows, when it stops, and the order of the words."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from caption_tracks import are_uniform, caption_tracks, scaled
from narravid.text.caption_merging import draw_merged_captions, merge_neighbours
from narravid.text.captions import Caption, CaptionTrack
from narravid.types import Span


def make_track(*rows: tuple[str, float, float]) -> CaptionTrack:
    return CaptionTrack(tuple(Caption(text, Span(start, end)) for text, start, end in rows))


FIVE = make_track(("zero", 0, 2), ("one alpha", 3, 5), ("two", 6, 8), ("three beta", 9, 11), ("four", 12, 14))


def test_a_caption_that_is_enough_stays_alone():
    for min_seconds, min_words in ((0, 0), (2, 1), (2.0, 0), (0, 1)):
        merged = merge_neighbours(FIVE, 2, min_seconds=min_seconds, min_words=min_words)
        assert (merged.text, merged.span, merged.positions) == ("two", Span(6, 8), (2,))


def test_with_a_least_duration_the_shorter_side_grows_the_earlier_when_equal():
    equal = merge_neighbours(FIVE, 2, min_seconds=2.1, min_words=0)
    assert (equal.positions, equal.span) == ((2, 1), Span(3, 8))
    right = make_track(("zero", 0, 2), ("one", 6, 8), ("two", 9, 10))
    assert merge_neighbours(right, 1, min_seconds=3, min_words=0).positions == (1, 2)
    left = make_track(("zero", 4, 5), ("one", 6, 8), ("two", 11, 12))
    assert merge_neighbours(left, 1, min_seconds=3, min_words=0).positions == (1, 0)


def test_without_one_the_side_with_more_words_grows_the_earlier_when_equal():
    equal = merge_neighbours(FIVE, 2, min_seconds=0, min_words=2)
    assert equal.positions == (2, 1)
    right = make_track(("zero", 0, 1), ("one", 2, 3), ("two beta", 4, 9))
    assert merge_neighbours(right, 1, min_seconds=0, min_words=2).positions == (1, 2)
    left = make_track(("zero alpha", 0, 1), ("one", 2, 3), ("two", 4, 5))
    assert merge_neighbours(left, 1, min_seconds=0, min_words=2).positions == (1, 0)


def test_both_least_numbers_count():
    # The duration is reached with two captions, the words with four.
    merged = merge_neighbours(FIVE, 2, min_seconds=5, min_words=6)
    assert merged.positions == (2, 1, 0, 3)
    assert merged.text == "two one alpha zero three beta"
    assert merged.span == Span(0, 11)
    # The words are there at once, the duration with three.
    assert merge_neighbours(FIVE, 1, min_seconds=7, min_words=2).positions == (1, 0, 2)


def test_at_a_border_the_other_side_grows_until_nothing_is_left():
    assert merge_neighbours(FIVE, 0, min_seconds=100, min_words=0).positions == (0, 1, 2, 3, 4)
    assert merge_neighbours(FIVE, 4, min_seconds=100, min_words=0).positions == (4, 3, 2, 1, 0)
    whole = merge_neighbours(FIVE, 4, min_seconds=0, min_words=100)
    assert whole.text == "four three beta two one alpha zero"
    assert whole.span == Span(0, 14)
    alone = make_track(("zero", 0, 1))
    assert merge_neighbours(alone, 0, min_seconds=9, min_words=9).positions == (0,)


@given(
    track=caption_tracks(min_size=1),
    min_seconds=st.floats(0, 30),
    min_words=st.integers(0, 20),
    data=st.data(),
)
def test_merged_captions_are_neighbours_and_no_more_than_needed(track, min_seconds, min_words, data):
    index = data.draw(st.integers(0, len(track) - 1))
    merged = merge_neighbours(track, index, min_seconds=min_seconds, min_words=min_words)

    assert merged.positions[0] == index
    assert sorted(merged.positions) == list(range(min(merged.positions), max(merged.positions) + 1))
    assert merged.span.start_seconds == track[min(merged.positions)].span.start_seconds
    assert merged.span.end_seconds == track[max(merged.positions)].span.end_seconds
    words = [len(text.split()) for text in track.texts]
    assert merged.text.split() == [word for place in merged.positions for word in track[place].text.split()]

    def is_enough(positions):
        end = track[max(positions)].span.end_seconds
        long_enough = end - track[min(positions)].span.start_seconds >= min_seconds
        return long_enough and sum(words[position] for position in positions) >= min_words

    assert is_enough(merged.positions) or len(merged.positions) == len(track)
    assert not any(is_enough(merged.positions[:num]) for num in range(1, len(merged.positions)))


@given(track=caption_tracks(min_size=1), factor=st.sampled_from([0.25, 2.0, 8.0]), data=st.data())
def test_the_same_captions_are_merged_in_slow_motion(track, factor, data):
    index = data.draw(st.integers(0, len(track) - 1))
    merged = merge_neighbours(track, index, min_seconds=10.0, min_words=8)
    slow = merge_neighbours(scaled(track, factor), index, min_seconds=10.0 * factor, min_words=8)
    assert (slow.text, slow.positions) == (merged.text, merged.positions)
    assert slow.span.start_seconds == merged.span.start_seconds * factor
    assert slow.span.end_seconds == merged.span.end_seconds * factor


# ---------------------------------------------------------------- draws


@given(track=caption_tracks(min_size=1), num_pairs=st.integers(1, 8), seed=st.integers(0, 100))
def test_drawn_captions_are_merged_ones_and_follow_the_generator(track, num_pairs, seed):
    drawn, again = (
        draw_merged_captions(
            track, num_pairs, min_seconds=5.0, min_words=3, generator=torch.Generator().manual_seed(seed)
        )
        for _ in range(2)
    )
    assert drawn == again
    assert len(drawn) == num_pairs
    for merged in drawn:
        assert merged == merge_neighbours(track, merged.positions[0], min_seconds=5.0, min_words=3)


def test_every_pair_of_captions_is_drawn_equally_often(generator):
    pairs = [
        tuple(
            merged.positions[0]
            for merged in draw_merged_captions(FIVE, 2, min_seconds=5, min_words=0, generator=generator)
        )
        for _ in range(2500)
    ]
    assert are_uniform(pairs, itertools.product(range(5), repeat=2))


def test_captions_may_be_drawn_without_repetition(generator):
    for _ in range(20):
        drawn = draw_merged_captions(
            FIVE, 5, min_seconds=0, min_words=0, generator=generator, repetition="when_short"
        )
        assert sorted(merged.positions[0] for merged in drawn) == [0, 1, 2, 3, 4]


def test_nothing_is_drawn_from_an_empty_track(generator):
    with pytest.raises(
        ValueError, match="^captions cannot be drawn from an empty track; leave the video out$"
    ):
        draw_merged_captions(CaptionTrack(), 2, min_seconds=5, min_words=0, generator=generator)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("index", [-1, 5])
def test_the_caption_must_exist(index):
    with pytest.raises(ValueError, match=rf"^index must be in \[0, 5\), got {index}$"):
        merge_neighbours(FIVE, index, min_seconds=0, min_words=0)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_a_least_duration_must_be_a_number(value):
    with pytest.raises(ValueError, match=rf"^min_seconds must be at least 0, got {value}$"):
        merge_neighbours(FIVE, 0, min_seconds=value, min_words=0)


def test_a_least_number_of_words_must_not_be_negative():
    with pytest.raises(ValueError, match="^min_words must be at least 0, got -1$"):
        merge_neighbours(FIVE, 0, min_seconds=0, min_words=-1)
