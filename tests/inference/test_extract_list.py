"""Lists of videos to extract: tables, folders, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from narravid.bad_items import BadItems
from narravid.errors import AnnotationError, ConfigError
from narravid.inference.extract_list import ListedVideo, list_folder, list_table


def write_table(folder, *rows, header="video_path,feature_path"):
    path = folder / "in.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_table_is_read_as_published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = write_table(tmp_path, "/v/a.mp4,/f/a.npy", "b c.webm,out/b c.webm.npy", "d.mp4,d")
    assert list_table(table) == [
        ListedVideo(Path("/v/a.mp4"), Path("/f/a.npy")),
        ListedVideo(tmp_path / "b c.webm", tmp_path / "out" / "b c.webm.npy"),
        ListedVideo(tmp_path / "d.mp4", tmp_path / "d.npy"),
    ]
    outputs = [item.output.name for item in list_table(table, file_format="safetensors")]
    assert outputs == ["a.safetensors", "b c.webm.safetensors", "d.safetensors"]
    assert [item.output.name for item in list_table(table, file_format="lance")] == ["a", "b c.webm", "d"]


def test_feature_paths_may_be_taken_from_an_output_folder(tmp_path, monkeypatch):
    table = write_table(tmp_path, "/v/a.mp4,/f/a.npy", "b.mp4,sub/b.npy")
    for folder in (tmp_path, tmp_path.parent):
        monkeypatch.chdir(folder)
        outputs = [item.output for item in list_table(table, output=tmp_path / "out")]
        assert outputs == [Path("/f/a.npy"), tmp_path / "out" / "sub" / "b.npy"]


def test_what_a_folder_holds_that_is_no_video_is_told(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "empty.mp4").touch()
    (videos / "dead.mp4").symlink_to(tmp_path / "gone.mp4")
    with pytest.raises(ConfigError, match=r"holds no video: .*dead.mp4: no such file"):
        list_folder(videos, tmp_path / "out", bad=BadItems())
    (videos / "a.mp4").write_text("x")
    bad = BadItems()
    (item,) = list_folder(videos, tmp_path / "out", bad=bad)
    assert item.video.name == "a.mp4"
    assert {Path(path).name: reason for path, reason in bad.reasons.items()} == {
        "dead.mp4": "no such file or directory",
        "empty.mp4": "empty file",
    }


def test_a_folder_keeps_its_tree(tmp_path):
    for name in ("b.mp4", "sub/a.webm", "sub/deep/v1.2.mkv", "notes.txt", ".hidden/c.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    found = list_folder(tmp_path / "videos", tmp_path / "out", bad=BadItems())
    places = {str(item.video.relative_to(tmp_path)): str(item.output.relative_to(tmp_path)) for item in found}
    assert places == {
        "videos/b.mp4": "out/b.npy",
        "videos/sub/a.webm": "out/sub/a.npy",
        "videos/sub/deep/v1.2.mkv": "out/sub/deep/v1.2.npy",
    }


def test_a_table_without_the_columns_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="feature_path"):
        list_table(write_table(tmp_path, "a.mp4", header="video_path"))
    with pytest.raises(AnnotationError, match="lists no video"):
        list_table(write_table(tmp_path))


def test_two_videos_need_two_outputs(tmp_path):
    with pytest.raises(AnnotationError, match=r"features of .*a.mp4 and of .*b.mp4 would both be .*c.npy"):
        list_table(write_table(tmp_path, "a.mp4,c.npy", "b.mp4,./c"))
    for name in ("a.mp4", "a.webm"):
        (tmp_path / name).write_text("x")
    with pytest.raises(AnnotationError, match="each with a feature_path of its own"):
        list_folder(tmp_path, tmp_path / "out", bad=BadItems())


def test_a_folder_must_hold_videos(tmp_path):
    with pytest.raises(ConfigError, match="is no folder"):
        list_folder(tmp_path / "gone", tmp_path, bad=BadItems())
    with pytest.raises(ConfigError, match="holds no video: no file with a known video suffix"):
        list_folder(tmp_path, tmp_path, bad=BadItems())
