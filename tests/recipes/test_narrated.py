"""Finding the corpus that a configuration names."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from narravid.errors import AnnotationError, ConfigError
from narravid.recipes.narrated import find_corpus
from narravid.recipes.narrated_config import NarratedDataConfig

CORPUS = {
    name: {"start": [0.0], "end": [2.0], "text": [f"say {name}"]} for name in ("a", "b", "c", "away", "far")
}


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a", "b", "c", "mute"):
        (folder / f"{name}.mp4").touch()
    (tmp_path / "caption.json").write_text(json.dumps(CORPUS))
    (tmp_path / "list.csv").write_text("video_path\nb.mp4\na.mp4\n")
    return folder


def test_captions_and_videos_come_from_the_files_that_are_named(root, caplog):
    config = NarratedDataConfig(root, captions=root.parent / "caption.json", batch_size=2)
    with caplog.at_level(logging.INFO):
        assert [video.video_id for video in find_corpus(config)] == ["a", "b", "c"]
    assert "1 of 4 videos are left out" in caplog.text
    assert "caption.json: captions of 2 videos are not used" in caplog.text
    config = NarratedDataConfig(
        root, captions=root.parent / "caption.json", video_list=root.parent / "list.csv", batch_size=2
    )
    assert [video.track.texts for video in find_corpus(config)] == [["say b"], ["say a"]]


@pytest.mark.parametrize("field", ["captions", "video_list"])
def test_what_does_not_exist_is_named_by_its_key(root, field):
    config = NarratedDataConfig(root, **{field: root / "absent"}, batch_size=2)
    with pytest.raises(ConfigError, match=rf"data\.{field}: .*absent does not exist") as caught:
        find_corpus(config)
    assert caught.value.key == f"data.{field}"


def test_a_faulty_file_of_captions_is_named(root):
    (root.parent / "caption.json").write_text('{"a": {}\n')
    config = NarratedDataConfig(root, captions=root.parent / "caption.json", batch_size=2)
    with pytest.raises(AnnotationError, match=r"caption\.json, line 2"):
        find_corpus(config)


def test_the_paths_of_a_run_are_kept_whole(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    config = NarratedDataConfig(
        Path("videos"), captions=Path("caption.json"), video_list=Path("list.csv"), batch_size=2
    ).absolute()
    assert (config.captions, config.video_list) == (root.parent / "caption.json", root.parent / "list.csv")
