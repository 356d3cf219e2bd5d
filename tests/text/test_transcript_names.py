"""Which file of a folder is taken for the transcript of a video."""

from __future__ import annotations

import pytest

from narravid.errors import AnnotationError
from narravid.text.transcript_names import TRANSCRIPT_SUFFIXES, TranscriptFolder
from narravid.text.transcripts import load_transcript


def folder_of(tmp_path, *names: str) -> TranscriptFolder:
    for name in names:
        (tmp_path / name).write_text("")
    return TranscriptFolder(tmp_path, video_suffixes=(".mp4",))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], None),
        (["other.vtt", "clip.txt", "clip.info.json", "clip.live_chat.json", ".clip.vtt"], None),
        (["clip.csv", "clip.json", "clip.srt", "clip.vtt"], "clip.vtt"),
        (["clip.csv", "clip.json", "clip.srt"], "clip.srt"),
        (["clip.csv", "clip.json"], "clip.json"),
        (["clip.VTT", "clip.srt"], "clip.VTT"),
        (["clip.en.vtt", "clip.csv"], "clip.csv"),
        (["clip.en.srt", "clip.en-US.vtt", "clip.de.vtt"], "clip.en.srt"),
        (["clip.en.srt", "clip.en.vtt"], "clip.en.vtt"),
        (["clip.en-US.vtt", "clip.en-orig.vtt", "clip.en-GB.vtt"], "clip.en-orig.vtt"),
        (["clip.en-US.vtt", "clip.en-GB.vtt", "clip.fr.vtt"], "clip.en-GB.vtt"),
        (["clip.zh-Hans.vtt"], "clip.zh-Hans.vtt"),
        (["clip.de.vtt", "clip.de.srt"], "clip.de.vtt"),
        (["clip.de.vtt", "clip.fr.srt"], None),
        (["clip.cut.mp4", "clip.cut.vtt"], None),
        (["clip.endless.vtt", "clip.v2.vtt"], None),
    ],
)
def test_the_stem_goes_before_english_and_english_before_a_lone_language(tmp_path, names, expected):
    found = folder_of(tmp_path, *names).find("clip")
    assert found == (tmp_path / expected if expected else None)


def test_stems_may_hold_points(tmp_path):
    folder = folder_of(tmp_path, "clip.v2.vtt", "clip.v2.en.srt", "clip.en.mp4", "clip.en.vtt")
    assert folder.find("clip.v2") == tmp_path / "clip.v2.vtt"
    assert folder.find("clip.en") == tmp_path / "clip.en.vtt"
    assert folder.find("clip") is None


def test_the_languages_of_a_video_are_named(tmp_path):
    folder = folder_of(tmp_path, "clip.fr.vtt", "clip.de.vtt", "clip.de.srt", "clip.srt")
    assert folder.languages("clip") == ["de", "fr"]
    assert folder.languages("other") == []


def test_folders_and_what_is_absent_hold_no_transcript(tmp_path):
    (tmp_path / "clip.vtt").mkdir()
    assert TranscriptFolder(tmp_path).find("clip") is None
    assert TranscriptFolder(tmp_path / "absent").find("clip") is None


def test_every_kind_that_is_found_can_be_read(tmp_path):
    contents = {
        ".vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\nstir it",
        ".srt": "1\n00:00:01,000 --> 00:00:02,000\nstir it",
        ".sbv": "0:00:01.000,0:00:02.000\nstir it",
        ".csv": "start,end,text\n1,2,stir it",
        ".json": '[{"start": 1, "end": 2, "text": "stir it"}]',
        ".json3": '{"events": [{"tStartMs": 1000, "dDurationMs": 1000, "segs": [{"utf8": "stir it"}]}]}',
        ".align": "25000 30000 stir\n30000 50000 it",
    }
    xml = '<transcript><text start="1" dur="1">stir it</text></transcript>'
    for suffix in TRANSCRIPT_SUFFIXES:
        path = tmp_path / f"v{suffix}"
        path.write_text(contents.get(suffix, xml))
        (caption,) = load_transcript(path).track
        assert (caption.text, caption.span.start_seconds, caption.span.end_seconds) == ("stir it", 1, 2)


def test_a_link_to_itself_spoils_nothing_but_its_own_video(tmp_path):
    (tmp_path / "loop.vtt").symlink_to("loop.vtt")
    folder = folder_of(tmp_path, "clip.vtt")
    assert folder.find("clip") == tmp_path / "clip.vtt"
    found = folder.find("loop")
    assert found is not None
    with pytest.raises(AnnotationError, match=r"loop\.vtt: cannot be opened"):
        load_transcript(found)
