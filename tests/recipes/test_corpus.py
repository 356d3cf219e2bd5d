"""Finding the corpus that a configuration names."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from handmade_packs import make_pack
from narravid.data.narrated import ClipSampling
from narravid.data.packs import open_pack
from narravid.errors import AnnotationError, ConfigError
from narravid.recipes.corpus import describe_corpus, find_corpus, refuse_clips_not_packed
from narravid.recipes.narrated_config import NarratedDataConfig
from narravid.types import ClipSpec
from small_corpus import write_narrated_videos

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


# ---------------------------------------------------------------- packs


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_narrated_videos(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def pack(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "pack"
    make_pack(archive, folder)
    return folder


def test_a_pack_is_found_as_its_files_are(archive, pack):
    files = find_corpus(NarratedDataConfig(archive, batch_size=2))
    packed = find_corpus(NarratedDataConfig(pack, batch_size=2))
    assert [(video.video_id, video.track) for video in packed] == [
        (video.video_id, video.track) for video in files
    ]
    assert describe_corpus(packed) == describe_corpus(files)
    assert describe_corpus(files[1:]) != describe_corpus(files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 7}, "has only 6 narrated ones"),
        ({"captions": Path("c.json")}, r"data\.captions has no meaning for a pack"),
        ({"video_list": Path("v.csv")}, r"data\.video_list has no meaning for a pack"),
        ({"storage": "memory"}, r"data\.storage=memory .* --data\.storage files"),
    ],
)
def test_options_that_mean_nothing_for_a_pack_are_refused(pack, change, message):
    with pytest.raises(ConfigError, match=message):
        find_corpus(NarratedDataConfig(pack, **{"batch_size": 2, **change}))


def test_bad_videos_of_a_pack_are_told_once(archive, tmp_path, caplog):
    other = Path(shutil.copytree(archive, tmp_path / "archive"))
    (other / "red1.mp4").write_bytes(b"no video")
    make_pack(other, tmp_path / "pack")
    assert len(find_corpus(NarratedDataConfig(tmp_path / "pack", batch_size=2))) == 6
    assert "1 of the 6 videos of" in caplog.text


@pytest.mark.parametrize(
    ("spec", "sampling", "message"),
    [
        (ClipSpec(9, 4.0, 32), ClipSampling(), r"clips of 2\.25 s, .* up to 2 s; .* --clip-seconds 2\.25"),
        (ClipSpec(8, 4.0, 32), ClipSampling(min_caption_seconds=6), "is 6, .* widened to 5 s; lower it, or"),
    ],
)
def test_clips_that_a_pack_was_not_made_for_are_refused_before_the_work(pack, spec, sampling, message):
    with pytest.raises(ConfigError, match=message):
        refuse_clips_not_packed(open_pack(pack), spec, sampling)
    refuse_clips_not_packed(open_pack(pack), ClipSpec(8, 4.0, 32), ClipSampling(min_caption_seconds=0))


def test_an_address_is_kept_and_a_path_made_whole(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert NarratedDataConfig("s3://a/b", batch_size=2).absolute().root == "s3://a/b"
    assert NarratedDataConfig("a/../b", batch_size=2).absolute().root == str(tmp_path / "b")
    assert NarratedDataConfig(Path("b"), batch_size=2).root == "b"
