"""Caption tracks and the MIL-NCE rule for nearest captions."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.text.captions import Caption, CaptionTrack, first_candidate, nearest_captions
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
