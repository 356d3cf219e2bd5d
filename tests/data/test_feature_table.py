"""Features of many videos in one table."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta

import numpy as np
import pytest
import torch

from narravid.data.feature_table import FeatureTable
from narravid.errors import DecodeError

FACTS = json.dumps({"features_per_second": 1.5})


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_written_is_read(tmp_path, dtype):
    table = FeatureTable.open_or_create(tmp_path / "t", dim=2, dtype=dtype)
    first, second = np.arange(6, dtype=dtype).reshape(3, 2), np.ones((1, 2), dtype)
    table.write("deep/o'b", first, FACTS)
    table.write("a", second, FACTS)
    opened = FeatureTable.open(tmp_path / "t")
    assert opened.names() == ["a", "deep/o'b"]
    assert opened.dim == 2
    track = opened.read("deep/o'b")
    assert torch.equal(track.steps, torch.from_numpy(first))
    assert track.steps_per_second == 1.5
    table.write("a", second * 3, FACTS)
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


def test_a_video_that_is_done_twice_has_one_row(tmp_path):
    """Two processes, neither of which has seen the other's."""
    first, second = (FeatureTable.open_or_create(tmp_path, dim=2, dtype="float32") for _ in range(2))
    first.write("a", np.zeros((3, 2), np.float32), FACTS)
    second.write("a", np.ones((2, 2), np.float32), FACTS)
    opened = FeatureTable.open(tmp_path)
    assert opened._table.count_rows() == 1
    assert torch.equal(opened.read("a").steps, torch.ones(2, 2))


def test_of_two_rows_of_a_video_the_last_counts(tmp_path):
    """As two merges at one moment, or an earlier release, may leave them."""
    for folder, number in (("t", 1.0), ("u", 2.0)):
        table = FeatureTable.open_or_create(tmp_path / folder, dim=2, dtype="float32")
        table.write("b", np.zeros((1, 2), np.float32), FACTS)
        table.write("a", np.full((3, 2), number, np.float32), json.dumps({"features_per_second": number}))
    table, other = (FeatureTable.open(tmp_path / folder) for folder in ("t", "u"))
    table._table.add(other._table.to_arrow())
    for _ in range(2):
        track = table.read("a")
        assert torch.equal(track.steps, torch.full((3, 2), 2.0))
        assert track.steps_per_second == 2.0
        assert json.loads(table.facts_of("a"))["features_per_second"] == 2.0
        table.compact()


def test_a_version_that_another_process_dropped_is_left_for_the_newest(tmp_path):
    table = FeatureTable.open_or_create(tmp_path, dim=2, dtype="float32")
    for name in ("a", "b", "c"):
        table.write(name, np.ones((1, 2), np.float32), FACTS)
    reader, writer = FeatureTable.open(tmp_path), FeatureTable.open(tmp_path)
    table.write("a", np.full((2, 2), 5, np.float32), FACTS)
    table._table.optimize(cleanup_older_than=timedelta(milliseconds=1), delete_unverified=True)
    with pytest.raises((RuntimeError, OSError)):
        reader._scan_once(["facts"], "a")
    assert torch.equal(reader.read("a").steps, torch.full((2, 2), 5.0))
    writer.write("d", np.ones((1, 2), np.float32), FACTS)
    assert FeatureTable.open(tmp_path).names() == ["a", "b", "c", "d"]


def test_a_table_that_is_gone_is_an_error_of_its_own(tmp_path):
    table = FeatureTable.open_or_create(tmp_path / "t", dim=2, dtype="float32")
    table.write("a", np.ones((1, 2), np.float32), FACTS)
    reader = FeatureTable.open(tmp_path / "t")
    shutil.rmtree(tmp_path / "t")
    with pytest.raises(DecodeError, match="cannot be read"):
        reader.read("a")
