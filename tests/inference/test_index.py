"""The index: filling, refusing, pruning, searching."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from inference_doubles import EMBED_DIM, FakeDecoder, LinearDualEncoder, write_fake_video
from narravid.errors import ConfigError, IndexMismatchError, NarravidError
from narravid.inference.embedder import Embedder
from narravid.inference.index import VideoIndex
from narravid.inference.indexing import IndexReport
from narravid.types import Hit, Span


def fill(folder: Path, paths: Sequence[Path], **options: object) -> tuple[IndexReport, FakeDecoder]:
    model = LinearDualEncoder()
    decoder = FakeDecoder()
    index = VideoIndex.open_or_create(folder, model, model_path="models/tiny")
    return index.add(paths, Embedder(model), decoder=decoder, **options), decoder


def snapshot(folder: Path) -> list[tuple[str, float, float, bytes]]:
    rows = VideoIndex.open(folder).rows()
    return [
        (rows.paths[number], start, end, vector.tobytes())
        for number, start, end, vector in zip(
            rows.path_numbers, rows.start_seconds, rows.end_seconds, rows.vectors, strict=True
        )
    ]


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    for number in range(4):
        write_fake_video(folder / f"{number}.mp4", seconds=3.0 + number, seed=number)
    return folder


def test_videos_are_cut_into_half_overlapping_windows_to_the_end(tmp_path: Path):
    film = write_fake_video(tmp_path / "a.mp4", seconds=2.75)
    report, _ = fill(tmp_path / "index", [film])
    spans = [(start, end) for _, start, end, _ in snapshot(tmp_path / "index")]
    assert spans == [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0), (1.5, 2.5), (1.75, 2.75)]
    assert report.added == [str(film)]
    assert report.num_clips == 5


def test_only_new_and_changed_files_are_read(films: Path, tmp_path: Path):
    fill(tmp_path / "index", [films])
    before = snapshot(tmp_path / "index")
    report, decoder = fill(tmp_path / "index", [films])
    assert (decoder.decoded, report.num_unchanged, report.num_indexed) == ([], 4, 4)
    write_fake_video(films / "new.mp4", seconds=2.0, seed=9)
    write_fake_video(films / "1.mp4", seconds=2.5, seed=11)
    report, decoder = fill(tmp_path / "index", [films])
    assert report.added == [str(films / "new.mp4")]
    assert report.updated == [str(films / "1.mp4")]
    assert decoder.decoded == [str(films / "1.mp4"), str(films / "new.mp4")]
    after = snapshot(tmp_path / "index")
    untouched = [row for row in before if row[0] != str(films / "1.mp4")]
    assert [row for row in after if row in untouched] == untouched
    assert len([row for row in after if row[0] == str(films / "1.mp4")]) == 4  # 2.5 s: four windows


def test_the_same_content_under_a_new_time_is_read_again_and_gives_the_same_rows(films: Path, tmp_path: Path):
    fill(tmp_path / "index", [films])
    before = snapshot(tmp_path / "index")
    os.utime(films / "2.mp4", ns=(5, 5))
    report, _ = fill(tmp_path / "index", [films])
    assert report.updated == [str(films / "2.mp4")]
    assert snapshot(tmp_path / "index") == before


def test_broken_files_are_listed_and_cost_nothing_else(films: Path, tmp_path: Path):
    (films / "broken.mp4").write_text("no video")
    (films / "hollow.mp4").write_text("")
    report, _ = fill(tmp_path / "index", [films, tmp_path / "missing.mp4"])
    assert len(report.added) == 4
    assert report.failed == [
        (str(films / "hollow.mp4"), "empty file"),
        (str(tmp_path / "missing.mp4"), "no such file or directory"),
        (str(films / "broken.mp4"), "not a video"),
    ]


def test_a_file_that_breaks_later_keeps_its_earlier_clips(films: Path, tmp_path: Path):
    fill(tmp_path / "index", [films])
    before = snapshot(tmp_path / "index")
    (films / "1.mp4").write_text("no video any more")
    report, _ = fill(tmp_path / "index", [films])
    assert report.failed == [(str(films / "1.mp4"), "not a video")]
    assert snapshot(tmp_path / "index") == before


def test_windows_that_cannot_be_read_are_stepped_over_and_reported(tmp_path: Path):
    film = write_fake_video(tmp_path / "a.mp4", seconds=3.0, bad_windows=[0.5, 1.0])
    report, _ = fill(tmp_path / "index", [film])
    assert [start for _, start, _, _ in snapshot(tmp_path / "index")] == [0.0, 1.5, 2.0]
    assert report.partial == [(str(film), "2 of 5 windows could not be read: a torn window")]
    indexed = VideoIndex.open(tmp_path / "index").files()[str(film)]
    assert (indexed.num_clips, indexed.num_windows) == (3, 5)


def test_a_file_that_claims_hours_it_does_not_have_is_given_up_soon(tmp_path: Path):
    film = write_fake_video(
        tmp_path / "a.mp4", seconds=7200.0, bad_windows=[number / 2 for number in range(2, 14400)]
    )
    report, decoder = fill(tmp_path / "index", [film])
    assert len(decoder.decoded) == 4 - 1  # the first pass and two more tries
    assert [start for _, start, _, _ in snapshot(tmp_path / "index")] == [0.0, 0.5]
    assert report.partial[0][1].startswith("14397 of 14399 windows could not be read")


def test_a_file_without_a_readable_window_is_not_indexed(tmp_path: Path):
    film = write_fake_video(tmp_path / "a.mp4", seconds=1.0, bad_windows=[0.0])
    report, _ = fill(tmp_path / "index", [film])
    assert (report.failed, report.num_indexed) == ([(str(film), "a torn window")], 0)


def test_a_file_that_changes_while_it_is_read_is_not_indexed(tmp_path: Path):
    film = write_fake_video(tmp_path / "a.mp4", seconds=2.0)

    class Growing(FakeDecoder):
        def clips(self, path, starts, spec):
            yield from super().clips(path, starts, spec)
            with Path(path).open("a") as file:
                file.write(" ")

    model = LinearDualEncoder()
    index = VideoIndex.create(tmp_path / "index", model, model_path="m")
    report = index.add([film], Embedder(model), decoder=Growing())
    assert report.failed[0][1].startswith("the file changed while it was being read")
    assert index.num_clips == 0


def test_a_video_has_the_same_vectors_whatever_else_is_indexed(films: Path, tmp_path: Path):
    fill(tmp_path / "together", [films])
    for film in sorted(films.iterdir(), reverse=True):
        fill(tmp_path / "one-by-one", [film], commit_seconds=0.0)
    assert snapshot(tmp_path / "one-by-one") == snapshot(tmp_path / "together")


def test_several_videos_at_once_give_the_same_rows_and_report(films: Path, tmp_path: Path):
    (films / "2b.mp4").write_text("no video")
    one, _ = fill(tmp_path / "one", [films])
    three, _ = fill(tmp_path / "three", [films], num_workers=3)
    assert snapshot(tmp_path / "three") == snapshot(tmp_path / "one")
    assert three == one


def test_an_interruption_stops_the_videos_in_work(films: Path, tmp_path: Path):
    taken: list[float] = []

    class Interrupted(FakeDecoder):
        """The first video is endless work, the second one is interrupted once that goes on."""

        def probe(self, path):
            if path.endswith("1.mp4"):
                while len(taken) < 5:
                    time.sleep(0.001)
                raise KeyboardInterrupt
            return dataclasses.replace(super().probe(path), duration_seconds=5000.0)

        def clips(self, path, starts, spec):
            for clip in super().clips(path, starts, spec):
                time.sleep(0.002)
                taken.append(clip.span.start_seconds)
                yield clip

    model = LinearDualEncoder()
    index = VideoIndex.create(tmp_path / "index", model, model_path="m")
    videos = [films / "1.mp4", films / "0.mp4"]
    with pytest.raises(KeyboardInterrupt):
        index.add(videos, Embedder(model), decoder=Interrupted(), num_workers=2)
    num_taken = len(taken)
    assert 5 <= num_taken < 9000  # of 9999 windows
    time.sleep(0.05)
    assert len(taken) == num_taken  # the thread has ended


def test_what_was_finished_is_kept_when_an_error_ends_the_run(films: Path, tmp_path: Path):
    class Failing(FakeDecoder):
        def probe(self, path):
            if path.endswith("2.mp4"):
                raise KeyboardInterrupt
            return super().probe(path)

    model = LinearDualEncoder()
    index = VideoIndex.create(tmp_path / "index", model, model_path="m")
    with pytest.raises(KeyboardInterrupt):
        index.add([films], Embedder(model), decoder=Failing())
    assert list(index.files()) == [str(films / "0.mp4"), str(films / "1.mp4")]


def test_vectors_of_another_model_are_refused_with_both_hashes_and_the_remedy(films: Path, tmp_path: Path):
    fill(tmp_path / "index", [films])
    other = LinearDualEncoder(seed=1)
    mine = VideoIndex.open(tmp_path / "index").info.weights_hash
    with pytest.raises(IndexMismatchError) as error:
        VideoIndex.open_or_create(tmp_path / "index", other, model_path="other")
    for part in (mine, other.weights_hash, "--model", "new folder"):
        assert part in str(error.value)
    with pytest.raises(IndexMismatchError):
        VideoIndex.open(tmp_path / "index").add([films], Embedder(other), decoder=FakeDecoder())


def test_the_place_of_the_model_is_remembered_and_follows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    model = LinearDualEncoder()
    VideoIndex.create(tmp_path / "index", model, model_path="m")
    assert VideoIndex.open(tmp_path / "index").info.model_path == str(tmp_path / "m")
    VideoIndex.open_or_create(tmp_path / "index", model, model_path="published-name")
    assert VideoIndex.open(tmp_path / "index").info.model_path == "published-name"


def test_prune_removes_what_is_gone_below_the_given_places_only(films: Path, tmp_path: Path):
    elsewhere = write_fake_video(tmp_path / "elsewhere" / "b.mp4", seconds=1.0)
    fill(tmp_path / "index", [films, elsewhere])
    (films / "0.mp4").unlink()
    shutil.rmtree(elsewhere.parent)
    index = VideoIndex.open(tmp_path / "index")
    assert index.prune([films]) == [str(films / "0.mp4")]
    assert sorted(index.files()) == sorted([*(str(films / f"{n}.mp4") for n in (1, 2, 3)), str(elsewhere)])
    assert index.prune([films]) == []
    assert index.prune([elsewhere.parent]) == [str(elsewhere)]


def test_two_writers_do_not_write_at_once(films: Path, tmp_path: Path):
    fill(tmp_path / "index", [films])
    with (
        FileLock(tmp_path / "index" / ".lock"),
        pytest.raises(NarravidError, match="another process is writing to the index"),
    ):
        fill(tmp_path / "index", [films])


def test_an_index_is_not_made_among_other_files(films: Path):
    with pytest.raises(ValueError, match=r"films is not empty \(it holds '0.mp4'\)"):
        VideoIndex.create(films, LinearDualEncoder(), model_path="m")


def test_an_index_without_its_description_is_not_overwritten(films: Path, tmp_path: Path):
    fill(tmp_path / "index", [films])
    (tmp_path / "index" / "index.json").unlink()
    with pytest.raises(ValueError, match=r"holds clips but no index\.json"):
        fill(tmp_path / "index", [films])


def test_opening_something_else_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="is not an index"):
        VideoIndex.open(tmp_path)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(ValueError, match="format_version is None, this Narravid reads 1"):
        VideoIndex.open(tmp_path)
    (tmp_path / "index.json").write_text('{"format_version": 1, "modelpath": "x"}')
    with pytest.raises(ConfigError, match="model_path"):
        VideoIndex.open(tmp_path)


def brute_force(index: VideoIndex, query: np.ndarray) -> Hit:
    rows = index.rows()
    scores = rows.vectors.astype(np.float64) @ query.astype(np.float64)
    best = int(scores.argmax())
    span = Span(rows.start_seconds[best], rows.end_seconds[best])
    return Hit(rows.paths[rows.path_numbers[best]], span, float(scores[best]))


@pytest.mark.parametrize("max_resident_bytes", [1 << 30, 0])
def test_search_is_exact_in_memory_and_from_the_files(films: Path, tmp_path: Path, max_resident_bytes: int):
    fill(tmp_path / "index", [films])
    index = VideoIndex.open(tmp_path / "index", max_resident_bytes=max_resident_bytes)
    for seed in range(20):
        query = np.random.default_rng(seed).standard_normal(EMBED_DIM).astype(np.float32)
        hits = index.search(query, top=1)
        best = brute_force(index, query)
        assert hits[0].path == best.path
        assert hits[0].span == best.span
        assert hits[0].score == pytest.approx(best.score, rel=1e-5)


def test_search_from_memory_and_from_the_files_agree(films: Path, tmp_path: Path):
    fill(tmp_path / "index", [films])
    memory, files = (VideoIndex.open(tmp_path / "index", max_resident_bytes=size) for size in (1 << 30, 0))
    query = np.random.default_rng(5).standard_normal(EMBED_DIM).astype(np.float32)
    for mine, other in zip(memory.search(query, top=4), files.search(query, top=4), strict=True):
        assert (mine.path, mine.span) == (other.path, other.span)
        assert mine.score == pytest.approx(other.score, rel=1e-6)


def test_hits_are_merged_moments(films: Path, tmp_path: Path):
    fill(tmp_path / "index", [films])
    index = VideoIndex.open(tmp_path / "index")
    query = np.random.default_rng(1).standard_normal(EMBED_DIM).astype(np.float32)
    hits = index.search(query, top=5)
    assert 1 <= len(hits) <= 5
    for position, hit in enumerate(hits):
        for other in hits[position + 1 :]:
            assert hit.score >= other.score
            assert hit.path != other.path or hit.span.overlap_seconds(other.span) == 0


def test_equal_clips_come_in_order_of_path(tmp_path: Path):
    for name in ("b", "a", "c"):
        write_fake_video(tmp_path / "films" / f"{name}.mp4", seconds=1.0, seed=4)
    fill(tmp_path / "index", [tmp_path / "films" / f"{name}.mp4" for name in "bca"], commit_seconds=0.0)
    query = np.ones(EMBED_DIM, dtype=np.float32)
    hits = VideoIndex.open(tmp_path / "index").search(query, top=2)
    assert [Path(hit.path).stem for hit in hits] == ["a", "b"]


def test_an_open_index_sees_what_another_one_added(films: Path, tmp_path: Path):
    fill(tmp_path / "index", [films / "0.mp4"])
    index = VideoIndex.open(tmp_path / "index")
    queries = np.random.default_rng(8).standard_normal((20, EMBED_DIM)).astype(np.float32)
    assert {index.search(query, top=1)[0].path for query in queries} == {str(films / "0.mp4")}
    fill(tmp_path / "index", [films])
    for query in queries:
        assert index.search(query, top=1)[0].path == brute_force(index, query).path
    assert len({index.search(query, top=1)[0].path for query in queries}) > 1


def test_mistakes_in_a_search_are_refused(films: Path, tmp_path: Path):
    index = VideoIndex.create(tmp_path / "index", LinearDualEncoder(), model_path="m")
    query = np.ones(EMBED_DIM, dtype=np.float32)
    with pytest.raises(ValueError, match="is empty; add videos"):
        index.search(query)
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        index.search(query, top=0)
    with pytest.raises(ValueError, match=r"6 finite numbers, got shape \(7,\)"):
        index.search(np.ones(7, dtype=np.float32))
    with pytest.raises(ValueError, match="finite"):
        index.search(query * np.nan)
