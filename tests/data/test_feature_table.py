"""Features of many videos in one table."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from narravid.data.feature_table import FeatureTable, TableTracks
from narravid.errors import DecodeError

FACTS = json.dumps({"features_per_second": 1.5})


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_written_is_read(tmp_path, dtype):
    table = FeatureTable.open_or_create(tmp_path / "t", dim=2, dtype=dtype)
    first, second = np.arange(6, dtype=dtype).reshape(3, 2), np.ones((1, 2), dtype)
    table.write("deep/o'b", first, FACTS, replace=False)
    table.write("a", second, FACTS, replace=False)
    opened = FeatureTable.open(tmp_path / "t")
    assert opened.names() == ["a", "deep/o'b"]
    assert opened.dim == 2
    track = opened.read("deep/o'b")
    assert torch.equal(track.steps, torch.from_numpy(first))
    assert track.steps_per_second == 1.5
    table.write("a", second * 3, FACTS, replace=True)
    assert opened.facts_of("a") == FACTS  # looks for what others have written
    assert torch.equal(opened.read("a").steps, torch.from_numpy(second * 3))
    table.compact()
    assert len(opened.facts()) == 2


def test_absent_videos_are_named(tmp_path):
    table = FeatureTable.open_or_create(tmp_path, dim=2, dtype="float16")
    assert table.facts_of("a") is None
    with pytest.raises(DecodeError, match="no features of it"):
        table.read("a")


@pytest.mark.parametrize(("dim", "dtype"), [(3, "float16"), (2, "float32")])
def test_a_table_of_other_features_is_refused(tmp_path, dim, dtype):
    FeatureTable.open_or_create(tmp_path, dim=2, dtype="float16")
    with pytest.raises(ValueError, match="features of another size or type"):
        FeatureTable.open_or_create(tmp_path, dim=dim, dtype=dtype)


def test_several_tables_give_the_tracks_of_a_video(tmp_path):
    tables = []
    for dim in (2, 3):
        table = FeatureTable.open_or_create(tmp_path / str(dim), dim=dim, dtype="float32")
        table.write("a", np.full((dim, dim), dim, np.float32), FACTS, replace=False)
        tables.append(table)
    assert [tuple(track.steps.shape) for track in TableTracks(tables).read("a")] == [(2, 2), (3, 3)]
    with pytest.raises(ValueError, match="a table of features at least"):
        TableTracks([])
