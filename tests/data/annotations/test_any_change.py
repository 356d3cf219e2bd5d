"""Whatever happens to a small valid file, its reader gives records or a named fault, never another error."""

import copy
import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation_samples import SAMPLES
from narravid.errors import AnnotationError

ODD_CELLS = st.sampled_from(
    ["", " ", "nan", "inf", "-1", "1e400", "0", "7", "0x1", "1_000", "a/b", "..", "\u0661", "\0", '"', "é\n"]
) | st.text(max_size=4)
ODD_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, "\ud800", "", "nan", "1e400"])
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


def check(sample, folder, content):
    path = folder / "sample"
    path.write_bytes(content)
    try:
        records = sample.read(path)
    except AnnotationError as error:
        return error
    assert records is not None
    hash(records)
    return None


@pytest.mark.parametrize("name", SAMPLES)
@given(data=st.data())
@settings(max_examples=40)
def test_changed_bytes(tmp_path_factory, name, data):
    content = bytearray(SAMPLES[name].content.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        piece = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b",", b"\n", b"\r", b"\xff", b"{", b"\t"])
        )
        content[at : at + data.draw(st.integers(0, 4))] = piece
    check(SAMPLES[name], tmp_path_factory.mktemp("changed"), bytes(content))


@pytest.mark.parametrize("name", [name for name, sample in SAMPLES.items() if sample.separator is not None])
@given(data=st.data())
@settings(max_examples=40)
def test_changed_cells(tmp_path_factory, name, data):
    sample = SAMPLES[name]
    rows = list(csv.reader(io.StringIO(sample.content), delimiter=sample.separator))
    row = data.draw(st.sampled_from(rows))
    row[data.draw(st.integers(0, len(row) - 1))] = data.draw(ODD_CELLS)
    changed = io.StringIO()
    csv.writer(changed, delimiter=sample.separator).writerows(rows)
    check(sample, tmp_path_factory.mktemp("changed"), changed.getvalue().encode())


def places(value, trail=()):
    yield trail
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*trail, key))


@pytest.mark.parametrize("name", [name for name, sample in SAMPLES.items() if sample.content[0] == "{"])
@given(data=st.data())
@settings(max_examples=60)
def test_changed_values(tmp_path_factory, name, data):
    document = copy.deepcopy({"top": json.loads(SAMPLES[name].content)})
    *trail, last = data.draw(st.sampled_from([place for place in places(document) if place]))
    inner = document
    for key in trail:
        inner = inner[key]
    if isinstance(inner, dict) and data.draw(st.booleans()):
        inner[data.draw(st.sampled_from(["\ud800", "", " ", "x"]))] = inner.pop(last)
    else:
        inner[last] = data.draw(ODD_VALUES)
    top = next(iter(document.values()))
    error = check(SAMPLES[name], tmp_path_factory.mktemp("changed"), json.dumps(top).encode())
    if error is not None:
        str(error).encode()  # can be printed
