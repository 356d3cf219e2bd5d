"""HowTo100M's pickles of YouCook2: written by NumPy and pickle itself, read without running anything."""

import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narravid.data.annotations.youcook2_features import read_youcook2_features
from narravid.errors import AnnotationError


def clips(num_clips=3, dtype=np.float32):
    random = np.random.default_rng(3)
    return [
        {
            "2d": random.normal(size=8).astype(dtype),
            "3d": random.normal(size=6).astype(dtype),
            "caption": f"cut the onion {number}",
            "id": f"xHr8X2Wpmno_{number}",
        }
        for number in range(num_clips)
    ]


def write(folder, value, protocol=4):
    path = folder / "youcook_val.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_clips_come_back_as_they_were_pickled(tmp_path, protocol, dtype):
    expected = clips(dtype=dtype)
    read_back = read_youcook2_features(write(tmp_path, expected, protocol))
    assert [(clip.clip_id, clip.text) for clip in read_back] == [
        (clip["id"], clip["caption"]) for clip in expected
    ]
    for clip, source in zip(read_back, expected, strict=True):
        for features, key in ((clip.features_2d, "2d"), (clip.features_3d, "3d")):
            assert features.dtype == np.float32
            np.testing.assert_array_equal(features, source[key].astype(np.float32))


def test_texts_of_python_2_and_numbers_as_names_are_taken(tmp_path):
    (clip,) = read_youcook2_features(write(tmp_path, [clips(1)[0] | {"caption": b"caf\xc3\xa9", "id": 17}]))
    assert (clip.clip_id, clip.text) == ("17", "café")


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("made_by_a_pickle",)


def test_nothing_in_the_file_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, [clips(1)[0] | {"id": Hostile()}])
    with pytest.raises(AnnotationError, match=r"refused: it wants posix\.mkdir"):
        read_youcook2_features(path)
    assert not (tmp_path / "made_by_a_pickle").exists()


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"caption": " "}, "[1].caption", "is empty"),
        ({"caption": b"\xe8"}, "[1].caption", "is not UTF-8"),
        ({"caption": None}, "[1].caption", "is missing"),
        ({"id": 1.5}, "[1].id", "must be a text, got 1.5"),
        ({"id": 10**5000}, "[1].id", "must be a text"),
        ({"2d": [1.0]}, "[1].2d", "must be an array of numbers, got a list"),
        ({"2d": np.zeros((2, 4))}, "[1].2d", "not one dimension"),
        ({"2d": np.zeros(9, np.float32)}, "[1].2d", "must have 8 values as that of the first clip, got 9"),
        ({"3d": np.zeros(0, np.float32)}, "[1].3d", "must be a vector of finite numbers"),
        ({"3d": np.full(6, np.nan)}, "[1].3d", "must be a vector of finite numbers"),
        ({"3d": np.full(6, 1e300)}, "[1].3d", "must be a vector of finite numbers"),
        ({"3d": np.array(["a"] * 6)}, "[1].3d", "must be an array of numbers: could not convert"),
        ({"3d": np.array([[1], [1, 2]] * 3, dtype=object)}, "[1].3d", "must be an array of numbers: setting"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, change, field, reason):
    entries = clips()
    entries[1] |= change
    path = write(tmp_path, entries)
    with pytest.raises(AnnotationError, match=reason) as caught:
        read_youcook2_features(path)
    assert (caught.value.path, caught.value.field) == (str(path), field)


@pytest.mark.parametrize(
    ("value", "reason"),
    [({}, "must hold a list of clips, got a dict"), ([3], r"'\[0\]': must be a dictionary")],
)
def test_another_pickle_is_refused(tmp_path, value, reason):
    with pytest.raises(AnnotationError, match=reason):
        read_youcook2_features(write(tmp_path, value))


@given(data=st.data())
@settings(max_examples=80)
def test_changed_bytes_give_clips_or_a_named_fault(tmp_path_factory, data):
    content = bytearray(pickle.dumps(clips(2), protocol=data.draw(st.sampled_from([0, 2, 4]))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = tmp_path_factory.mktemp("changed") / "youcook_val.pkl"
    path.write_bytes(bytes(content))
    try:
        read_back = read_youcook2_features(path)
    except AnnotationError:
        return
    assert all(clip.clip_id and clip.text for clip in read_back)
