"""Tables and JSON documents: what is read, and that each fault is named by file, line and field."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.annotation_fields import Fields
from narravid.annotation_files import read_document, read_lines, read_rows, read_table, read_text
from narravid.errors import AnnotationError
from narravid.types import Span


def write(folder, content):
    path = folder / "list"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def fields(**values):
    return Fields("list.json", values, place="database")


# ---------------------------------------------------------------- text and lines


def test_text_loses_its_byte_order_mark_and_keeps_its_line_ends(tmp_path):
    assert read_text(write(tmp_path, b"\xef\xbb\xbfa\r\nb\n")) == "a\r\nb\n"


def test_text_that_is_not_utf8_is_refused_on_its_line(tmp_path):
    path = write(tmp_path, b"a\nb\nc\xe8d\n")
    with pytest.raises(AnnotationError, match=r"list, line 3: not UTF-8 text \(byte 0xe8\)") as caught:
        read_text(path)
    assert (caught.value.path, caught.value.line) == (str(path), 3)


@pytest.mark.parametrize("read", [read_text, read_document, lambda path: list(read_table(path, ["a"]))])
def test_what_cannot_be_opened_is_named(tmp_path, read):
    with pytest.raises(AnnotationError, match="absent: cannot be opened: No such file"):
        read(tmp_path / "absent")
    with pytest.raises(AnnotationError, match="cannot be opened: Is a directory"):
        read(tmp_path)


def test_blank_lines_are_passed_over(tmp_path):
    assert list(read_lines(write(tmp_path, " a \n\n\t\nb"))) == [(1, "a"), (4, "b")]


# ---------------------------------------------------------------- tables


def test_rows_carry_the_line_on_which_they_start(tmp_path):
    path = write(tmp_path, '\ufeffa,b\r\n"x\r\ny",1\r\n\r\nz,"2,"\r\n')
    rows = list(read_table(path, ["b"]))
    assert [(row.line, row.values) for row in rows] == [
        (2, {"a": "x\r\ny", "b": "1"}),
        (5, {"a": "z", "b": "2,"}),
    ]


def test_rows_without_a_header_may_lack_their_last_fields(tmp_path):
    path = write(tmp_path, 'a\t"b\n\nc\td\te\n')
    rows = read_rows(path, ["x", "y", "z"], separator="\t", quoted=False, num_optional=1)
    assert [(row.line, row.values) for row in rows] == [
        (1, {"x": "a", "y": '"b'}),
        (3, {"x": "c", "y": "d", "z": "e"}),
    ]


@pytest.mark.parametrize(
    ("content", "line", "field", "reason"),
    [
        ("", 1, "a", "the header must hold a,b, but the file is empty"),
        ("\n\na,c\n", 3, "b", "column missing; the header must hold a,b, got 'a,c'"),
        ("a,b,a\n", 1, "a", "there twice"),
        ("a,b\n1,2\n3\n", 3, None, "not as many fields as the header: 1 instead of 2"),
        ("a,b\n1,2\n3,4,5\n", 3, None, "3 instead of 2"),
        ('a,b\n"1\n",2\n"3,4\n5,6\n', 4, None, "not valid CSV: unexpected end of data"),
        ('a,b\n1,"2"x\n', 2, None, "not valid CSV"),
        (b"a,b\n1,2\n\xff,2\n", 3, None, "not UTF-8"),
        (b"a,b\n" + b"1,2\n" * 9000 + b"\xff,2\n", 9002, None, "not UTF-8"),
        (f"a,b\n1,{'x' * 200_000}\n", 2, None, "field larger than field limit"),
    ],
)
def test_faults_of_a_table_are_named(tmp_path, content, line, field, reason):
    path = write(tmp_path, content)
    with pytest.raises(AnnotationError, match=reason) as caught:
        list(read_table(path, ["a", "b"]))
    assert (caught.value.path, caught.value.line, caught.value.field) == (str(path), line, field)


@pytest.mark.parametrize(("content", "reason"), [("a,b,c\n", "3 fields instead of 2: x, y"), ("a\n", "1 fi")])
def test_rows_without_a_header_with_other_fields_are_refused(tmp_path, content, reason):
    with pytest.raises(AnnotationError, match=f"line 2: has {reason}"):
        list(read_rows(write(tmp_path, f"1,2\n{content}"), ["x", "y"]))


@given(content=st.binary(max_size=80) | st.text(alphabet='ab,"\n\r\t\x00é', max_size=80).map(str.encode))
def test_any_bytes_are_rows_or_a_named_fault(tmp_path_factory, content):
    path = write(tmp_path_factory.mktemp("any"), b"a,b\n" + content)
    for read in (lambda: read_table(path, ["a"]), lambda: read_rows(path, ["a", "b"], separator="\t")):
        try:
            rows = list(read())
        except AnnotationError:
            continue
        assert all(row.line >= 1 for row in rows)


# ---------------------------------------------------------------- documents


@pytest.mark.parametrize(
    ("content", "line", "field", "reason"),
    [
        ("", 1, None, "not valid JSON: Expecting value"),
        ('{"a": 1,\n "b": tru}', 2, None, r"Expecting value \(column 7\)"),
        ('{"a": 1} {}', 1, None, "Extra data"),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', None, "b", "the key is there twice"),
        ("[1, 2]", None, None, r"must hold an object, got \[1, 2\]"),
        ("[" * 200_000, None, None, "not valid JSON: maximum recursion depth"),
        ('{"a": 1' + "0" * 5000 + "}", None, None, "not valid JSON: Exceeds the limit"),
        (b'{"a": "\xe8"}', 1, None, "not UTF-8"),
    ],
)
def test_faults_of_a_document_are_named(tmp_path, content, line, field, reason):
    path = write(tmp_path, content)
    with pytest.raises(AnnotationError, match=reason) as caught:
        read_document(path)
    assert (caught.value.path, caught.value.line, caught.value.field) == (str(path), line, field)


def test_a_document_is_an_object_or_an_array(tmp_path):
    assert read_document(write(tmp_path, '{"a": NaN}')).values.keys() == {"a"}
    assert read_document(write(tmp_path, "[1, 2]"), kind="array").values == [1, 2]
    with pytest.raises(AnnotationError, match="must hold an array, got {'a': 1}"):
        read_document(write(tmp_path, '{"a": 1}'), kind="array")


@given(content=st.binary(max_size=60) | st.text(alphabet='{}[]":,1eNa\\ud8 ', max_size=60).map(str.encode))
def test_any_bytes_are_a_document_or_a_named_fault(tmp_path_factory, content):
    path = write(tmp_path_factory.mktemp("any"), content)
    try:
        document = read_document(path)
    except AnnotationError:
        return
    assert repr(document.values) == repr(json.loads(content))  # NaN is not equal to itself


# ---------------------------------------------------------------- fields


def test_values_are_given_by_type():
    row = fields(text=" a ", one=1, one_text=" 1 ", time=2, time_text="2.5", empty=" ", null=None, list=[[3]])
    assert row.text("text") == "a"
    assert row.text("empty", may_be_empty=True) == ""
    assert row.integer("one") == row.integer("one_text") == 1
    assert (row.seconds("time"), row.seconds("time_text")) == (2.0, 2.5)
    assert row.span("one", "time") == Span(1.0, 2.0)
    assert row.span("one", "one_text") == Span(1.0, 1.0)
    assert row.choice("text", ("a", "b")) == "a"
    assert "text" in row
    assert "null" not in row
    assert "absent" not in row
    inner = row.child("list", kind="array").child(0, kind="array")
    assert (inner.integer(0), inner.place, len(inner)) == (3, "database.list[0]", 1)
    assert 1 not in inner
    assert -1 not in inner


@pytest.mark.parametrize(
    ("value", "look", "reason"),
    [
        (None, lambda row: row.value("x"), "is missing"),
        (3, lambda row: row.text("x"), "must be a text, got 3"),
        (" ", lambda row: row.text("x"), "is empty"),
        ("a\ud800", lambda row: row.text("x"), "lone surrogate"),
        ("1.0", lambda row: row.integer("x"), "must be a whole number >= 0, got '1.0'"),
        (True, lambda row: row.integer("x"), "must be a whole number >= 0, got True"),
        (2.0, lambda row: row.integer("x"), "must be a whole number >= 0, got 2.0"),
        ("-1", lambda row: row.integer("x"), "must be a whole number >= 0, got '-1'"),
        ("9", lambda row: row.integer("x", at_least=1, at_most=3), "number from 1 to 3, got '9'"),
        ("1" * 30, lambda row: row.integer("x"), "must be a whole number"),
        ("much", lambda row: row.number("x"), "must be a finite number, got 'much'"),
        ("1_0", lambda row: row.number("x"), "must be a finite number, got '1_0'"),
        ("inf", lambda row: row.number("x"), "must be a finite number, got 'inf'"),
        (True, lambda row: row.number("x"), "must be a finite number, got True"),
        ([1], lambda row: row.number("x"), "must be a finite number, got"),
        ("0:05", lambda row: row.seconds("x"), "must be seconds >= 0, got '0:05'"),
        ("1_0", lambda row: row.seconds("x"), "must be seconds >= 0, got '1_0'"),
        ("", lambda row: row.seconds("x"), "must be seconds >= 0, got ''"),
        ("nan", lambda row: row.seconds("x"), "must be seconds >= 0, got 'nan'"),
        (float("inf"), lambda row: row.seconds("x"), "must be seconds >= 0, got inf"),
        (10**400, lambda row: row.seconds("x"), "must be seconds >= 0"),
        (-0.5, lambda row: row.seconds("x"), "must be seconds >= 0, got -0.5"),
        (False, lambda row: row.seconds("x"), "must be seconds >= 0, got False"),
        ([1], lambda row: row.seconds("x"), r"must be seconds >= 0, got \[1\]"),
        (4, lambda row: row.span("late", "x"), "must not lie before late 5, got 4"),
        (5, lambda row: row.span("late", "x", may_be_empty=False), "must lie after late 5, got 5"),
        ("c", lambda row: row.choice("x", ("a", "b")), "must be one of 'a', 'b', got 'c'"),
        ([], lambda row: row.choice("x", ("a", "b")), r"must be one of 'a', 'b', got \[\]"),
        ([], lambda row: row.child("x"), r"must be an object, got \[\]"),
        ({}, lambda row: row.child("x", kind="array"), "must be an array, got {}"),
        (["y" * 90], lambda row: row.text("x"), r"must be a text, got \['y{75}\.\.\.$"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(value, look, reason):
    with pytest.raises(AnnotationError, match=reason) as caught:
        look(fields(x=value, late=5))
    assert (caught.value.path, caught.value.field) == ("list.json", "database.x")


def test_values_that_cannot_be_written_out_are_still_named():
    with pytest.raises(AnnotationError, match="must be a text, got a very long int"):
        fields(x=10**5000).text("x")
    nested = []
    for _ in range(2 * sys.getrecursionlimit()):
        nested = [nested]
    with pytest.raises(AnnotationError, match=r"must be a text, got \[{6}"):
        fields(x=nested).text("x")


def test_children_come_with_their_keys():
    row = fields(a={"b": 1}, c={})
    assert [(key, child.place) for key, child in row.children()] == [
        ("a", "database.a"),
        ("c", "database.c"),
    ]
    with pytest.raises(AnnotationError, match=r"field 'database\.c': must be an object, got 3"):
        list(fields(c=3).children())


@pytest.mark.parametrize("key", ["", " ", "\ud800"])
def test_keys_must_be_names(key):
    with pytest.raises(AnnotationError, match="a key must be a text that is not empty, got") as caught:
        list(fields(**{key: {}}).children())
    assert caught.value.field == "database"


def test_all_texts_of_an_array_are_given():
    assert fields(x=["a ", "b"]).child("x", kind="array").texts() == ("a", "b")
    with pytest.raises(AnnotationError, match=r"field 'database\.x\[1\]': must be a text, got 3"):
        fields(x=["a", 3]).child("x", kind="array").texts()


def test_the_row_as_a_whole_can_be_at_fault():
    error = Fields("list.csv", {}, line=7).fault("is the wrong one")
    assert str(error) == "list.csv, line 7: is the wrong one"
