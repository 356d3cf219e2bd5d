"""Pairing the videos of a folder with their transcripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from narravid.data.corpus import find_narrated_videos

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
    videos, bad = find_narrated_videos(tmp_path)
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
    assert "empty.vtt holds no captions" in reasons["empty.mp4"]
    assert "faulty.srt, line 1" in reasons["faulty.webm"]


def test_transcripts_may_lie_in_another_folder(tmp_path):
    for name in ("videos/a.mp4", "videos/x/b.mp4", "videos/x/c.mp4"):
        put(tmp_path / name, "")
    put(tmp_path / "captions" / "a.csv", "start,end,text\n0,1,flat\n")
    put(tmp_path / "captions" / "x" / "b.csv", "start,end,text\n0,1,nested\n")
    put(tmp_path / "captions" / "b.csv", "start,end,text\n0,1,flat\n")
    put(tmp_path / "videos" / "x" / "c.vtt")
    videos, bad = find_narrated_videos(tmp_path / "videos", captions_dir=tmp_path / "captions")
    assert [(video.video_id, video.track.texts) for video in videos] == [("a", ["flat"]), ("x/b", ["nested"])]
    assert [path.name for path, _ in bad] == ["c.mp4"]


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="absent is not a folder"):
        find_narrated_videos(tmp_path / "absent")
    with pytest.raises(ValueError, match="absent is not a folder"):
        find_narrated_videos(tmp_path, captions_dir=tmp_path / "absent")
