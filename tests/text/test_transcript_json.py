"""Transcripts in JSON: the shapes that are known, and what is said of others."""

from __future__ import annotations

import json
import math

import pytest

from narravid.errors import AnnotationError
from narravid.text.transcripts import load_transcript, read_transcript
from narravid.types import Span

LECTURES = [
    "eulers-characteristic-formula",
    "eulers-formula-old",
    "eulers-formula-poem",
    "inventing-math",
    "moser",
    "music-and-measure-theory",
]


def read(tmp_path, value: object):
    path = tmp_path / "v.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return load_transcript(path)


def pairs(transcript) -> list[tuple[str, Span]]:
    return [(caption.text, caption.span) for caption in transcript.track]


STIR = [("add oil", Span(0.5, 2.0)), ("stir it", Span(2, 3))]


@pytest.mark.parametrize(
    "value",
    [
        {"start": [0.5, 2], "end": [2.0, 3], "text": ["add oil", " stir it "], "extra": 1},
        {"start": {"0": 0.5, "1": 2}, "end": {"0": 2, "1": 3}, "text": {"0": "add oil", "1": "stir it"}},
        [{"start": 2, "end": 3, "sentence": "stir it"}, {"start": 0.5, "end": 2, "sentence": "add oil"}],
        [{"start": 0.5, "duration": 1.5, "text": "add oil"}, {"start": 2, "dur": 1, "text": "stir it"}],
        [["add oil", 0.5, 2], ["stir it", 2, 3]],
        {"language": "en", "segments": [
            {"id": 0, "start": 0.5, "end": 2, "text": " add oil"},
            {"id": 1, "start": 2, "end": 3, "text": " stir it"},
        ]},
        [{"word": "add", "start": 0.5, "end": 1}, {"word": "oil.", "start": 1, "end": 2},
         {"word": "stir", "start": 2, "end": 2.5}, {"word": "it", "start": 2.5, "end": 3}],
    ],
    ids=["columns", "table", "sentences", "durations", "triples", "whisper", "words"],
)  # fmt: skip
def test_every_known_shape_reads_the_same(tmp_path, value):
    transcript = read(tmp_path, value)
    assert [text.rstrip(".") for text in transcript.track.texts] == [text for text, _ in STIR]
    assert [caption.span for caption in transcript.track] == [span for _, span in STIR]
    assert transcript.num_dropped == 0


def test_missing_texts_are_counted(tmp_path):
    texts = ["a b", None, math.nan, "nan", "  "]
    columns = {"start": [0, 1, 2, 3, 4], "end": [1, 2, 3, 4, 5], "text": texts}
    records = [{"start": n, "end": n + 1, "text": text} for n, text in enumerate(texts)]
    for value in (columns, records):
        transcript = read(tmp_path, value)
        assert (transcript.track.texts, transcript.num_dropped) == (["a b"], 4)


@pytest.mark.parametrize(
    "value", [[], {"start": [], "end": [], "text": []}, {"segments": []}, {"events": []}]
)
def test_a_list_of_nothing_is_an_empty_track(tmp_path, value):
    assert len(read(tmp_path, value).track) == 0


@pytest.mark.parametrize(
    ("value", "field", "reason"),
    [
        ("", None, "not valid JSON"),
        ("3", None, "must hold an object"),
        ({}, None, "no known transcript; known are"),
        ({"title": "x", "tags": []}, None, "an object with 'title, tags' is no known .*; known are .*json3"),
        (["a"], "[0]", "'a' is no caption; known are"),
        ([["a", 0, 1], ["b", 0]], "[1]", "is no caption"),
        ([["a", 3, 1]], "[0][2]", "must not lie before"),
        ([{"text": "a", "begin": 1}], "[0]", "a record with 'text, begin' has no start; known are"),
        ([{"start": 1, "end": 2}], "[0]", "has no text"),
        ([{"start": 1, "text": "a"}], "[0].end", "neither an end nor a duration"),
        ([{"start": 1, "end": None, "text": "a"}], "[0].end", "is missing"),
        ([{"start": 1, "end": 2, "text": 5}], "[0].text", "must be a text, got 5"),
        ([{"start": 1e308, "duration": 1e308, "text": "a"}], "[0].duration", "end somewhere"),
        ({"start": [0, math.nan], "end": [1, 2], "text": ["a", "b"]}, "start[1]", "must be seconds"),
        ({"start": [0.0, math.nan], "end": [1.0, 2.0], "text": ["a", "b"]}, "start[1]", "must be seconds"),
        ({"start": [0.0, 3.0], "end": [1.0, 2.0], "text": ["a", "b"]}, "end[1]", "not lie before"),
        ({"start": [0.0], "end": [math.inf], "text": ["a"]}, "end[0]", "must be seconds"),
        ({"start": [0, 3], "end": [1, 2], "text": ["a", "b"]}, "end[1]", "not lie before the start 3, got 2"),
        ({"start": [0], "end": [1, 2], "text": ["a", "b"]}, "start", "has 1 values, but there are 2 texts"),
        ({"start": 0, "end": [1], "text": ["a"]}, "start", "must be an array"),
        ({"segments": 3}, "segments", "must be an array"),
    ],
)  # fmt: skip
def test_faults_name_the_field(tmp_path, value, field, reason):
    with pytest.raises(AnnotationError, match=reason) as caught:
        read(tmp_path, value)
    assert caught.value.field == field


@pytest.mark.shared
@pytest.mark.parametrize("name", LECTURES)
def test_words_of_a_lecture_make_up_its_sentences(shared_data, name):
    folder = shared_data / "transcripts" / "lectures"
    words = json.loads((folder / f"{name}.word_timings.json").read_text())
    track = read_transcript(folder / f"{name}.word_timings.json")
    sentences = read_transcript(folder / f"{name}.sentence_timings.json")
    assert " ".join(track.texts).split() == "".join(word for word, _, _ in words).split()
    assert len(sentences) <= len(track) <= 2 * len(sentences)
    assert all(len(text.split()) <= 32 for text in track.texts)
    ends = {round(caption.span.end_seconds, 2) for caption in track}
    found = [round(caption.span.end_seconds, 2) in ends for caption in sentences]
    assert sum(found) >= 0.9 * len(found)


@pytest.mark.shared
def test_words_without_sentences_are_cut_at_pauses(shared_data):
    folder = shared_data / "transcripts" / "lectures"
    assert read_transcript(folder / "binary-counting.word_timings.json").texts == ["you"] * 7
    assert len(read_transcript(folder / "binary-counting.sentence_timings.json")) == 0


@pytest.mark.shared
def test_the_records_of_the_talk_are_its_captions(shared_data):
    records = json.loads((shared_data / "narrated" / "manifesto.json").read_text())
    track = read_transcript(shared_data / "narrated" / "manifesto.json")
    assert len(track) == 31
    assert [(caption.text, caption.span.end_seconds) for caption in track] == [
        (record["content"], record["end"]) for record in records
    ]
