"""Features of one video on disk: written whole, read back, and told from the files of others."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from narravid.data.feature_files import FeatureFolder
from narravid.data.feature_storage import (
    facts_path,
    features_per_second,
    open_features,
    read_facts,
    write_features,
)
from narravid.errors import DecodeError

FEATURES = np.arange(6, dtype=np.float16).reshape(3, 2)
FACTS = {"features_per_second": 1.5, "dim": 2}


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
class TestForms:
    def test_what_is_written_is_read(self, tmp_path, suffix):
        path = tmp_path / "deep" / f"a.mp4{suffix}"
        write_features(path, FEATURES, FACTS)
        assert np.array_equal(open_features(path), FEATURES)
        assert open_features(path).dtype == np.float16
        facts = read_facts(path)
        assert {key: facts[key] for key in FACTS} == FACTS
        assert facts["format"] == "narravid-features"
        assert features_per_second(path) == 1.5

    def test_what_is_written_again_takes_the_place(self, tmp_path, suffix):
        path = tmp_path / f"a{suffix}"
        write_features(path, FEATURES, FACTS)
        write_features(path, FEATURES[:1], {"features_per_second": 2.0})
        assert len(open_features(path)) == 1
        assert features_per_second(path) == 2.0

    def test_a_folder_of_features_reads_them_with_their_rate(self, tmp_path, suffix):
        write_features(tmp_path / "sub" / f"a{suffix}", FEATURES, FACTS)
        folder = FeatureFolder(tmp_path, dim=2, steps_per_second=1.0)
        assert folder.names() == ["a"]
        for name in ("a", "a.mp4", "sub/a.mp4", f"sub/a{suffix}"):
            track = folder.read(name)
            assert torch.equal(track.steps, torch.from_numpy(FEATURES))
            assert track.steps_per_second == 1.5
        assert folder.num_seconds("a") == 2.0

    @pytest.mark.parametrize("content", [None, b"", b"torn"])
    def test_what_is_no_such_file_is_an_error(self, tmp_path, suffix, content):
        path = tmp_path / f"a{suffix}"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DecodeError, match="no such feature file" if content is None else "not a whole"):
            open_features(path)
        assert read_facts(path) is None
        assert features_per_second(path) is None


def test_the_array_itself_is_as_published(tmp_path):
    write_features(tmp_path / "a.npy", FEATURES, FACTS)
    assert np.array_equal(np.load(tmp_path / "a.npy"), FEATURES)
    assert json.loads((tmp_path / "a.json").read_text())["dim"] == 2
    assert facts_path(tmp_path / "v1.2.npy").name == "v1.2.json"


@pytest.mark.parametrize("content", ["{", "[1]", '{"format": "other"}', '{"title": "a film"}'])
def test_a_json_of_others_says_nothing_of_features(tmp_path, content):
    np.save(tmp_path / "a.npy", FEATURES)
    (tmp_path / "a.json").write_text(content)
    assert read_facts(tmp_path / "a.npy") is None


@pytest.mark.parametrize("rate", [0, -1.0, "1", None, float("inf")])
def test_a_rate_that_is_none_does_not_count(tmp_path, rate):
    (tmp_path / "a.json").write_text(json.dumps({"format": "narravid-features", "features_per_second": rate}))
    assert features_per_second(tmp_path / "a.npy") is None


def test_the_array_appears_last(tmp_path, monkeypatch):
    """A kill between the two leaves facts without an array, never an array with the facts of another."""
    write_features(tmp_path / "a.npy", FEATURES, FACTS)

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        write_features(tmp_path / "a.npy", FEATURES, {"features_per_second": 2.0})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
