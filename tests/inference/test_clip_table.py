"""The LanceDB table of clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from narravid.inference.clip_table import ClipRows, ClipTable, IndexedFile, VideoClips
from narravid.inference.video_files import FileState
from narravid.types import Span

DIM = 5


def video(
    path: str, numbers: tuple[int, ...] = (0, 1, 2), *, seed: int = 0, num_windows: int = 3
) -> VideoClips:
    return VideoClips(
        path=path,
        state=FileState(100 + seed, 1_700_000_000_000_000_000 + seed),
        num_windows=num_windows,
        window_numbers=numbers,
        spans=tuple(Span(float(number), number + 2.0) for number in numbers),
        vectors=np.random.default_rng(seed).standard_normal((len(numbers), DIM)).astype(np.float32),
    )


def vectors_of(rows: ClipRows, path: str) -> np.ndarray:
    return rows.vectors[rows.path_numbers == rows.paths.index(path)]


def test_what_is_committed_comes_back_to_the_bit_in_order_of_path_and_time(tmp_path: Path):
    table = ClipTable.create(tmp_path, DIM)
    second, first = video("/b.mp4", seed=1), video("/a 'quoted' é.mp4", (0, 2), seed=2)
    table.commit([second, first], replace=False)
    rows = ClipTable.open(tmp_path).load()
    assert rows.paths == ("/a 'quoted' é.mp4", "/b.mp4")
    assert rows.path_numbers.tolist() == [0, 0, 1, 1, 1]
    assert rows.start_seconds.tolist() == [0, 2, 0, 1, 2]
    assert rows.end_seconds.tolist() == [2, 4, 2, 3, 4]
    assert rows.vectors.tobytes() == np.concatenate([first.vectors, second.vectors]).tobytes()
    assert len(rows) == table.num_clips == 5


def test_files_gives_state_and_counts(tmp_path: Path):
    table = ClipTable.create(tmp_path, DIM)
    assert table.files() == {}
    table.commit([video("/a.mp4", (1, 2), seed=7), video("/b.mp4")], replace=False)
    assert table.files() == {
        "/a.mp4": IndexedFile(FileState(107, 1_700_000_000_000_000_007), 2, 3),
        "/b.mp4": IndexedFile(FileState(100, 1_700_000_000_000_000_000), 3, 3),
    }


def test_a_changed_video_replaces_its_rows_in_one_version(tmp_path: Path):
    table = ClipTable.create(tmp_path, DIM)
    table.commit([video("/it's.mp4", (0, 1, 2)), video("/other.mp4", seed=3)], replace=False)
    kept = vectors_of(table.load(), "/other.mp4").tobytes()
    versions_before = table._table.version
    shorter = video("/it's.mp4", (1,), seed=9, num_windows=2)
    table.commit([shorter, video("/new.mp4", seed=4)], replace=True)
    assert table._table.version == versions_before + 1
    rows = table.load()
    assert rows.paths == ("/it's.mp4", "/new.mp4", "/other.mp4")
    assert vectors_of(rows, "/it's.mp4").tobytes() == shorter.vectors.tobytes()
    assert vectors_of(rows, "/other.mp4").tobytes() == kept
    assert table.files()["/it's.mp4"] == IndexedFile(shorter.state, 1, 2)


def test_remove_takes_only_the_named_paths_also_many(tmp_path: Path):
    table = ClipTable.create(tmp_path, DIM)
    table.commit([video(f"/{number}.mp4", (0,)) for number in range(1100)], replace=False)
    table.remove(f"/{number}.mp4" for number in range(1099))
    assert list(table.files()) == ["/1099.mp4"]


def test_compaction_changes_no_row_and_leaves_few_files(tmp_path: Path):
    table = ClipTable.create(tmp_path, DIM)
    for number in range(12):
        table.commit([video(f"/{number:02}.mp4", seed=number)], replace=False)
    before = table.load()
    table.compact()
    after = ClipTable.open(tmp_path).load()
    assert after.paths == before.paths
    assert after.vectors.tobytes() == before.vectors.tobytes()


def test_nearest_agrees_with_all_scores(tmp_path: Path):
    table = ClipTable.create(tmp_path, DIM)
    table.commit([video(f"/{number:02}.mp4", seed=number) for number in range(30)], replace=False)
    query = np.random.default_rng(99).standard_normal(DIM).astype(np.float32)
    everything = table.load()
    best = np.sort(everything.vectors @ query)[::-1][:10]
    nearest = table.nearest(query, 10)
    assert np.sort(nearest.vectors @ query)[::-1].tolist() == pytest.approx(best.tolist(), rel=1e-6)


def test_an_empty_table_loads_and_commits_of_nothing_do_nothing(tmp_path: Path):
    table = ClipTable.create(tmp_path, DIM)
    table.commit([], replace=True)
    assert len(table.load()) == 0
    assert table.embed_dim == DIM


@pytest.mark.parametrize("leftover", ["clips.lance/data", "clips.lance/_versions"])
def test_a_creation_that_was_killed_half_way_can_be_repeated(tmp_path: Path, leftover: str):
    (tmp_path / leftover).mkdir(parents=True)
    assert ClipTable.create(tmp_path, DIM).num_clips == 0


def test_a_reader_follows_a_writer_when_it_refreshes(tmp_path: Path):
    writer = ClipTable.create(tmp_path, DIM)
    reader = ClipTable.open(tmp_path)
    writer.commit([video("/a.mp4")], replace=False)
    assert reader.refresh()
    assert not reader.refresh()
    assert reader.num_clips == 3


def test_vectors_of_another_length_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="vectors of length 4, got 5"):
        ClipTable.create(tmp_path, 4).commit([video("/a.mp4")], replace=False)


def test_a_video_needs_as_many_spans_as_vectors():
    with pytest.raises(ValueError, match="at least one window"):
        VideoClips("/a.mp4", FileState(1, 1), 2, (0, 1), (Span(0, 1),), np.zeros((2, DIM), np.float32))
    with pytest.raises(ValueError, match="at least one window"):
        VideoClips("/a.mp4", FileState(1, 1), 2, (), (), np.zeros((0, DIM), np.float32))
