"""What an index says of the files that it lacks, and when it stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference_doubles import FakeDecoder, LinearDualEncoder, write_fake_video
from narravid.bad_items import BAD_ITEMS_NAME, BadItems, TooManyBadItemsError
from narravid.errors import AnnotationError
from narravid.inference.embedder import Embedder
from narravid.inference.index import VideoIndex


@pytest.fixture
def films(tmp_path: Path) -> Path:
    for number in range(3):
        write_fake_video(tmp_path / "films" / f"{number}.mp4", seconds=2.0, seed=number)
    return tmp_path / "films"


def fill(
    folder: Path, paths: list[Path], decoder: FakeDecoder | None = None, **options: object
) -> VideoIndex:
    model = LinearDualEncoder()
    index = VideoIndex.open_or_create(folder, model, model_path="m")
    index.add(paths, Embedder(model), decoder=decoder or FakeDecoder(), **options)
    return index


def table(folder: Path) -> dict[str, tuple[str, int]]:
    bad = BadItems.read(folder / BAD_ITEMS_NAME)
    return {Path(path).name: (reason, bad.times[path]) for path, reason in bad.reasons.items()}


def test_an_index_without_bad_files_says_so(films: Path, tmp_path: Path):
    fill(tmp_path / "index", [films])
    assert (tmp_path / "index" / BAD_ITEMS_NAME).read_text() == "path,reason,times\n"


def test_bad_files_stay_in_the_table_until_they_are_mended_or_gone(films: Path, tmp_path: Path):
    folder = tmp_path / "index"
    (films / "broken.mp4").write_text("no video")
    (films / "other.mp4").write_text("no video")
    (films / "empty.mp4").touch()
    write_fake_video(films / "torn.mp4", seconds=2.0, bad_windows=[0.5])
    fill(folder, [films, films / "gone.mp4"])
    found = table(folder)
    assert {name: times for name, (_, times) in found.items()} == {
        "broken.mp4": 1,
        "other.mp4": 1,
        "empty.mp4": 1,
        "torn.mp4": 1,
        "gone.mp4": 1,
    }
    assert found["empty.mp4"][0] == "empty file"
    assert "windows could not be read: a torn window" in found["torn.mp4"][0]

    # only what is named is looked at again; a file that is in part in the index stays as it was
    fill(folder, [films / "broken.mp4", films / "torn.mp4"])
    assert {name: times for name, (_, times) in table(folder).items()} == {
        "broken.mp4": 2,
        "other.mp4": 1,
        "empty.mp4": 1,
        "torn.mp4": 1,
    }

    write_fake_video(films / "broken.mp4", seconds=1.0)
    write_fake_video(films / "torn.mp4", seconds=2.5)
    (films / "other.mp4").unlink()
    fill(folder, [films])
    assert list(table(folder)) == ["empty.mp4"]


def test_a_file_that_went_bad_after_it_was_indexed_is_listed(films: Path, tmp_path: Path):
    fill(tmp_path / "index", [films])
    (films / "1.mp4").write_text("no video any more")
    index = fill(tmp_path / "index", [films])
    assert list(table(tmp_path / "index")) == ["1.mp4"]
    assert str(films / "1.mp4") in index.files()  # its earlier clips
    fill(tmp_path / "index", [films / "0.mp4"])
    assert list(table(tmp_path / "index")) == ["1.mp4"]


def test_the_table_is_written_when_an_error_ends_the_run(films: Path, tmp_path: Path):
    class Failing(FakeDecoder):
        def probe(self, path: str):
            if path.endswith("2.mp4"):
                raise KeyboardInterrupt
            return super().probe(path)

    (films / "0.mp4").write_text("no video")
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "index", [films], Failing())
    assert list(table(tmp_path / "index")) == ["0.mp4"]


def test_a_table_that_is_none_stops_the_run_before_the_work(films: Path, tmp_path: Path):
    fill(tmp_path / "index", [films / "0.mp4"])
    (tmp_path / "index" / BAD_ITEMS_NAME).write_text("my notes\n")
    decoder = FakeDecoder()
    with pytest.raises(AnnotationError, match=BAD_ITEMS_NAME):
        fill(tmp_path / "index", [films], decoder)
    assert decoder.decoded == []


def write_films(folder: Path, *, num_good: int, num_bad: int, bad_name: str = "a") -> Path:
    """Films named "b..." and, before or after them by name, files that are none."""
    folder.mkdir()
    for number in range(num_bad):
        (folder / f"{bad_name}{number:04d}.mp4").write_text("no video")
    for number in range(num_good):
        write_fake_video(folder / f"b{number:04d}.mp4", seconds=1.0, seed=number)
    return folder


def test_few_files_are_never_too_bad(tmp_path: Path):
    index = fill(tmp_path / "index", [write_films(tmp_path / "films", num_good=3, num_bad=9)])
    assert len(index.files()) == 3


def test_a_run_of_which_too_much_is_bad_stops(tmp_path: Path):
    films = write_films(tmp_path / "films", num_good=949, num_bad=51)
    decoder = FakeDecoder()
    with pytest.raises(TooManyBadItemsError, match="51 of 51 items met so far are bad"):
        fill(tmp_path / "index", [films], decoder)
    assert len(decoder.decoded) <= 2  # all that is bad comes first; a file or two is read ahead
    assert len(table(tmp_path / "index")) == 51
    assert len(fill(tmp_path / "index", [films], max_bad_share=0.06).files()) == 949
    # what is in the index already counts as good: the bad ones tried again are a small part of the archive
    (films / "a0000.mp4").unlink()
    fill(tmp_path / "index", [films], decoder)
    assert len(decoder.decoded) <= 2
    assert {times for _, times in table(tmp_path / "index").values()} == {3}


def test_the_share_is_that_of_all_files_met(tmp_path: Path):
    films = write_films(tmp_path / "films", num_good=1200, num_bad=63, bad_name="c")
    assert len(fill(tmp_path / "index", [films]).files()) == 1200  # 4.99 %
    (films / "c9999.mp4").write_text("no video")
    with pytest.raises(TooManyBadItemsError, match="64 of 1264 items met so far are bad, more than 5%"):
        fill(tmp_path / "index", [films])
