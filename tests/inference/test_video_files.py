"""Which files a list of files and folders means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from narravid.inference.video_files import FileState, find_video_files, is_gone, lies_below


def touch(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_folders_are_searched_to_the_bottom_by_name_and_suffix(tmp_path: Path):
    for name in ("b.mp4", "a/z.MKV", "a/deep/er/y.webm", "notes.txt", ".hidden.mp4", ".git/c.mp4"):
        touch(tmp_path / name)
    found = find_video_files([tmp_path])
    real = tmp_path.resolve()
    assert list(found.videos) == [str(real / name) for name in ("a/deep/er/y.webm", "a/z.MKV", "b.mp4")]
    assert found.passed_over == [str(real / "notes.txt")]
    assert found.problems == []
    assert found.videos[str(real / "b.mp4")] == FileState.of(tmp_path / "b.mp4")


def test_a_file_named_itself_is_taken_whatever_its_suffix(tmp_path: Path):
    odd = touch(tmp_path / "film.bin")
    assert list(find_video_files([odd]).videos) == [str(odd.resolve())]


def test_a_file_counts_once_however_many_names_lead_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    film = touch(tmp_path / "films" / "a.mp4")
    (tmp_path / "films" / "link.mp4").symlink_to(film)
    (tmp_path / "more").symlink_to(tmp_path / "films")
    monkeypatch.chdir(tmp_path)
    found = find_video_files([film, "films/../films/a.mp4", "films", "more"])
    assert list(found.videos) == [str(film.resolve())]
    assert found.num_repeated == 4  # the same file again, itself and its link in the folder, the folder again
    assert found.problems == []


def test_links_that_go_round_end(tmp_path: Path):
    touch(tmp_path / "a.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(find_video_files([tmp_path]).videos) == 1


def test_what_cannot_be_taken_is_listed_with_its_reason(tmp_path: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    hollow = touch(tmp_path / "hollow.mp4", "")
    dangling = tmp_path / "dangling.mp4"
    dangling.symlink_to(tmp_path / "nowhere.mp4")
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    good = touch(tmp_path / "good.mp4")
    found = find_video_files([empty, hollow, dangling, pipe, tmp_path / "missing.mp4", good])
    assert list(found.videos) == [str(good.resolve())]
    assert found.problems == [
        (str(empty), "no file with a known video suffix in this folder"),
        (str(hollow), "empty file"),
        (str(dangling), "no such file or directory"),
        (str(pipe), "neither a file nor a folder"),
        (str(tmp_path / "missing.mp4"), "no such file or directory"),
    ]


def test_a_name_that_is_not_unicode_is_a_problem_and_no_crash(tmp_path: Path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    try:
        Path(name).write_text("x")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    found = find_video_files([tmp_path])
    assert not found.videos
    assert found.problems[0][1] == "the file name is not valid Unicode; rename the file"
    found.problems[0][0].encode()  # can be printed


def test_lies_below_compares_whole_names():
    assert lies_below("/films/a/b.mp4", ["/other", "/films/a"])
    assert lies_below("/films/a.mp4", ["/films/a.mp4"])
    assert not lies_below("/films-old/a.mp4", ["/films"])


def test_is_gone(tmp_path: Path):
    film = touch(tmp_path / "a.mp4")
    assert not is_gone(str(film))
    assert is_gone(str(tmp_path / "b.mp4"))
    assert is_gone(str(film / "below-a-file.mp4"))
    assert is_gone(str(tmp_path))  # the file gave way to a folder


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_file_that_may_not_be_looked_at_is_not_gone(tmp_path: Path):
    film = touch(tmp_path / "closed" / "a.mp4")
    film.parent.chmod(0)
    try:
        assert not is_gone(str(film))
    finally:
        film.parent.chmod(0o700)
