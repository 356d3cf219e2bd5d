"""Benchmarks as pairs with features: each kind of list, and what does not fit."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from narravid.data.feature_clips import FeaturePair
from narravid.data.feature_files import FolderTracks
from narravid.errors import AnnotationError, ConfigError
from narravid.recipes.feature_pairs import FeatureFiles, read_feature_pairs
from narravid.types import FeatureSpec, Span

SPEC = FeatureSpec(("a", "b"), (4, 3))


@pytest.fixture
def files(tmp_path):
    for name, dim in (("2d", 4), ("3d", 3)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "video7.npy", np.ones((2, dim), np.float16), allow_pickle=False)
    return FeatureFiles(tmp_path / "2d", tmp_path / "3d")


def read(path, kind, files, subset="train"):
    return read_feature_pairs(path, kind, subset=subset, files=files, spec=SPEC, key="data.features")


def test_a_list_of_pairs(tmp_path, files):
    path = tmp_path / "pairs.csv"
    path.write_text("video_path,text,start_seconds,end_seconds\nx/video7.mp4,a cut,1,2\nvideo8.mp4,all,,\n")
    data = read(path, "pairs", files)
    assert list(data.items) == [FeaturePair("video7", "a cut", Span(1, 2)), FeaturePair("video8", "all")]
    assert [track.steps.shape for track in data.tracks.read("video7")] == [(2, 4), (2, 3)]
    assert [track.steps_per_second for track in data.tracks.read("video7")] == [1.0, 1.5]
    assert data.describe()["num_captions"] == 2


def test_msrvtt_as_table_and_as_document(tmp_path, files):
    table = tmp_path / "test.csv"
    table.write_text("key,vid_key,video_id,sentence\nret0,msr7,video7,a man cooks\n")
    assert list(read(table, "msrvtt", files).items) == [FeaturePair("video7", "a man cooks")]
    times = {"start time": 0.0, "end time": 9.0, "url": "u", "category": 1}
    document = tmp_path / "msrvtt.json"
    document.write_text(
        json.dumps(
            {
                "videos": [
                    {"video_id": "video7", "split": "train", **times},
                    {"video_id": "video8", "split": "validate", **times},
                ],
                "sentences": [
                    {"video_id": "video7", "caption": "two", "sen_id": 1},
                    {"video_id": "video7", "caption": "one", "sen_id": 0},
                    {"video_id": "video8", "caption": "three", "sen_id": 2},
                ],
            }
        )
    )
    assert [pair.text for pair in read(document, "msrvtt", files).items] == ["one", "two"]
    assert [pair.text for pair in read(document, "msrvtt", files, "validation").items] == ["three"]
    with pytest.raises(ConfigError, match="has no clip of the subset 'test'"):
        read(document, "msrvtt", files, "test")


def test_youcook2_as_table_as_document_and_with_its_features(tmp_path, files):
    table = tmp_path / "youcook.csv"
    table.write_text("end,start,task,text,video_id\n5,2,101,cut it,video7\n")
    assert list(read(table, "youcook2", files).items) == [FeaturePair("video7", "cut it", Span(2, 5))]
    document = tmp_path / "youcook.json"
    annotations = [{"segment": [1, 3], "id": 0, "sentence": "fry it"}]
    video = {"duration": 9.0, "subset": "training", "recipe_type": "101", "video_url": "u"}
    document.write_text(json.dumps({"database": {"video7": {**video, "annotations": annotations}}}))
    assert list(read(document, "youcook2", files).items) == [FeaturePair("video7", "fry it", Span(1, 3))]
    packed = tmp_path / "youcook.pkl"
    vectors = {"2d": np.arange(4, dtype=np.float32), "3d": np.ones(3, np.float32)}
    clips = [{**vectors, "caption": "stir", "id": "c"}, {**vectors, "caption": "boil", "id": "c"}]
    packed.write_bytes(pickle.dumps(clips))
    data = read(packed, "youcook2-features", FeatureFiles())
    assert [(pair.name, pair.text) for pair in data.items] == [("c#0", "stir"), ("c#1", "boil")]
    assert data.tracks.read("c#1")[0].steps.tolist() == [[0, 1, 2, 3]]
    with pytest.raises(AnnotationError, match=r"clip c has features of \[4, 3\], the model takes \[9, 3\]"):
        read_feature_pairs(
            packed,
            "youcook2-features",
            subset="train",
            files=FeatureFiles(),
            spec=FeatureSpec(("a", "b"), (9, 3)),
            key="data.features",
        )


def test_lsmdc(tmp_path, files):
    clip = "0001_American_Beauty_00.00.51.926-00.00.54.129"
    row = [clip, *["00.00.51.926", "00.00.54.129"] * 2, "Later, SOMEONE walks."]
    path = tmp_path / "lsmdc.csv"
    path.write_text("\t".join(row) + "\n")
    assert list(read(path, "lsmdc", files).items) == [FeaturePair(clip, "Later, SOMEONE walks.")]


def test_what_does_not_fit_is_told(tmp_path, files):
    path = tmp_path / "pairs.csv"
    path.write_text("video_path,text\nvideo7.mp4,a cut\n")
    with pytest.raises(ConfigError, match=r"data.features.features_2d is needed here and not set"):
        read(path, "pairs", FeatureFiles())
    with pytest.raises(ConfigError, match="not 2D and 3D ones"):
        files.tracks(FeatureSpec(("a",), (4,)), key="data.features")
    with pytest.raises(ValueError, match="kind must be one of"):
        read(path, "other", files)
    with pytest.raises(ValueError, match="rate_2d and rate_3d must be positive"):
        FeatureFiles(rate_2d=0.0)
    assert isinstance(read(path, "pairs", files).tracks, FolderTracks)
