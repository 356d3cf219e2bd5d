"""Reading an object member by member, in pieces of any size."""

from __future__ import annotations

import json
import math
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narravid.data.annotations.json_members import read_members
from narravid.errors import AnnotationError

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def write(tmp_path, content: str | bytes):
    path = tmp_path / "caption.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    members=st.dictionaries(st.text(max_size=4), values, max_size=5),
    chunk_characters=st.integers(1, 60),
    indent=st.sampled_from([None, 0, 3]),
    ensure_ascii=st.booleans(),
)
def test_the_members_are_those_of_the_object(tmp_path, members, chunk_characters, indent, ensure_ascii):
    text = json.dumps(members, indent=indent, ensure_ascii=ensure_ascii)
    found = list(read_members(write(tmp_path, text), chunk_characters=chunk_characters))
    assert [(key, value) for key, value, _ in found] == list(members.items())


@pytest.mark.parametrize("chunk_characters", [1, 3, 1000])
def test_the_line_of_each_key_is_known(tmp_path, chunk_characters):
    path = write(tmp_path, '\ufeff{\n\n"a": [\n1,\n2],"b": NaN,\r\n"a": -Infinity\n}\n\n')
    found = list(read_members(path, chunk_characters=chunk_characters))
    assert [(key, line) for key, _, line in found] == [("a", 3), ("b", 5), ("a", 6)]
    assert math.isnan(found[1][1])


@pytest.mark.parametrize("chunk_characters", [1, 7, 1000])
@pytest.mark.parametrize(
    ("content", "line", "reason", "num_read"),
    [
        ("", 1, "must hold an object", 0),
        ("[]", 1, "must hold an object", 0),
        ('{"a": 1\n', 2, "expected , or }", 1),
        ('{"a": 1\n"b": 2}', 2, "expected , or }", 1),
        ('{"a": 1,\n}', 2, "not valid JSON", 1),
        ('{"a"\n 1}', 2, "expected :", 0),
        ("{1: 2}", 1, "1 is no key", 0),
        ('{"a": 1}\n{', 2, "more behind the object", 1),
        ('{"a":\n {"b": [1, 2,, 3]}}', 2, "not valid JSON", 0),
        ('{"a": "x', 1, "not valid JSON: Unterminated string", 0),
        ('{"a": ' + "9" * 5000 + "}", 1, "not valid JSON", 0),
        ('{"a": ' + "[" * 20_000, 1, "not valid JSON", 0),
    ],
)  # fmt: skip
def test_faults_name_their_line(tmp_path, content, line, reason, num_read, chunk_characters):
    found = []
    with pytest.raises(AnnotationError, match=reason) as caught:
        found.extend(read_members(write(tmp_path, content), chunk_characters=chunk_characters))
    assert caught.value.line == line


def test_members_before_a_fault_are_handed_out(tmp_path):
    members = read_members(write(tmp_path, '{"a": 1, "b": 2'))
    assert [next(members)[0], next(members)[0]] == ["a", "b"]
    with pytest.raises(AnnotationError):
        next(members)


def test_other_encodings_and_absent_files_are_named(tmp_path):
    with pytest.raises(AnnotationError, match=r"not UTF-8 text \(byte 0xe8\)"):
        list(read_members(write(tmp_path, '{"crème": 1}'.encode("latin-1"))))
    with pytest.raises(AnnotationError, match=r"absent\.json: cannot be opened"):
        list(read_members(tmp_path / "absent.json"))


def test_a_large_document_takes_little_memory(tmp_path):
    member = json.dumps({"text": ["add oil and stir"] * 100})
    path = write(tmp_path, "{" + ",".join(f'"v{number}": {member}' for number in range(4000)) + "}")
    assert path.stat().st_size > 7 * 10**6
    tracemalloc.start()
    assert sum(1 for _ in read_members(path, chunk_characters=2**16)) == 4000
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()
