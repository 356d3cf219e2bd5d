"""Lists of pairs: what is read, and what is refused with file, line and field."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narravid.errors import AnnotationError
from narravid.evaluation.pairs import RetrievalPair, read_pairs_csv
from narravid.types import Span


def write(folder, text):
    path = folder / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_whole_videos_relative_to_the_list(tmp_path):
    path = write(tmp_path, 'video_path,text\na/b.mp4,"cut, then stir"\n/abs/c.mp4, pour \n')
    assert read_pairs_csv(path) == [
        RetrievalPair(str(tmp_path / "a/b.mp4"), "cut, then stir"),
        RetrievalPair("/abs/c.mp4", "pour"),
    ]


def test_spans_and_empty_times(tmp_path):
    path = write(tmp_path, "end_seconds,text,video_path,start_seconds\n4.5,cut,/a.mp4,1\n,stir,/a.mp4,\n")
    assert read_pairs_csv(path) == [
        RetrievalPair("/a.mp4", "cut", Span(1.0, 4.5)),
        RetrievalPair("/a.mp4", "stir", None),
    ]


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_bytes("\ufeffvideo_path,text\r\n/a.mp4,schüssel\r\n".encode())
    assert read_pairs_csv(path) == [RetrievalPair("/a.mp4", "schüssel")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, field 'video_path': column missing; the header must be video_path,text,start_seconds,"),
        ("video_path\na.mp4\n", "line 1, field 'text': column missing"),
        ("video_path,text\n", "has no row behind the header"),
        ("video_path,text,start\n", r"line 1, field 'start': unknown column"),
        ("video_path,text,start_second,end_seconds\n", r"unknown column \(did you mean 'start_seconds'\?\)"),
        ("video_path,text,text\n", "line 1, field 'text': the column is there twice"),
        ("video_path,text,zzz\n", "unknown column; known are video_path,text,start_seconds,end_seconds"),
        (
            "video_path,text,start_seconds\n",
            "field 'start_seconds': start_seconds and end_seconds go together",
        ),
        ("video_path,text\na.mp4\n", "line 2: has not as many fields as the header"),
        ("video_path,text\na.mp4,x\nb.mp4,cut, stir\n", "line 3: has not as many fields as the header"),
        ("video_path,text\na.mp4,  \n", "line 2, field 'text': is empty"),
        ("video_path,text\n,cut\n", "line 2, field 'video_path': is empty"),
        (
            "video_path,text,start_seconds,end_seconds\na,x,1,1\n",
            "'end_seconds': must lie after start_seconds 1",
        ),
        ("video_path,text,start_seconds,end_seconds\na,x,2,1.5\n", r"start_seconds 2, got 1\.5"),
        (
            "video_path,text,start_seconds,end_seconds\na,x,-1,1\n",
            "'start_seconds': must be seconds >= 0, got '-1'",
        ),
        (
            "video_path,text,start_seconds,end_seconds\na,x,1,\n",
            "'end_seconds': must be seconds >= 0, got ''",
        ),
        ("video_path,text,start_seconds,end_seconds\na,x,nan,2\n", "must be seconds >= 0, got 'nan'"),
        ("video_path,text,start_seconds,end_seconds\na,x,1,inf\n", "must be seconds >= 0, got 'inf'"),
        ("video_path,text,start_seconds,end_seconds\na,x,0:01,2\n", "must be seconds >= 0, got '0:01'"),
        ('video_path,text\na.mp4,"open\n', "line 2: is not valid CSV: unexpected end of data"),
    ],
)
def test_faults_are_named(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(AnnotationError, match=message) as caught:
        read_pairs_csv(path)
    assert str(caught.value).startswith(str(path))


def test_an_absent_file_and_one_that_is_no_text(tmp_path):
    with pytest.raises(AnnotationError, match="cannot be opened: No such file or directory"):
        read_pairs_csv(tmp_path / "none.csv")
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xfe\x00video_path")
    with pytest.raises(AnnotationError, match="line 1: not UTF-8 text"):
        read_pairs_csv(path)


@given(content=st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_or_refused_but_never_breaks(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("list") / "pairs.csv"
    path.write_text("video_path,text,start_seconds,end_seconds\n" + content, encoding="utf-8", newline="")
    try:
        pairs = read_pairs_csv(path)
    except AnnotationError:
        return
    assert all(pair.text.strip() and pair.path for pair in pairs)
