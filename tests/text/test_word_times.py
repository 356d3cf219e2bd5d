"""Putting words together to captions, and GRID's word times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.errors import AnnotationError
from narravid.text.captions import Caption
from narravid.text.transcripts import read_transcript
from narravid.text.word_times import group_words
from narravid.types import Span


def spoken(*words: str, pause_seconds: float = 0.0) -> list[Caption]:
    step = 0.5 + pause_seconds
    return [Caption(word, Span(step * place, step * place + 0.5)) for place, word in enumerate(words)]


def test_captions_end_at_full_stops():
    captions = group_words(spoken("Add", "oil.", "Stir,", "3.5", 'times."', "Why?", "Wait…", "end"))
    assert [caption.text for caption in captions] == ["Add oil.", 'Stir, 3.5 times."', "Why?", "Wait…", "end"]
    assert captions[1].span == Span(1.0, 2.5)


def test_captions_end_at_pauses_of_more_than_a_second():
    assert len(group_words(spoken("a", "b", "c", pause_seconds=1.0))) == 1
    assert len(group_words(spoken("a", "b", "c", pause_seconds=1.01))) == 3


def test_commas_end_long_captions_only():
    words = ["and,"] * 25
    assert [len(caption.text.split()) for caption in group_words(spoken(*words))] == [20, 5]
    assert [len(caption.text.split()) for caption in group_words(spoken(*["and"] * 70))] == [32, 32, 6]


def test_pieces_of_words_are_joined_to_them():
    captions = group_words(spoken(" I", " can", "'t", " wait", "."))
    assert [caption.text for caption in captions] == ["I can't wait."]


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b,", "c.", "d?"]), st.integers(0, 40), st.integers(0, 20)),
        max_size=60,
    )
)
def test_no_word_is_lost_or_moved(described):
    clock, words = 0.0, []
    for word, gap, length in described:
        start = clock + gap / 10
        clock = start + length / 10
        words.append(Caption(word, Span(start, clock)))
    captions = group_words(words)
    assert " ".join(caption.text for caption in captions).split() == [word for word, _, _ in described]
    firsts = [caption.span.start_seconds for caption in captions]
    assert firsts == sorted(firsts)
    assert all(
        any(word.span.end_seconds == caption.span.end_seconds for word in words) for caption in captions
    )


@pytest.mark.shared
def test_the_sentence_of_grid_has_the_times_of_its_words(shared_data):
    track = read_transcript(shared_data / "narrated" / "grid" / "swwp2s.align")
    assert track.texts == ["set white with p two soon"]
    assert track[0].span == Span(12250 / 25000, 55250 / 25000)


@pytest.mark.parametrize(
    ("content", "line", "field"),
    [("0 9 sil\n9 x a\n", 2, "end"), ("9 0 a\n", 1, "end"), ("0 9\n", 1, None), ("-1 9 a\n", 1, "start")],
)
def test_faults_of_word_times_name_line_and_field(tmp_path, content, line, field):
    path = tmp_path / "v.align"
    path.write_text(content)
    with pytest.raises(AnnotationError) as caught:
        read_transcript(path)
    assert (caught.value.line, caught.value.field) == (line, field)


def test_silence_alone_is_an_empty_track(tmp_path):
    path = tmp_path / "v.align"
    path.write_text("0 25000 sil\n25000 30000 sp\n")
    assert len(read_transcript(path)) == 0
