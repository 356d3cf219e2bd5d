"""Caption tracks, the MIL-NCE rule for nearest captions, and the sequences of VT-TWINS."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from caption_tracks import are_uniform, caption_tracks, scaled
from narravid.text.captions import (
    Caption,
    CaptionTrack,
    consecutive_captions,
    draw_captions,
    draw_consecutive_captions,
    first_candidate,
    nearest_captions,
)
from narravid.types import Span


def make_track(*spans: tuple[float, float]) -> CaptionTrack:
    return CaptionTrack(tuple(Caption(f"caption {n}", Span(*span)) for n, span in enumerate(spans)))


def test_a_track_is_sorted_by_start_and_keeps_the_order_of_equal_starts():
    track = make_track((5, 6), (1, 9), (5, 5.5), (0, 2))
    assert track.texts == ["caption 3", "caption 1", "caption 0", "caption 2"]
    assert track.span == Span(0, 9)
    assert len(track) == 4
    assert track[1].span == Span(1, 9)


def test_an_empty_track_has_no_span():
    assert CaptionTrack().span is None
    assert CaptionTrack().texts == []


def test_the_window_grows_on_the_side_that_keeps_it_shorter():
    near_left = make_track((0, 1), (8, 9), (10, 11), (15, 16), (30, 31))
    assert nearest_captions(near_left, 2, 2) == [1, 2]
    near_right = make_track((0, 1), (5, 6), (10, 11), (12, 13), (30, 31))
    assert nearest_captions(near_right, 2, 2) == [2, 3]
    tie = make_track((0, 1), (8, 9), (10, 11), (12, 13), (30, 31))
    assert nearest_captions(tie, 2, 2) == [2, 3]


def test_the_left_border_wins_even_when_the_right_side_is_nearer():
    track = make_track((0, 1), (50, 51), (100, 101), (102, 103), (104, 105))
    assert nearest_captions(track, 0, 3) == [0, 1, 2]
    assert first_candidate(track, 0, 1) == 0


def test_a_short_track_repeats_its_border():
    track = make_track((0, 1), (2, 3))
    assert first_candidate(track, 1, 4) == -2
    assert nearest_captions(track, 1, 4) == [0, 0, 0, 1]
    assert nearest_captions(track, 0, 4) == [0, 1, 1, 1]


@pytest.mark.parametrize(("index", "num_candidates"), [(-1, 2), (3, 2), (0, 0)])
def test_bad_arguments_are_refused(index, num_candidates):
    with pytest.raises(ValueError, match=r"index must be in \[0, 3\)|at least 1, got 0"):
        nearest_captions(make_track((0, 1), (2, 3), (4, 5)), index, num_candidates)


@given(track=caption_tracks(min_size=1), num_candidates=st.integers(1, 6), data=st.data())
def test_candidates_are_neighbours_and_contain_the_caption(track, num_candidates, data):
    index = data.draw(st.integers(0, len(track) - 1))
    chosen = nearest_captions(track, index, num_candidates)
    assert len(chosen) == num_candidates
    assert index in chosen
    assert all(0 <= position < len(track) for position in chosen)
    assert all(later - earlier in (0, 1) for earlier, later in itertools.pairwise(chosen))
    if len(track) >= num_candidates:
        assert len(set(chosen)) == num_candidates
        assert chosen[0] == first_candidate(track, index, num_candidates)
    else:
        assert set(chosen) <= set(range(len(track)))


@given(
    track=caption_tracks(min_size=1),
    num_candidates=st.integers(1, 6),
    factor=st.sampled_from([0.25, 2.0, 8.0]),
)
def test_candidates_stay_the_same_in_slow_motion(track, num_candidates, factor):
    for index in range(len(track)):
        chosen = nearest_captions(track, index, num_candidates)
        assert nearest_captions(scaled(track, factor), index, num_candidates) == chosen


@given(track=caption_tracks(min_size=1), num_candidates=st.integers(1, 5), data=st.data())
def test_more_candidates_hold_the_fewer_away_from_the_borders(track, num_candidates, data):
    index = data.draw(st.integers(0, len(track) - 1))
    few, more = (set(nearest_captions(track, index, num)) for num in (num_candidates, num_candidates + 1))
    if 0 not in few and len(track) - 1 not in few:
        assert few < more


@given(track=caption_tracks())
def test_any_track_is_in_order_and_spans_its_captions(track):
    starts = [caption.span.start_seconds for caption in track]
    assert starts == sorted(starts)
    assert CaptionTrack(tuple(reversed(track.captions))).span == track.span
    if track.span is not None:
        assert all(
            caption.span.overlap_seconds(track.span) == caption.span.duration_seconds for caption in track
        )


# ---------------------------------------------------------------- draws


@given(
    num_captions=st.integers(1, 20),
    num_draws=st.integers(1, 12),
    repetition=st.sampled_from(["always", "when_short"]),
    seed=st.integers(0, 1000),
)
def test_drawn_captions_exist_and_follow_the_generator(num_captions, num_draws, repetition, seed):
    drawn, again = (
        draw_captions(
            num_captions, num_draws, generator=torch.Generator().manual_seed(seed), repetition=repetition
        )
        for _ in range(2)
    )
    assert drawn == again
    assert len(drawn) == num_draws
    assert all(type(position) is int and 0 <= position < num_captions for position in drawn)
    if repetition == "when_short" and num_draws <= num_captions:
        assert len(set(drawn)) == num_draws


def test_captions_are_drawn_from_all_with_repetition_by_default(generator):
    pairs = [tuple(draw_captions(4, 2, generator=generator)) for _ in range(1600)]
    assert are_uniform(pairs, itertools.product(range(4), repeat=2))


def test_different_captions_are_drawn_in_every_order(generator):
    pairs = [tuple(draw_captions(4, 2, generator=generator, repetition="when_short")) for _ in range(1200)]
    assert are_uniform(pairs, itertools.permutations(range(4), 2))
    triples = [tuple(draw_captions(3, 3, generator=generator, repetition="when_short")) for _ in range(600)]
    assert are_uniform(triples, itertools.permutations(range(3)))


def test_too_few_captions_are_drawn_from_all_again(generator):
    triples = [tuple(draw_captions(2, 3, generator=generator, repetition="when_short")) for _ in range(800)]
    assert are_uniform(triples, itertools.product(range(2), repeat=3))


def test_draws_refuse_what_does_not_exist(generator):
    with pytest.raises(ValueError, match="^num_captions must be at least 1, got 0$"):
        draw_captions(0, 2, generator=generator)
    with pytest.raises(ValueError, match="^num_draws must be at least 1, got 0$"):
        draw_captions(2, 0, generator=generator)
    with pytest.raises(ValueError, match="^repetition must be 'always' or 'when_short', got 'never'$"):
        draw_captions(2, 2, generator=generator, repetition="never")


# ---------------------------------------------------------------- sequences


def long_track(num_captions: int) -> CaptionTrack:
    return make_track(*((float(n), n + 0.5) for n in range(num_captions)))


@given(num_captions=st.integers(1, 20), length=st.integers(1, 12), data=st.data())
def test_a_sequence_holds_consecutive_captions(num_captions, length, data):
    track = long_track(num_captions)
    first = data.draw(st.integers(0, max(0, num_captions - length)))
    chosen = consecutive_captions(track, first, length)
    assert len(chosen) == length
    if num_captions >= length:
        assert chosen == list(range(first, first + length))
        assert chosen == consecutive_captions(track, first, length, when_short="refuse")
    else:
        assert chosen == list(range(num_captions)) + [num_captions - 1] * (length - num_captions)


@given(num_captions=st.integers(1, 20), length=st.integers(1, 12), seed=st.integers(0, 1000))
def test_a_drawn_sequence_follows_its_generator(num_captions, length, seed):
    track = long_track(num_captions)
    first, again = (
        draw_consecutive_captions(track, length, generator=torch.Generator().manual_seed(seed))
        for _ in range(2)
    )
    assert first == again == consecutive_captions(track, first[0], length)


def test_every_sequence_is_drawn_equally_often(generator):
    draws = [draw_consecutive_captions(long_track(7), 4, generator=generator)[0] for _ in range(2000)]
    assert are_uniform(draws, range(4))


@given(num_captions=st.integers(1, 20), length=st.integers(1, 12))
def test_a_sequence_takes_one_number_whatever_the_track(num_captions, length):
    generator, counted = (torch.Generator().manual_seed(3) for _ in range(2))
    draw_consecutive_captions(long_track(num_captions), length, generator=generator)
    torch.randint(2, (), generator=counted)
    assert torch.equal(generator.get_state(), counted.get_state())


def test_sequences_refuse_what_they_cannot_hold(generator):
    track = long_track(5)
    with pytest.raises(ValueError, match=r"^first must be in \[0, 2\) for 4 of 5 captions, got 2$"):
        consecutive_captions(track, 2, 4)
    with pytest.raises(ValueError, match=r"^first must be in \[0, 1\) for 6 of 5 captions, got -1$"):
        consecutive_captions(track, -1, 6)
    with pytest.raises(ValueError, match="^num_captions must be at least 1, got 0$"):
        consecutive_captions(track, 0, 0)
    with pytest.raises(ValueError, match="^when_short must be 'repeat' or 'refuse', got 'pad'$"):
        consecutive_captions(track, 0, 4, when_short="pad")
    with pytest.raises(ValueError, match="^a sequence of 6 captions needs as many, and this track has 5$"):
        draw_consecutive_captions(track, 6, generator=generator, when_short="refuse")
    for when_short in ("repeat", "refuse"):
        with pytest.raises(ValueError, match="^a sequence needs captions, and this track is empty"):
            draw_consecutive_captions(CaptionTrack(), 4, generator=generator, when_short=when_short)
