"""Pickles of plain data are read, and those that would run code or fill the memory are refused by name."""

from __future__ import annotations

import collections
import datetime
import functools
import os
import pathlib
import pickle
import random
import re
import struct
import subprocess
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narravid.data.annotations.pickled_arrays import PickledArray
from narravid.data.annotations.safe_pickle import read_plain_pickle
from narravid.errors import AnnotationError

PROTOCOLS = range(6)


def read(tmp_path, content: bytes):
    path = tmp_path / "caption.pickle"
    path.write_bytes(content)
    return read_plain_pickle(path)


def refusal(tmp_path, content: bytes) -> str:
    with pytest.raises(AnnotationError) as caught:
        read(tmp_path, content)
    assert caught.value.path.endswith("caption.pickle")
    return caught.value.reason


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(value=plain)
def test_plain_data_is_read_as_it_was_written(tmp_path, protocol, value):
    assert read(tmp_path, pickle.dumps(value, protocol=protocol)) == value


ARRAYS = [
    np.array([0.5, 1.25]),
    np.array([1, 2], dtype=">i4"),
    np.array([1.5], dtype=np.float16),
    np.array([True, False]),
    np.array(["add", "öl"]),
    np.array([b"add"]),
    np.array(["add", None, 3.5], dtype=object),
    np.array([]),
    np.arange(10)[::3],
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("array", ARRAYS, ids=str)
@pytest.mark.parametrize("core", [b"core", b"_core"])
def test_arrays_are_read_as_they_were_written(tmp_path, protocol, array, core):
    content = pickle.dumps({"a": array}, protocol=protocol)
    if protocol < 4:  # names of NumPy 1 are shorter, which lengths of the newer protocols do not allow
        content = content.replace(b"numpy._core", b"numpy." + core)
    found = read(tmp_path, content)["a"]
    assert isinstance(found, PickledArray)
    assert len(found) == len(array)
    assert found.to_list() == array.tolist()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numbers_of_numpy_and_kinds_of_dictionaries_are_read(tmp_path, protocol):
    value = collections.OrderedDict(a=np.float64(0.5), b=np.int32(-3), c=collections.defaultdict(list, d=[1]))
    found = read(tmp_path, pickle.dumps(value, protocol=protocol))
    assert found == {"a": 0.5, "b": -3, "c": {"d": [1]}}
    assert [type(number) for number in list(found.values())[:2]] == [float, int]


def test_texts_of_python_2_come_as_bytes_and_its_keys_as_text(tmp_path):
    assert read(tmp_path, b"(dp0\nS'vid'\np1\n(lp2\nS'cr\\xc3\\xa8me'\np3\nas.") == {
        "vid": ["crème".encode()]
    }


class Payload:
    """Is unpickled as a call."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


MARKER = "it_ran"
PAYLOADS = {
    "posix.system": Payload(os.system, f"touch {MARKER}"),
    "subprocess.Popen|commands.Popen": Payload(subprocess.Popen, ["touch", MARKER]),
    "builtins.eval": Payload(eval, f"open({MARKER!r}, 'w').close()"),
    "builtins.exec": Payload(exec, f"open({MARKER!r}, 'w').close()"),
    "_io.open|io.open": Payload(open, MARKER, "w"),
    "builtins.getattr": Payload(getattr, pathlib.Path(MARKER), "touch"),
    "builtins.__import__": Payload(__import__, "this"),
    "functools.partial": Payload(functools.partial, os.system, f"touch {MARKER}"),
    "datetime.date": datetime.date(2024, 6, 1),
}


def wrapped(payload: object) -> dict[str, object]:
    """The payload at every place of a corpus."""
    return {
        "alone": payload,
        "entry": {"vid": payload},
        "text": {"vid": {"start": [0.0], "end": [1.0], "text": [payload]}},
        "array": {"vid": {"start": np.array([payload], dtype=object)}},
        "dictionary": collections.OrderedDict(vid=payload),
    }


@pytest.mark.parametrize("place", wrapped(None))
@pytest.mark.parametrize("name", PAYLOADS)
def test_code_is_refused_by_name_and_not_run(tmp_path, monkeypatch, name, place):
    monkeypatch.chdir(tmp_path)
    names = [*name.split("|"), name.replace("builtins", "__builtin__")]
    for protocol in PROTOCOLS:
        said = refusal(tmp_path, pickle.dumps(wrapped(PAYLOADS[name])[place], protocol=protocol))
        assert any(f"refused: it wants {known}, which plain data does not need" in said for known in names)
        assert "nothing of it was run" in said
        assert not (tmp_path / MARKER).exists()


def test_the_payloads_are_sharp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(PAYLOADS["posix.system"]))
    assert (tmp_path / MARKER).exists()


@pytest.mark.parametrize(
    "table",
    [pd.DataFrame({"start": [0.0]}), pd.Series(["a"]), pd.Timestamp(0)],
    ids=lambda table: type(table).__name__,
)
def test_pandas_is_refused_with_a_remedy(tmp_path, table):
    said = refusal(tmp_path, pickle.dumps({"vid": table}))
    assert said.startswith("refused: it wants pandas.")
    assert "save plain lists as JSON" in said


CLASS_OF_SYSTEM = b"cposix\nsystem\n"
CRAFTED = {
    "an old object": b"(S'touch it_ran'\niposix\nsystem\n.",
    "an object of a mark": b"(" + CLASS_OF_SYSTEM + b"S'touch it_ran'\no.",
    "a persistent name": b"Ptouch it_ran\n.",
    "a persistent name on the stack": b"S'touch it_ran'\nQ.",
    "an extension": b"\x82\x01.",
    "a new object": b"\x80\x02cnumpy\ndtype\n(S'f8'\nt\x81.",
    "a name within a name": b"\x80\x04\x8c\x05numpy\x8c\x11core.sys.modules.os\x93.",
    "a dotted name": b"\x80\x04\x8c\x08builtins\x8c\x0elist.__class__\x93.",
    "a call of a text": b"S'posix.system'\n(S'touch it_ran'\ntR.",
    "a call of a list": b"](S'touch it_ran'\ntR.",
    "a call of the type of arrays": b"cnumpy\nndarray\n((I1\ntS'f8'\ntR.",
    "a state for a dictionary": b"}(S'a'\nI1\ndb.",
    "a state for a function": b"cnumpy\ndtype\n}S'x'\nI1\nsb.",
    "a remembered name": b"Vposix\np0\n0Vsystem\np1\n0\x80\x04g0\ng1\n\x93(S'touch it_ran'\ntR.",
    "a memo that changes its mind": b"cnumpy\ndtype\np0\n0S'f8'\np0\n0g0\n(tR.",
    "a key that is a tuple": b"}(I1\nI2\ntI3\ns.",
    "a dictionary with a list": b"ccollections\ndefaultdict\n(cposix\nsystem\ntR.",
    "text that is encoded otherwise": b"c_codecs\nencode\n(VYWJj\nVbase64\ntR.",
    "items for a list": b"](I1\nI2\nu.",
}


@pytest.mark.parametrize("name", CRAFTED)
def test_what_no_writer_writes_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    said = refusal(tmp_path, CRAFTED[name])
    assert said.startswith("refused: it ")
    assert not (tmp_path / MARKER).exists()


def spoiled_array(shape: object, kind: str = "f8", content: object = b"") -> bytes:
    dtype = Payload(np.dtype, kind)
    return pickle.dumps(Payload(np._core.numeric._frombuffer, content, dtype, shape, "C"))


@pytest.mark.parametrize(
    ("shape", "kind", "content"),
    [
        ((10**12,), "f8", b"12345678"),
        ((2**70,), "f8", b""),
        ((-1,), "f8", b""),
        ((10**6, 10**6), "f8", b""),
        ((), "f8", b"12345678"),
        ([1], "f8", b"12345678"),
        ((1,), "O8", b"12345678"),
        ((2,), "O8", ["a"]),
        ((10**12,), "U0", b""),
        ((1,), "M8", b"12345678"),
        ((1,), "i4,i4", b"12345678"),
        ((1,), "f8", "12345678"),
    ],
)
def test_arrays_that_claim_what_is_not_there_are_refused(tmp_path, monkeypatch, shape, kind, content):
    array = read(tmp_path, spoiled_array(shape, kind, content))
    with pytest.raises(ValueError, match=r"^an array "):
        array.to_list()


@pytest.mark.parametrize("kind", ["f4", "U2", "O8", "M8"])
def test_numbers_that_are_none_are_refused(tmp_path, kind):
    content = pickle.dumps(Payload(np._core.multiarray.scalar, Payload(np.dtype, kind), b"12345678"))
    assert re.search("a NumPy number|neither numbers nor texts", refusal(tmp_path, content))


HUGE = struct.pack("<Q", 2**40)
GREEDY = {
    "bytes": b"\x80\x04\x8e" + HUGE + b"abc.",
    "text": b"\x80\x04\x8d" + HUGE + b"abc.",
    "byte array": b"\x80\x05\x96" + HUGE + b"abc.",
    "frame": b"\x80\x04\x95" + HUGE + b"abc.",
    "old bytes": b"\x80\x03B\xff\xff\xff\xffabc.",
    "old text": b"\x80\x02X\xff\xff\xff\xffabc.",
    "number": b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
    "memo": b"\x80\x02Nr\xff\xff\xff\xff0Nr\xff\xff\xff\xfe.",
    "memo in text": b"Np99999999999999\n.",
    "encoded again and again": b"c_codecs\nencode\np0\nV" + b"a" * 100_000 + b"\np1\nVlatin1\np2\n00"
    + b"(g1\ng2\ntR0g0\n" * 2000 + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", GREEDY)
def test_claims_do_not_fill_the_memory(tmp_path, name):
    path = tmp_path / "caption.pickle"
    path.write_bytes(GREEDY[name])
    tracemalloc.start()
    try:
        assert read_plain_pickle(path) is None
    except AnnotationError:
        assert "memo" not in name
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_keys_that_cannot_be_written_out_are_refused(tmp_path):
    assert "a number of more than 4096 bits for a key" in refusal(tmp_path, pickle.dumps({10**5000: 1}))


def test_keys_that_take_ages_to_hash_are_refused(tmp_path):
    doubled = b"(I0\nt" + b"2\x86" * 60  # each step a pair of what was there
    assert "a tuple for a key" in refusal(tmp_path, b"\x80\x02}" + doubled + b"I1\ns.")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no pickle"),
        (b'{"vid": {}}', "no pickle"),
        (b"\x1f\x8b\x08\x00compressed", "no pickle"),
        (pickle.dumps({"a": [1, 2]})[:-3], "no pickle, or a damaged one"),
        (b"\x80\x09N.", "no pickle, or a damaged one"),
        (b"(" * 100_000, "no pickle, or a damaged one"),
    ],
)
def test_what_is_no_pickle_is_named(tmp_path, content, reason):
    assert reason in refusal(tmp_path, content)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(AnnotationError, match=r"absent\.pickle: cannot be opened"):
        read_plain_pickle(tmp_path / "absent.pickle")


def test_every_byte_may_be_wrong(tmp_path):
    whole = pickle.dumps({"vid": {"start": np.array([0.5]), "end": [1.0], "text": ["add"]}}, protocol=2)
    chance = random.Random(20261121)
    num_refused = 0
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] = chance.randrange(256)
        try:
            read(tmp_path, bytes(content))
        except AnnotationError:
            num_refused += 1
    assert num_refused > 50
