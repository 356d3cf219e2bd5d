"""Windows over a long video: where they lie, what they are shown, what they sum to."""

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import narravid.metrics.stitching as stitching
from narravid.metrics import (
    AlignmentWindow,
    alignment_windows,
    stitch_scores,
    stitch_similarity,
    whole_video_window,
)
from narravid.types import Span


def test_doctests_hold():
    results = doctest.testmod(stitching, extraglobs={"torch": torch})
    assert results.attempted >= 7
    assert results.failed == 0


def texts_every(seconds, count):
    return [Span(seconds * number, seconds * number + 2.0) for number in range(count)]


@pytest.mark.parametrize(
    ("num_seconds", "starts"),
    [(32, []), (33, [0]), (48, [0]), (49, [0, 16]), (64, [0, 16]), (65, [0, 16, 32]), (1, [])],
)
def test_windows_start_while_more_than_half_of_one_remains(num_seconds, starts):
    windows = alignment_windows(num_seconds, [Span(0.0, 1.0)], [False])
    assert [window.seconds.start for window in windows] == starts
    for window in windows:
        assert window.seconds.stop == min(window.seconds.start + 64, num_seconds)


@given(
    num_seconds=st.integers(1, 500),
    window_seconds=st.integers(1, 90),
    step_seconds=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_every_window_lies_in_the_video_and_shows_a_run_of_texts(
    num_seconds, window_seconds, step_seconds, seed
):
    rng = np.random.default_rng(seed)
    spans = [Span(start, start + 3) for start in np.sort(rng.uniform(0, num_seconds, 12))]
    is_alignable = (rng.random(12) < 0.5).tolist()
    windows = alignment_windows(
        num_seconds, spans, is_alignable, window_seconds=window_seconds, step_seconds=step_seconds
    )
    for window in windows:
        assert 0 < len(window.seconds) <= window_seconds
        assert len(window.seconds) > window_seconds / 2
        assert window.seconds.start % step_seconds == 0
        assert window.seconds.stop <= num_seconds
        assert len(window.texts) > 0
        assert (window.texts.start, window.texts.stop) <= (12, 12)


def middles(window_start, place, *, spans):
    """Places shown by the windows that start there, of texts of which only `place` is not alignable."""
    is_alignable = [number != place for number in range(len(spans))]
    windows = alignment_windows(1600, spans, is_alignable)
    return [window.texts for window in windows if window.seconds.start == window_start]


@pytest.mark.parametrize(
    ("middle", "is_near"), [(735.9, False), (736.0, True), (800.0, True), (928.0, True), (928.1, False)]
)
def test_texts_are_near_within_a_window_before_and_behind(middle, is_near):
    # The window is [800, 864): from 800 - 64 to 800 + 128.
    spans = [Span(0.0, 1.0), Span(middle - 1, middle + 1), Span(1599.0, 1600.0)]
    assert middles(800, 1, spans=spans) == ([range(1, 2)] if is_near else [])


def test_the_true_time_of_an_alignable_text_chooses_no_window():
    spoken = [Span(700.0, 702.0), Span(830.0, 832.0)]
    for true_start in (0.0, 830.0, 1500.0):
        spans = [spoken[0], Span(true_start, true_start + 2), spoken[1]]
        windows = alignment_windows(1600, spans, [False, True, False])
        by_start = {window.seconds.start: window.texts for window in windows}
        assert by_start[704] == range(0, 3)
        assert by_start[768] == range(2, 3)
        assert by_start[640] == range(0, 1)
        assert 320 not in by_start


def test_windows_between_the_ends_show_the_texts_between_the_near_ones_only():
    spans = texts_every(20.0, 60)
    is_alignable = [number % 3 != 0 for number in range(60)]
    windows = alignment_windows(1200, spans, is_alignable)
    assert len(windows) == 73
    for number, window in enumerate(windows):
        start = window.seconds.start
        near = [n for n in range(0, 60, 3) if start - 64 <= spans[n].center_seconds <= start + 128]
        first = 0 if number <= 3 else near[0]
        last = 59 if number >= 69 else near[-1]
        assert window.texts == range(first, last + 1), number


@pytest.mark.parametrize(("end_rule", "last"), [("both", [5, 5, 5, 5, 5]), ("published", [3, 3, 3, 3, 5])])
def test_both_ends_of_a_short_video_are_shown_unless_the_published_way_is_asked_for(end_rule, last):
    spans = texts_every(10.0, 6)
    windows = alignment_windows(100, spans, [True, True, False, False, True, True], end_rule=end_rule)
    assert [window.seconds.start for window in windows] == [0, 16, 32, 48, 64]
    # Only four windows count as near an end, so the first of five is not near the last texts.
    last = [3, *last[1:]]
    assert [window.texts.stop - 1 for window in windows] == last
    assert [window.texts.start for window in windows] == [0, 0, 0, 0, 2]


@given(num_seconds=st.integers(145, 400), seed=st.integers(0, 1000))
def test_from_eight_windows_on_both_rules_agree(num_seconds, seed):
    rng = np.random.default_rng(seed)
    spans = [Span(start, start + 3) for start in np.sort(rng.uniform(0, num_seconds, 12))]
    is_alignable = (rng.random(12) < 0.5).tolist()
    both, published = (
        alignment_windows(num_seconds, spans, is_alignable, end_rule=rule) for rule in ("both", "published")
    )
    assert both == published


def test_a_video_of_alignable_texts_only_has_no_window():
    assert alignment_windows(200, texts_every(5.0, 3), [True] * 3) == []


def test_the_whole_video_is_one_window():
    (window,) = whole_video_window(70, 4)
    assert (window.seconds, window.texts) == (range(70), range(4))
    similarity = torch.rand(4, 70)
    stitched = stitch_similarity([window], [similarity], num_texts=4, num_seconds=70)
    assert torch.equal(stitched.similarity, similarity.double())
    assert torch.equal(stitched.num_windows, torch.ones(4, 70).long())
    assert whole_video_window(1, 1) == [AlignmentWindow(range(1), range(1))]
    for arguments in [(0, 4), (70, 0)]:
        with pytest.raises(ValueError, match=r"^num_seconds and num_texts must be at least 1, got \d+, \d+$"):
            whole_video_window(*arguments)


@given(seed=st.integers(0, 10_000))
def test_stitching_is_the_mean_over_windows_entry_by_entry(seed):
    rng = np.random.default_rng(seed)
    windows, matrices, rows = [], [], []
    for _ in range(rng.integers(0, 6)):
        second, text = int(rng.integers(0, 8)), int(rng.integers(0, 4))
        window = AlignmentWindow(
            range(second, second + int(rng.integers(1, 5))), range(text, text + int(rng.integers(1, 3)))
        )
        windows.append(window)
        matrices.append(rng.standard_normal((len(window.texts), len(window.seconds))).astype(np.float32))
        rows.append(rng.standard_normal(len(window.texts)))
    stitched = stitch_similarity(windows, matrices, num_texts=5, num_seconds=12)
    scores = stitch_scores(windows, rows, num_texts=5)
    assert stitched.similarity.dtype == scores.scores.dtype == torch.float64
    for text in range(5):
        seen = [row[text - w.texts.start] for w, row in zip(windows, rows, strict=True) if text in w.texts]
        assert scores.num_windows[text] == len(seen)
        assert scores.scores[text].item() == pytest.approx(np.mean(seen) if seen else 0)
        for second in range(12):
            values = [
                float(matrix[text - window.texts.start, second - window.seconds.start])
                for window, matrix in zip(windows, matrices, strict=True)
                if text in window.texts and second in window.seconds
            ]
            assert stitched.num_windows[text, second] == len(values)
            assert stitched.similarity[text, second].item() == pytest.approx(np.mean(values) if values else 0)
    again = stitch_similarity(windows[::-1], matrices[::-1], num_texts=5, num_seconds=12)
    torch.testing.assert_close(again.similarity, stitched.similarity)


@pytest.mark.parametrize("field", [0, 1, 2])
def test_lengths_must_be_positive(field):
    lengths = [50, 64, 16]
    lengths[field] = 0
    with pytest.raises(
        ValueError, match=r"^num_seconds, window_seconds and step_seconds must be at least 1, got"
    ):
        alignment_windows(
            lengths[0], [Span(0.0, 1.0)], [False], window_seconds=lengths[1], step_seconds=lengths[2]
        )


def test_other_mistakes_are_named():
    window = AlignmentWindow(range(2, 4), range(1, 3))
    with pytest.raises(ValueError, match=r"^1 spans and 2 entries of is_alignable$"):
        alignment_windows(50, [Span(0.0, 1.0)], [False, True])
    with pytest.raises(ValueError, match=r"^end_rule must be 'both' or 'published', got 'tail'$"):
        alignment_windows(50, [Span(0.0, 1.0)], [False], end_rule="tail")
    with pytest.raises(ValueError, match=r"^1 windows and scores of 0$"):
        stitch_similarity([window], [], num_texts=3, num_seconds=4)
    for num_texts, num_seconds in [(2, 4), (3, 3)]:
        with pytest.raises(ValueError, match=rf"lies outside {num_texts} texts and {num_seconds} seconds$"):
            stitch_similarity([window], [torch.zeros(2, 2)], num_texts=num_texts, num_seconds=num_seconds)
    for early in (AlignmentWindow(range(-1, 1), range(0, 2)), AlignmentWindow(range(0, 2), range(-1, 1))):
        with pytest.raises(ValueError, match=r"lies outside"):
            stitch_similarity([early], [torch.zeros(2, 2)], num_texts=3, num_seconds=4)
    with pytest.raises(
        ValueError, match=r"^similarities of this window must be \(2, 2\) floating point, got \(2, 3\)"
    ):
        stitch_similarity([window], [torch.zeros(2, 3)], num_texts=3, num_seconds=4)
    with pytest.raises(
        ValueError, match=r"^scores of this window must be \(2,\) floating point, .* torch.int64$"
    ):
        stitch_scores([window], [torch.zeros(2).long()], num_texts=3)
    with pytest.raises(ValueError, match=r"lies outside 2 texts"):
        stitch_scores([window], [torch.zeros(2)], num_texts=2)
