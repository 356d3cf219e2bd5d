"""Finding the videos of a list: which file is taken, why one is missing, and how often folders are listed."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.data.annotations.kinetics import KineticsClip
from narravid.data.annotations.video_places import MissingVideo, locate_videos
from narravid.types import Span


@dataclass(frozen=True)
class Listed:
    places: tuple[str, ...]


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_the_first_place_with_a_video_is_taken(tmp_path):
    touch(tmp_path, "run/a.avi", "a.mp4", "b.webm", "run/c.d.mp4")
    records = [Listed(("run/a", "a")), Listed(("run/b", "b")), Listed(("run/c.d", "c.d"))]
    located = locate_videos(tmp_path, records)
    assert located.paths == (tmp_path / "run/a.avi", tmp_path / "b.webm", tmp_path / "run/c.d.mp4")
    assert located.missing == ()
    assert located.num_missing == {}


def test_the_preferred_container_is_taken(tmp_path):
    touch(tmp_path, "a.webm", "a.MP4", "a.txt", "b.wmv", "b.flv")
    records = [Listed(("a",)), Listed(("b",))]
    assert locate_videos(tmp_path, records).paths == (tmp_path / "a.MP4", tmp_path / "b.flv")
    by_choice = locate_videos(tmp_path, records, suffixes=(".webm", ".wmv"))
    assert by_choice.paths == (tmp_path / "a.webm", tmp_path / "b.wmv")


def test_what_is_missing_is_given_with_its_reason(tmp_path):
    touch(tmp_path, "run/a.mp4", "run/half.mp4.part", "run/half.txt", "plain")
    (tmp_path / "run" / "folder").mkdir()
    records = [
        Listed(("run/a",)),
        Listed(("run/b", "jump/b")),
        Listed(("jump/b",)),
        Listed(("run/half", "half")),
        Listed(("../run/a",)),
        Listed(("/run/a", "run/../run/a", "run/\0")),
        Listed(("run/folder",)),
        Listed((f"{'x' * 300}/a",)),
        Listed(("plain/a",)),
    ]
    located = locate_videos(tmp_path, records)
    assert located.paths == (tmp_path / "run/a.mp4", *[None] * 8)
    assert located.missing == (
        MissingVideo(1, "run/b", "no such file"),
        MissingVideo(2, "jump/b", "no such folder"),
        MissingVideo(3, "run/half", "no video suffix"),
        MissingVideo(4, "../run/a", "unusable name"),
        MissingVideo(5, "/run/a", "unusable name"),
        MissingVideo(6, "run/folder", "no such file"),
        MissingVideo(7, f"{'x' * 300}/a", "no such folder"),
        MissingVideo(8, "plain/a", "no such folder"),
    )
    assert located.num_missing == {
        "no such folder": 3,
        "no such file": 2,
        "unusable name": 2,
        "no video suffix": 1,
    }


def test_an_absent_root_misses_everything(tmp_path):
    located = locate_videos(tmp_path / "absent", [Listed(("run/a", "a"))])
    assert located.missing == (MissingVideo(0, "run/a", "no such folder"),)


def test_blanks_or_underscores_of_kinetics_folders(tmp_path):
    touch(tmp_path, "sword_fighting/x_000020_000030.mp4", "air drumming/y_000001_000011.mkv")
    clips = [
        KineticsClip("x", "sword fighting", Span(20, 30), "train"),
        KineticsClip("y", "air drumming", Span(1, 11), "train"),
    ]
    assert locate_videos(tmp_path, clips).paths == (
        tmp_path / "sword_fighting/x_000020_000030.mp4",
        tmp_path / "air drumming/y_000001_000011.mkv",
    )


def test_a_folder_is_listed_once_and_no_file_is_looked_at(tmp_path, monkeypatch):
    touch(tmp_path, *(f"{folder}/{name}.mp4" for folder in "ab" for name in range(50)))
    listed = []
    scan = os.scandir

    def watched(folder):
        listed.append(Path(folder))
        return scan(folder)

    def refused(*_, **__):
        raise AssertionError("a file was looked at")

    monkeypatch.setattr(os, "scandir", watched)
    for name in ("stat", "lstat"):
        monkeypatch.setattr(os, name, refused)
    records = [Listed((f"{folder}/{name}", str(name))) for folder in "abc" for name in range(60)]
    located = locate_videos(tmp_path, iter(records))
    monkeypatch.undo()
    assert sum(path is not None for path in located.paths) == 100
    assert sorted(listed) == [tmp_path, tmp_path / "a", tmp_path / "b", tmp_path / "c"]


@pytest.fixture(scope="module")
def small_tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree") / "root"
    touch(root, "a.mp4", "b/a.avi", "../outside.mp4")
    return root


@given(places=st.lists(st.text("ab./\\\0é ", max_size=6), min_size=1, max_size=3))
def test_no_name_leads_out_of_the_folder_or_breaks_the_search(small_tree, places):
    located = locate_videos(small_tree, [Listed((*places, "../outside"))])
    (path,) = located.paths
    assert path is None or (path.is_file() and path.resolve().is_relative_to(small_tree.resolve()))
    assert len(located.missing) == (path is None)
