"""Merging windows into moments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.inference.moments import merge_moments
from narravid.types import Hit, Span


def windows(*rows: tuple[str, float, float, float]) -> list[Hit]:
    return [Hit(path, Span(start, end), score) for path, start, end, score in rows]


def as_rows(hits: list[Hit]) -> list[tuple[str, float, float, float]]:
    return [(hit.path, hit.span.start_seconds, hit.span.end_seconds, hit.score) for hit in hits]


def test_overlapping_and_touching_windows_become_one_moment_with_the_best_score():
    found = windows(("a", 2, 4, 0.9), ("a", 3, 5, 0.8), ("a", 5, 7, 0.7), ("b", 0, 2, 0.6))
    assert as_rows(merge_moments(found, 2)) == [("a", 2, 7, 0.9), ("b", 0, 2, 0.6)]


def test_windows_of_other_videos_or_with_a_gap_stay_apart():
    found = windows(("a", 0, 2, 0.9), ("b", 1, 3, 0.8), ("a", 2.1, 4, 0.7))
    assert as_rows(merge_moments(found, 5)) == as_rows(found)


def test_rounding_of_times_does_not_part_touching_windows():
    found = windows(("a", 0, 0.1 + 0.2, 0.9), ("a", 0.3, 0.6, 0.8))
    assert len(merge_moments(found, 5)) == 1


def test_a_window_between_two_moments_joins_them():
    found = windows(("a", 0, 2, 0.9), ("a", 4, 6, 0.8), ("a", 2, 4, 0.7), ("b", 0, 1, 0.6), ("c", 0, 1, 0.5))
    assert as_rows(merge_moments(found, 3)) == [("a", 0, 6, 0.9), ("b", 0, 1, 0.6), ("c", 0, 1, 0.5)]


def test_only_as_many_windows_are_used_as_the_moments_need():
    """The last window would widen the first moment, but two moments were reached without it."""
    found = windows(("a", 2, 4, 0.9), ("b", 0, 2, 0.8), ("a", 4, 6, 0.1))
    assert as_rows(merge_moments(found, 2)) == [("a", 2, 4, 0.9), ("b", 0, 2, 0.8)]


def test_a_single_video_does_not_melt_into_one_moment():
    """All windows together cover the video; the most moments are found on the way there."""
    found = windows(("a", 0, 2, 0.9), ("a", 6, 8, 0.8), ("a", 2, 4, 0.3), ("a", 4, 6, 0.2))
    assert as_rows(merge_moments(found, 10)) == [("a", 0, 2, 0.9), ("a", 6, 8, 0.8)]


def test_equal_scores_are_ordered_by_path_and_time():
    found = windows(("b", 0, 1, 0.5), ("a", 8, 9, 0.5), ("a", 0, 1, 0.5))
    assert [(hit.path, hit.span.start_seconds) for hit in merge_moments(found, 3)] == [
        ("a", 0),
        ("a", 8),
        ("b", 0),
    ]


def test_nothing_found_is_no_moment():
    assert merge_moments([], 3) == []


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        merge_moments([], 0)
    with pytest.raises(ValueError, match="in order of score"):
        merge_moments(windows(("a", 0, 1, 0.1), ("a", 1, 2, 0.2)), 1)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.integers(0, 1000)), max_size=40),
    st.integers(1, 12),
)
def test_moments_are_apart_and_made_of_windows(rows: list[tuple[str, int, int]], top: int):
    found = sorted(
        [Hit(path, Span(start, start + 2), score / 1000) for path, start, score in rows],
        key=lambda hit: -hit.score,
    )
    moments = merge_moments(found, top)
    assert len(moments) <= top
    assert bool(moments) == bool(found)
    assert [hit.score for hit in moments] == sorted([hit.score for hit in moments], reverse=True)
    if found:
        assert moments[0].score == found[0].score
    for index, moment in enumerate(moments):
        members = [
            hit for hit in found if hit.path == moment.path and hit.span.overlap_seconds(moment.span) > 0
        ]
        assert moment.score in {hit.score for hit in members}
        assert moment.span.start_seconds in {hit.span.start_seconds for hit in members}
        assert moment.span.end_seconds in {hit.span.end_seconds for hit in members}
        for other in moments[index + 1 :]:
            if other.path == moment.path:
                gap = max(
                    other.span.start_seconds - moment.span.end_seconds,
                    moment.span.start_seconds - other.span.end_seconds,
                )
                assert gap > 0
