"""Caption tracks, the MIL-NCE rule for nearest captions, and the sequences of VT-TWINS."""

from __future__ import annotations

import collections
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narravid.text.captions import (
    Caption,
    CaptionTrack,
    consecutive_captions,
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


@given(
    gaps=st.lists(st.floats(0, 10), min_size=1, max_size=12),
    durations=st.floats(0, 8),
    num_candidates=st.integers(1, 6),
    data=st.data(),
)
def test_candidates_are_neighbours_and_contain_the_caption(gaps, durations, num_candidates, data):
    starts = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    track = make_track(*((start, start + durations) for start in starts))
    index = data.draw(st.integers(0, len(track) - 1))
    chosen = nearest_captions(track, index, num_candidates)
    assert len(chosen) == num_candidates
    assert index in chosen
    assert all(later - earlier in (0, 1) for earlier, later in itertools.pairwise(chosen))
    if len(track) >= num_candidates:
        assert len(set(chosen)) == num_candidates


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
    track = long_track(7)
    draws = [draw_consecutive_captions(track, 4, generator=generator)[0] for _ in range(2000)]
    counts = collections.Counter(draws)
    assert sorted(counts) == [0, 1, 2, 3]
    # Binomial with n = 2000, p = 0.25: standard deviation 19.4, so 5 of them.
    assert all(abs(count - 500) < 97 for count in counts.values())


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
