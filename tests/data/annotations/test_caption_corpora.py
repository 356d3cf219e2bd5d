"""Captions of many videos in one file: HowTo100M's, sentencified ones, HTM-AA, and tables."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
import random

import numpy as np
import pytest

from narravid.data.annotations.caption_corpora import read_caption_corpus
from narravid.errors import AnnotationError
from narravid.text.transcripts import load_transcript
from narravid.types import Span

CORPUS = {
    "vid1": {"start": [0.5, 2.0], "end": [2.5, 3.0], "text": ["add oil", "stir it"]},
    "vid2": {"start": [7.0], "end": [7.0], "text": ["serve"]},
    "vid3": {"start": [], "end": [], "text": []},
}


def as_arrays(corpus):
    return {
        video_id: {
            "start": np.array(columns["start"]),
            "end": np.array(columns["end"], dtype=np.float32),
            "text": np.array(columns["text"], dtype=object),
        }
        for video_id, columns in corpus.items()
    }


def as_table(corpus) -> bytes:
    content = io.StringIO()
    writer = csv.writer(content)
    writer.writerow(["end", "start", "task", "text", "video_id"])
    for video_id, columns in corpus.items():
        for start, end, text in zip(columns["start"], columns["end"], columns["text"], strict=True):
            writer.writerow([end, start, "x", text, video_id])
    return content.getvalue().encode()


FORMS = {
    "caption.json": json.dumps(CORPUS).encode(),
    "sentencified.json": json.dumps(CORPUS, indent=1).encode(),
    "caption.pickle": pickle.dumps(CORPUS),
    "arrays.pickle": pickle.dumps(as_arrays(CORPUS)),
    "old.pkl": pickle.dumps(as_arrays(CORPUS), protocol=2),
    "tuples.pkl": pickle.dumps({v: {n: tuple(c) for n, c in cs.items()} for v, cs in CORPUS.items()}),
    "table.csv": as_table(CORPUS),
}


def write(tmp_path, name: str, content: bytes | str):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_captions(tmp_path, name):
    videos = list(read_caption_corpus(write(tmp_path, name, FORMS[name])))
    found = {video.video_id: video.read() for video in videos}
    expected = {"vid1", "vid2"} if name.endswith(".csv") else {"vid1", "vid2", "vid3"}
    assert found.keys() == expected
    for video_id in expected:
        columns = CORPUS[video_id]
        assert found[video_id].track.texts == columns["text"]
        spans = [caption.span for caption in found[video_id].track]
        assert spans == [Span(*times) for times in zip(columns["start"], columns["end"], strict=True)]
        assert found[video_id].num_dropped == 0


def test_htm_aa_gives_the_middle_of_what_is_shown(tmp_path):
    path = write(
        tmp_path,
        "htm_aa_v1.csv",
        'vid,timestamp,text\nb,12.5,"add oil, stir"\na,3,serve\nb,4,wash\nb,5,\na,6,nan\n',
    )
    found = {video.video_id: video.read() for video in read_caption_corpus(path)}
    assert list(found) == ["b", "a"]
    assert [(c.text, c.span) for c in found["b"].track] == [
        ("wash", Span(4.0, 4.0)),
        ("add oil, stir", Span(12.5, 12.5)),
    ]
    assert (found["b"].num_dropped, found["a"].num_dropped) == (1, 1)


def test_missing_texts_are_dropped_and_counted(tmp_path):
    texts = ["add", None, math.nan, "nan", " "]
    corpus = {"v": {"start": [0.0] * 5, "end": [1.0] * 5, "text": texts}}
    arrays = {"v": {name: np.array(column, dtype=object) for name, column in corpus["v"].items()}}
    for name, content in {
        "a.json": json.dumps(corpus).encode(),
        "a.pickle": pickle.dumps(corpus),
        "b.pickle": pickle.dumps(arrays),
        "a.csv": as_table(corpus),
    }.items():
        (video,) = read_caption_corpus(write(tmp_path, name, content))
        transcript = video.read()
        assert (transcript.track.texts, transcript.num_dropped) == (["add"], 4)


@pytest.mark.parametrize(
    ("columns", "field", "reason"),
    [
        ({"start": [0.0, -1.0], "end": [1.0, 2.0], "text": ["a", "b"]}, "v.start[1]", "must be seconds"),
        ({"start": [0.0, 3.0], "end": [1.0, 2.0], "text": ["a", "b"]}, "v.end[1]", "not lie before"),
        ({"start": [0.0], "end": [1.0], "text": [["a"]]}, "v.text[0]", "must be a text"),
        ({"start": [0.0], "end": [1.0]}, "v", "text"),
        (["a"], "v", "must be a"),
        (None, "v", "missing"),
    ],
)
@pytest.mark.parametrize("suffix", ["json", "pickle"])
def test_a_faulty_video_is_named_and_the_others_are_read(tmp_path, suffix, columns, field, reason):
    corpus = {"a": CORPUS["vid1"], "v": columns, "z": CORPUS["vid2"]}
    content = json.dumps(corpus).encode() if suffix == "json" else pickle.dumps(corpus)
    first, faulty, last = read_caption_corpus(write(tmp_path, f"caption.{suffix}", content))
    assert [len(first.read().track), len(last.read().track)] == [2, 1]
    with pytest.raises(AnnotationError, match=reason) as caught:
        faulty.read()
    assert caught.value.field.startswith(field)
    assert caught.value.line == (1 if suffix == "json" else None)


def test_columns_of_different_lengths_are_named(tmp_path):
    corpus = {"v": {"start": [0.0], "end": [1.0], "text": ["a", "b"]}}
    for name, content in {"a.json": json.dumps(corpus).encode(), "a.pickle": pickle.dumps(corpus)}.items():
        (video,) = read_caption_corpus(write(tmp_path, name, content))
        with pytest.raises(AnnotationError, match=r"has 1 values, but there are 2|different lengths"):
            video.read()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"start": np.zeros((2, 2)), "end": [1.0], "text": ["a"]}, "different lengths"),
        ({"start": [10**400], "end": [1.0], "text": ["a"]}, "must be seconds"),
        ({"start": [1j], "end": [1.0], "text": ["a"]}, None),
        ({"start": [0.0], "end": [1.0], "text": [b"\xff"]}, "must be a list or array"),
        ({"start": [0.0], "end": [1.0], "text": "a"}, "different lengths"),
    ],
)
def test_odd_pickled_columns_are_faults_of_their_video(tmp_path, value, reason):
    path = write(tmp_path, "a.pickle", pickle.dumps({"v": value}))
    if reason is None:  # complex numbers are no plain data
        with pytest.raises(AnnotationError, match=r"refused: it wants builtins\.complex"):
            list(read_caption_corpus(path))
        return
    (video,) = read_caption_corpus(path)
    with pytest.raises(AnnotationError, match=reason):
        video.read()


def test_one_list_under_many_names_is_refused_before_it_fills_the_memory(tmp_path):
    shared = {"start": [0.0] * 2000, "end": [1.0] * 2000, "text": ["a"] * 2000}
    path = write(tmp_path, "a.pickle", pickle.dumps({f"v{n}": shared for n in range(2000)}))
    with pytest.raises(AnnotationError, match="claims more captions than its [0-9]+ bytes hold"):
        list(read_caption_corpus(path))


@pytest.mark.parametrize("kind", [b"f1", b"b4"])
def test_a_forged_type_of_numbers_is_a_fault_of_its_video(tmp_path, kind):
    content = pickle.dumps({"v": {"start": np.array([0.0]), "end": [1.0], "text": ["a"]}}, protocol=2)
    (video,) = read_caption_corpus(write(tmp_path, "a.pickle", content.replace(b"f8", kind)))
    with pytest.raises(AnnotationError, match="an array of neither numbers nor texts"):
        video.read()


def test_a_table_with_starts_and_ends_may_have_a_column_of_timestamps(tmp_path):
    path = write(tmp_path, "a.csv", "video_id,start,end,text,timestamp\nv,1,2,add oil,2021-03-04\n")
    (video,) = read_caption_corpus(path)
    assert [caption.span for caption in video.read().track] == [Span(1.0, 2.0)]


@pytest.mark.parametrize(
    ("name", "content", "reason", "line"),
    [
        ("a.txt", b"", r"cannot read '\.txt' .*known are \.json, \.pickle", None),
        ("a.json", b"[]", "must hold an object", 1),
        ("a.json", b'{"v": {}\n', "expected , or }", 2),
        ("a.pickle", pickle.dumps([1]), "a dictionary with an entry for each video, got a list", None),
        ("a.csv", b"", "column missing", 1),
        ("a.csv", b"start,end,text\n0,1,a\n", "named video_id or vid", 1),
        ("a.csv", b"start,end,text\n", "named video_id or vid", 1),
        ("a.csv", b"video_id,start,end,text\nv,0,1,a\nv,2,1,b\n", "not lie before", 3),
        ("a.csv", b"vid,timestamp,text\nv,x,a\n", "must be seconds", 2),
        ("a.csv", b"vid,timestamp,text\n,3,a\n", "is empty", 2),
        ("a.csv", b"vid,timestamp\nv,3\n", "column missing", 1),
    ],
)
def test_faults_of_whole_files_name_their_line(tmp_path, name, content, reason, line):
    with pytest.raises(AnnotationError, match=reason) as caught:
        list(read_caption_corpus(write(tmp_path, name, content)))
    assert caught.value.line == line


@pytest.mark.shared
def test_the_published_captions_read_the_same_from_one_file(shared_data, tmp_path):
    paths = sorted((shared_data / "captions" / "howto100m").glob("*.csv"))
    expected = {path.stem: load_transcript(path).track for path in paths if len(path.stem) == 11}
    corpus = {
        video_id: {
            "start": [caption.span.start_seconds for caption in track],
            "end": [caption.span.end_seconds for caption in track],
            "text": track.texts,
        }
        for video_id, track in expected.items()
    }
    for name, content in {
        "caption.json": json.dumps(corpus).encode(),
        "caption.pickle": pickle.dumps(corpus),
        "caption.csv": as_table(corpus),
    }.items():
        videos = read_caption_corpus(write(tmp_path, name, content))
        assert {video.video_id: video.read().track for video in videos} == expected
    assert len(expected) == 60


@pytest.mark.shared
def test_the_published_list_over_several_videos_is_a_corpus(shared_data):
    videos = list(read_caption_corpus(shared_data / "captions" / "howto100m" / "small_val_captions.csv"))
    assert len({video.video_id for video in videos}) == len(videos) > 1
    with (shared_data / "captions" / "howto100m" / "small_val_captions.csv").open(newline="") as file:
        num_rows = sum(1 for _ in csv.DictReader(file))
    assert sum(len(video.read().track) for video in videos) == num_rows


@pytest.mark.parametrize("name", FORMS)
def test_any_change_gives_captions_or_a_named_fault(tmp_path, name):
    chance = random.Random(20261121)
    num_refused = 0
    for _ in range(120):
        content = bytearray(FORMS[name])
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(content))
            if chance.random() < 0.6:
                content[place] = chance.randrange(256)
            else:
                del content[place : place + chance.randint(1, 9)]
        try:
            for video in read_caption_corpus(write(tmp_path, name, bytes(content))):
                video.read()
        except AnnotationError:
            num_refused += 1
    assert num_refused > 20
