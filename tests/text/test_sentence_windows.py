"""Windows of sentences: which may start one, what is in it, both rules, odd tracks, and every refusal."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from caption_tracks import are_uniform, caption_tracks
from narravid.text.captions import Caption, CaptionTrack
from narravid.text.sentence_windows import (
    UNKNOWN_SENTENCE,
    draw_sentence_window,
    sentence_window,
    window_sentences,
)
from narravid.types import Span

rules = st.sampled_from(["published", "complete"])
window_lengths = st.sampled_from([1, 8, 64])
video_lengths = st.integers(1, 300)


def make_track(*spans: tuple[float, float]) -> CaptionTrack:
    return CaptionTrack(tuple(Caption(f"caption {n}", Span(*span)) for n, span in enumerate(spans)))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def times(window) -> list[tuple[float, float]]:
    return [(sentence.span.start_seconds, sentence.span.end_seconds) for sentence in window.sentences]


# ---------------------------------------------------------------- where a window may start


def test_a_window_ends_with_the_last_sentence_at_the_latest():
    track = make_track((0, 2), (9, 10), (10, 11), (25, 30), (70, 100))
    assert window_sentences(track, 31, window_seconds=20) == [0, 1]
    assert window_sentences(track, 200, window_seconds=20) == [0, 1, 2, 3, 4]
    # A sentence that ends with the video does not end before it.
    assert window_sentences(track, 30, window_seconds=5) == [0]
    assert window_sentences(track, 30, window_seconds=20) == []


def test_a_window_lasts_64_seconds_unless_told_otherwise():
    track = make_track((0, 2), (10, 12), (70, 74.5))
    assert window_sentences(track, 100) == [0, 1]
    assert window_sentences(make_track((0, 2), (9.7, 12), (70, 74.5)), 100) == [0, 1]
    assert window_sentences(make_track((0, 2), (10.5, 12), (70, 74.5)), 100) == [0]
    assert sentence_window(track, 0, num_seconds=100).span == Span(0, 64)


def test_the_published_rule_wants_one_sentence_a_second_earlier():
    assert window_sentences(make_track((9.0, 10), (25, 30)), 100, window_seconds=20) == []
    assert window_sentences(make_track((8.9, 10), (9.9, 10), (25, 30)), 100, window_seconds=20) == [0, 1]
    assert window_sentences(make_track((9.0, 10), (25, 30)), 100, window_seconds=20, rule="complete") == [0]
    assert window_sentences(make_track((10, 11), (25, 30)), 100, window_seconds=20, rule="complete") == []


# ---------------------------------------------------------------- what is in a window


def test_times_are_rounded_and_counted_from_the_start_of_the_window():
    track = make_track((3.4, 5.6), (5.6, 8.5), (8.5, 9.5), (9.5, 30.0))
    window = sentence_window(track, 0, num_seconds=100, window_seconds=10)
    assert window.span == Span(3, 13)
    # Halves go to the even second: 8.5 is 8, 9.5 is 10.
    assert times(window) == [(0, 3), (3, 5), (5, 7), (7, 10)]
    assert window.positions == (0, 1, 2, 3)
    assert [sentence.text for sentence in window.sentences] == track.texts


def test_a_sentence_at_the_end_of_the_window_is_no_part_of_it():
    track = make_track((0, 5), (9.4, 12), (10, 12))
    assert sentence_window(track, 0, num_seconds=100, window_seconds=10).positions == (0, 1)
    assert times(sentence_window(track, 0, num_seconds=100, window_seconds=11)) == [(0, 5), (9, 11), (10, 11)]


def test_a_short_sentence_ends_a_window_or_is_passed_over():
    track = make_track((0, 3), (3.6, 4.4), (5, 8))
    published = sentence_window(track, 0, num_seconds=100, window_seconds=10)
    complete = sentence_window(track, 0, num_seconds=100, window_seconds=10, rule="complete")
    assert (published.positions, complete.positions) == ((0,), (0, 2))
    assert times(complete) == [(0, 3), (5, 8)]


def test_so_does_an_unknown_one():
    track = make_track((0, 3), (3, 5), (5, 8))
    published, complete = (
        sentence_window(
            track, 0, num_seconds=9, window_seconds=8, rule=rule, is_known=lambda text: text != "caption 1"
        )
        for rule in ("published", "complete")
    )
    assert (published.positions, complete.positions) == ((0,), (0, 2))


def test_a_window_without_a_sentence_gets_one_made_up_or_none():
    track = make_track((2, 2.3), (5, 8))
    published = sentence_window(track, 0, num_seconds=100, window_seconds=10)
    assert published.sentences == (Caption(UNKNOWN_SENTENCE, Span(0, 10)),)
    assert published.positions == ()
    assert published.span == Span(2, 12)
    nothing_known = sentence_window(
        track, 0, num_seconds=100, window_seconds=10, rule="complete", is_known=lambda _: False
    )
    assert (nothing_known.sentences, nothing_known.positions) == ((), ())


def test_sentences_behind_the_video_are_left_out_of_it():
    track = make_track((0, 3), (4, 40), (5, 8))
    assert sentence_window(track, 0, num_seconds=40, window_seconds=10).positions == (0, 2)
    assert sentence_window(track, 0, num_seconds=41, window_seconds=10).positions == (0, 1, 2)


# ---------------------------------------------------------------- draws


def test_a_short_talk_gets_the_beginning_of_the_video():
    track = make_track((60, 62), (70, 75))
    published = draw_sentence_window(track, 100, generator=seeded())
    assert published.span == Span(0, 64)
    assert published.sentences == (Caption(UNKNOWN_SENTENCE, Span(0, 64)),)
    # The first sentence would start a window of [60, 124): it is moved back into the video.
    complete = draw_sentence_window(track, 100, generator=seeded(), rule="complete")
    assert complete.span == Span(36, 100)
    assert times(complete) == [(24, 26), (34, 39)]
    near_the_start = draw_sentence_window(make_track((10, 12)), 100, generator=seeded(), rule="complete")
    assert (near_the_start.span, times(near_the_start)) == (Span(10, 74), [(0, 2)])
    in_a_short_video = draw_sentence_window(make_track((10, 12)), 30, generator=seeded(), rule="complete")
    assert (in_a_short_video.span, times(in_a_short_video)) == (Span(0, 64), [(10, 12)])


def test_an_empty_track_gets_the_beginning_too():
    for rule, sentences in (("published", (Caption(UNKNOWN_SENTENCE, Span(0, 64)),)), ("complete", ())):
        window = draw_sentence_window(CaptionTrack(), 100, generator=seeded(), rule=rule)
        assert (window.span, window.sentences, window.positions) == (Span(0, 64), sentences, ())


@given(
    track=caption_tracks(),
    num_seconds=video_lengths,
    window_seconds=window_lengths,
    rule=rules,
    seed=st.integers(0, 99),
)
def test_a_drawn_window_holds_sentences_of_its_own_time(track, num_seconds, window_seconds, rule, seed):
    generator, again, counted = (seeded(seed) for _ in range(3))
    settings = {"window_seconds": window_seconds, "rule": rule, "is_known": bool}
    window = draw_sentence_window(track, num_seconds, generator=generator, **settings)
    assert window == draw_sentence_window(track, num_seconds, generator=again, **settings)
    torch.randint(2, (), generator=counted)
    assert torch.equal(generator.get_state(), counted.get_state())

    start = window.span.start_seconds
    assert start == int(start) >= 0
    assert window.span.duration_seconds == window_seconds
    assert window.span.end_seconds <= max(num_seconds, window_seconds)
    assert list(window.positions) == sorted(set(window.positions))
    starting = window_sentences(track, num_seconds, window_seconds=window_seconds, rule=rule)
    if starting:
        assert start in {round(track[first].span.start_seconds) for first in starting}
    if not window.positions:
        made_up = (Caption(UNKNOWN_SENTENCE, Span(0, window_seconds)),)
        assert window.sentences == (made_up if rule == "published" else ())
        return
    for position, sentence in zip(window.positions, window.sentences, strict=True):
        spoken = track[position]
        assert sentence.text == spoken.text != ""
        assert spoken.span.end_seconds < num_seconds
        assert 0 <= sentence.span.start_seconds < sentence.span.end_seconds <= window_seconds
        assert sentence.span.duration_seconds >= 1
        assert sentence.span.start_seconds + start == round(spoken.span.start_seconds)
        assert sentence.span.end_seconds + start == min(
            round(spoken.span.end_seconds), window.span.end_seconds
        )


@given(track=caption_tracks(min_size=1), num_seconds=video_lengths, window_seconds=window_lengths)
def test_the_complete_window_holds_the_published_one_and_all_that_is_said_later(
    track, num_seconds, window_seconds
):
    for first in window_sentences(track, num_seconds, window_seconds=window_seconds):
        published, complete = (
            sentence_window(track, first, num_seconds=num_seconds, window_seconds=window_seconds, rule=rule)
            for rule in ("published", "complete")
        )
        assert published.span == complete.span
        assert complete.positions[: len(published.positions)] == published.positions
        window_end = complete.span.end_seconds
        for position in range(first, len(track)):
            start, end = (
                round(track[position].span.start_seconds),
                round(track[position].span.end_seconds),
            )
            is_in = start < window_end and end - start >= 1 and track[position].span.end_seconds < num_seconds
            assert (position in complete.positions) == is_in


@given(track=caption_tracks(), num_seconds=video_lengths, window_seconds=window_lengths, rule=rules)
def test_starting_sentences_leave_room_for_the_window(track, num_seconds, window_seconds, rule):
    starting = window_sentences(track, num_seconds, window_seconds=window_seconds, rule=rule)
    assert starting == sorted(set(starting))
    complete = window_sentences(track, num_seconds, window_seconds=window_seconds, rule="complete")
    assert starting in ([], complete)
    for position in starting:
        assert track[position].span.end_seconds < num_seconds
        assert round(track[position].span.start_seconds) + window_seconds <= num_seconds


def test_every_starting_sentence_is_drawn_equally_often(generator):
    track = make_track(*((4.0 * n, 4.0 * n + 3) for n in range(30)))
    starts = [draw_sentence_window(track, 200, generator=generator).span.start_seconds for _ in range(1400)]
    assert are_uniform(starts, [4.0 * n for n in range(14)])


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("value", [0, -1])
def test_lengths_must_be_at_least_one(value, generator):
    track = make_track((0, 1))
    for name, seconds in (("num_seconds", (value, 64)), ("window_seconds", (100, value))):
        num_seconds, window_seconds = seconds
        for call in (
            lambda n, w: window_sentences(track, n, window_seconds=w),
            lambda n, w: sentence_window(track, 0, num_seconds=n, window_seconds=w),
            lambda n, w: draw_sentence_window(track, n, generator=generator, window_seconds=w),
        ):
            with pytest.raises(ValueError, match=f"^{name} must be at least 1, got {value}$"):
                call(num_seconds, window_seconds)


def test_the_rule_must_be_known(generator):
    with pytest.raises(ValueError, match="^rule must be 'published' or 'complete', got 'all'$"):
        window_sentences(make_track((0, 1)), 100, rule="all")
    with pytest.raises(ValueError, match="^rule must be 'published' or 'complete', got 'all'$"):
        sentence_window(make_track((0, 1)), 0, num_seconds=100, rule="all")
    with pytest.raises(ValueError, match="^rule must be 'published' or 'complete', got 'all'$"):
        draw_sentence_window(make_track((0, 1)), 100, generator=generator, rule="all")


@pytest.mark.parametrize("first", [-1, 1, 2])
def test_the_first_sentence_must_be_in_the_video(first):
    message = f"^first must be the position of a sentence that ends before the video does, 9 s; got {first}$"
    with pytest.raises(ValueError, match=message):
        sentence_window(make_track((0, 1), (5, 9)), first, num_seconds=9)
