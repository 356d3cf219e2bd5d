"""Pairing the videos of a folder with their transcripts."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest

from narravid.data.corpus import find_narrated_videos
from narravid.errors import AnnotationError
from narravid.types import Span

ONE_CAPTION = "WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n\n00:02.000 --> 00:03.000\n"


def put(path: Path, content: str = ONE_CAPTION) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def test_finding_pairs_videos_with_transcripts_and_reports_the_others(tmp_path):
    for name in (
        "b.mp4",
        "a/b.MKV",
        "mute.mp4",
        "empty.mp4",
        "faulty.webm",
        ".hidden.mp4",
        ".git/x.mp4",
        "b.avi",
    ):
        put(tmp_path / name, "")
    for name in ("b.vtt", "a/b.vtt", ".git/x.vtt", ".hidden.vtt", "alone.vtt"):
        put(tmp_path / name)
    put(tmp_path / "empty.vtt", "WEBVTT\n")
    put(tmp_path / "faulty.srt", "1\nhello\n")
    found = find_narrated_videos(tmp_path)
    videos, bad = found.videos, found.bad
    assert [(video.video_id, video.path) for video in videos] == [
        ("b", tmp_path / "b.avi"),
        ("a/b", tmp_path / "a" / "b.MKV"),
    ]
    assert videos[0].track.texts == ["hello"]
    assert videos[0].num_dropped_captions == 1
    reasons = {path.name: reason for path, reason in bad}
    assert reasons.keys() == {"b.mp4", "mute.mp4", "empty.mp4", "faulty.webm"}
    assert "has the name of b.avi" in reasons["b.mp4"]
    assert "no transcript of the same name" in reasons["mute.mp4"]
    assert "empty.vtt: holds no captions" in reasons["empty.mp4"]
    assert "faulty.srt, line 1" in reasons["faulty.webm"]
    assert {path.name for path, _ in found.faulty} == {"empty.mp4", "faulty.webm"}


def test_transcripts_may_lie_in_another_folder(tmp_path):
    for name in ("videos/a.mp4", "videos/x/b.mp4", "videos/x/c.mp4"):
        put(tmp_path / name, "")
    put(tmp_path / "captions" / "a.csv", "start,end,text\n0,1,flat\n")
    put(tmp_path / "captions" / "x" / "b.csv", "start,end,text\n0,1,nested\n")
    put(tmp_path / "captions" / "b.csv", "start,end,text\n0,1,flat\n")
    put(tmp_path / "videos" / "x" / "c.vtt")
    found = find_narrated_videos(tmp_path / "videos", captions=tmp_path / "captions")
    videos, bad = found.videos, found.bad
    assert [(video.video_id, video.track.texts) for video in videos] == [("a", ["flat"]), ("x/b", ["nested"])]
    assert [path.name for path, _ in bad] == ["c.mp4"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
@pytest.mark.parametrize("closed", ["videos", "captions"])
def test_a_folder_that_may_not_be_listed_is_named_and_the_others_are_read(tmp_path, closed):
    for name in ("a", "x/b"):
        put(tmp_path / "videos" / f"{name}.mp4", "")
        put(tmp_path / "captions" / f"{name}.vtt")
    folder = tmp_path / closed / "x"
    folder.chmod(0)
    try:
        found = find_narrated_videos(tmp_path / "videos", captions=tmp_path / "captions")
    finally:
        folder.chmod(0o700)
    assert [video.video_id for video in found.videos] == ["a"]
    ((_, reason),) = found.faulty
    assert "the folder cannot be listed: Permission denied" in reason


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="absent is not a folder"):
        find_narrated_videos(tmp_path / "absent")
    with pytest.raises(ValueError, match="absent is neither a folder nor a file"):
        find_narrated_videos(tmp_path, captions=tmp_path / "absent")


def test_a_transcript_may_be_named_with_its_language(tmp_path):
    for name in ("a.mp4", "b.mp4", "c.mp4", "c.cut.mp4"):
        put(tmp_path / name, "")
    for name in ("a.en.vtt", "a.de.vtt", "b.de.vtt", "b.fr.vtt", "c.cut.vtt"):
        put(tmp_path / name)
    found = find_narrated_videos(tmp_path)
    assert [video.video_id for video in found.videos] == ["a", "c.cut"]
    reasons = {path.name: reason for path, reason in found.bad}
    assert reasons["b.mp4"] == "transcripts in several languages (de, fr); name one of them b.vtt"
    assert "no transcript of the same name" in reasons["c.mp4"]


def columns(*texts: str) -> dict[str, list[object]]:
    numbers = range(len(texts))
    return {"start": [float(n) for n in numbers], "end": [n + 0.5 for n in numbers], "text": list(texts)}


@pytest.mark.parametrize("name", ["caption.json", "caption.pickle"])
def test_captions_may_come_from_one_file(tmp_path, name):
    corpus = {
        "away": columns("nothing here"),
        "b": columns("add oil", "", "stir it"),
        "a": columns("serve"),
        "silent": columns(""),
        "faulty": {"start": [2.0], "end": [1.0], "text": ["wash"]},
    }
    content = json.dumps(corpus).encode() if name.endswith("json") else pickle.dumps(corpus)
    (tmp_path / name).write_bytes(content)
    for video in ("a.mp4", "x/b.webm", "y/b.mp4", "silent.mp4", "faulty.mp4", "mute.mp4"):
        put(tmp_path / "videos" / video, "")
    put(tmp_path / "videos" / "mute.vtt")
    found = find_narrated_videos(tmp_path / "videos", captions=tmp_path / name)
    assert [(video.video_id, video.track.texts, video.num_dropped_captions) for video in found.videos] == [
        ("a", ["serve"], 0),
        ("x/b", ["add oil", "stir it"], 1),
    ]
    assert found.videos[1].path == tmp_path / "videos" / "x" / "b.webm"
    assert found.num_unused == 1
    reasons = {path.relative_to(tmp_path / "videos").as_posix(): reason for path, reason in found.bad}
    assert reasons.keys() == {"faulty.mp4", "mute.mp4", "silent.mp4", "y/b.mp4"}
    assert {path.name for path, _ in found.faulty} == {"faulty.mp4", "silent.mp4"}
    assert "faulty.end[0]" in reasons["faulty.mp4"]
    assert f"{name} has no video 'mute'" in reasons["mute.mp4"]
    assert f"{name}: holds no captions of 'silent'" in reasons["silent.mp4"]
    assert "b.webm has the same name" in reasons["y/b.mp4"]


def test_a_video_that_is_twice_in_the_captions_keeps_the_first(tmp_path):
    first, second = (json.dumps(columns(text)) for text in ("first", "second"))
    (tmp_path / "caption.json").write_text(f'{{"a": {first}, "a": {second}}}')
    put(tmp_path / "a.mp4", "")
    found = find_narrated_videos(tmp_path, captions=tmp_path / "caption.json")
    assert found.videos[0].track.texts == ["first"]
    assert found.num_unused == 1


def test_htm_aa_with_its_list_of_places(tmp_path):
    (tmp_path / "htm_aa.csv").write_text("vid,timestamp,text\nabc,12.5,add oil\nabc,70,stir\nxyz,80,wash\n")
    (tmp_path / "vid_to_path.json").write_text('{"xyz": "part1/0002.mp4", "abc": "part1/0001.mp4"}')
    for name in ("part1/0001.mp4", "part1/0002.mp4", "part1/abc.mp4"):
        put(tmp_path / "videos" / name, "")
    found = find_narrated_videos(
        tmp_path / "videos", captions=tmp_path / "htm_aa.csv", video_list=tmp_path / "vid_to_path.json"
    )
    assert [(video.video_id, video.track.texts) for video in found.videos] == [
        ("part1/0002", ["wash"]),
        ("part1/0001", ["add oil", "stir"]),
    ]
    assert found.videos[1].track[0].span == Span(12.5, 12.5)
    assert (found.bad, found.num_unused) == ([], 0)


def test_a_list_says_which_videos_are_taken(tmp_path):
    rows = ["b.mp4", "x/a.mp4", "b.mp4", "absent.mp4", "../outside.mp4", "/etc/passwd", "b.webm", "mute.mp4"]
    (tmp_path / "list.csv").write_text("\n".join(["video_path", *rows]) + "\n")
    put(tmp_path / "outside.mp4", "")
    for name in ("b.mp4", "b.webm", "x/a.mp4", "c.mp4", "mute.mp4"):
        put(tmp_path / "videos" / name, "")
    for name in ("a.vtt", "b.vtt", "c.vtt"):
        put(tmp_path / "captions" / name)
    found = find_narrated_videos(
        tmp_path / "videos", captions=tmp_path / "captions", video_list=tmp_path / "list.csv"
    )
    assert [video.video_id for video in found.videos] == ["b", "x/a"]
    reasons = [(path.name, reason.replace(str(tmp_path), "")) for path, reason in found.bad]
    assert {(name, reason.split("; ")[0][:50]) for name, reason in reasons} == {
        ("b.mp4", "is in /list.csv twice"),
        ("absent.mp4", "/list.csv names it, but there is no such file"),
        ("outside.mp4", "/list.csv names it, but it lies outside /videos"),
        ("passwd", "/list.csv names it, but it lies outside /videos"),
        ("b.webm", "has the name of b.mp4, which is used"),
        ("mute.mp4", "no transcript of the same name (.vtt, .srt, .json,"),
    }
    assert {path.name for path, _ in found.faulty} == {"absent.mp4", "outside.mp4", "passwd"}


def test_ids_of_a_list_name_transcripts_too(tmp_path):
    (tmp_path / "list.csv").write_text("video_id,path\nabc,0001.mp4\n")
    put(tmp_path / "videos" / "0001.mp4", "")
    put(tmp_path / "captions" / "abc.vtt")
    found = find_narrated_videos(
        tmp_path / "videos", captions=tmp_path / "captions", video_list=tmp_path / "list.csv"
    )
    assert [video.video_id for video in found.videos] == ["0001"]


def test_a_file_of_captions_that_cannot_be_read_stops_the_search(tmp_path):
    put(tmp_path / "videos" / "a.mp4", "")
    for name, content in (("caption.json", '{"a": '), ("caption.vtt", ONE_CAPTION)):
        put(tmp_path / name, content)
        with pytest.raises(AnnotationError, match=name):
            find_narrated_videos(tmp_path / "videos", captions=tmp_path / name)


@pytest.mark.shared
def test_the_published_list_finds_the_published_captions(shared_data, tmp_path):
    video_list = shared_data / "captions" / "small_train_videos.csv"
    names = video_list.read_text().split()[1:]
    for name in names[:50]:
        put(tmp_path / name, "")
    found = find_narrated_videos(
        tmp_path, captions=shared_data / "captions" / "howto100m", video_list=video_list
    )
    assert [video.path.name for video in found.videos] == names[:50]
    assert [path.name for path, _ in found.bad] == names[50:]
