"""Checking archives: what is found, what is remembered, and that a check can be stopped at any moment."""

from __future__ import annotations

import threading
import time

import pytest

from narravid.errors import DecodeError
from narravid.inference.checked_files import CheckedFiles, WholeFile
from narravid.inference.checking import CheckReport, check_videos, find_narration
from narravid.inference.video_files import FileState, find_video_files
from narravid.video.decode_check import CheckedVideo

CUES = "WEBVTT\n\n00:01.000 --> 00:02.000\nhello\n\n00:0{last}.000 --> 00:09.500\nworld\n"


class FakeChecker:
    """Knows films by name: `long` are 5 s long, others bad; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.closed = threading.Event()

    def check(self, path: str, *, whole: bool) -> CheckedVideo:
        self.asked.append((path.rsplit("/", 1)[-1], whole))
        if "broken" in path:
            raise DecodeError(path, "no frame could be decoded: nothing there")
        if "endless" in path:
            return CheckedVideo(float("inf"), None, is_cut_short=False)
        if "waits" in path:
            assert self.closed.wait(30)
            raise DecodeError(path, "decoder closed its connection")
        return CheckedVideo(5.0, 9.0 if "cut" in path else 5.0, is_cut_short="cut" in path)

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def films(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    for name in ("broken", "cut", "endless", "good1", "good2"):
        (folder / f"{name}.mp4").write_text(name)
    (folder / "empty.mp4").touch()
    return folder


def check(films, checker, tmp_path, *, whole=False, narration=None):
    with CheckedFiles(tmp_path / "table.good.jsonl") as checked_files:
        return check_videos(
            find_video_files([films]),
            checker=checker,
            checked_files=checked_files,
            whole=whole,
            num_workers=2,
            narration=narration,
        )


def names_of(report):
    return {path.rsplit("/", 1)[-1]: reason for path, reason in report.bad.reasons.items()}


def test_bad_files_are_told_with_their_reason(films, tmp_path):
    checker = FakeChecker()
    report = check(films, checker, tmp_path)
    assert names_of(report) == {
        "broken.mp4": "no frame could be decoded: nothing there",
        "cut.mp4": "cut short: ends at 5.0 s, states 9.0 s",
        "empty.mp4": "empty file",
        "endless.mp4": "its length is said to be inf seconds",
    }
    assert (report.num_files, report.num_good, report.num_known) == (6, 2, 0)
    assert report.video_seconds == 10.0
    assert len(checker.asked) == 5
    assert not checker.closed.is_set()


def test_good_files_are_not_read_again_while_they_stay_the_same(films, tmp_path):
    first = check(films, FakeChecker(), tmp_path)
    again = FakeChecker()
    report = check(films, again, tmp_path)
    assert sorted(again.asked) == [("broken.mp4", False), ("cut.mp4", False), ("endless.mp4", False)]
    assert (report.bad, report.num_good, report.num_known) == (first.bad, 2, 2)
    assert report.video_seconds == first.video_seconds

    (films / "good1.mp4").write_text("another film")
    changed = FakeChecker()
    check(films, changed, tmp_path)
    assert ("good1.mp4", False) in changed.asked
    assert ("good2.mp4", False) not in changed.asked


def test_a_look_at_samples_does_not_count_as_one_at_the_whole(films, tmp_path):
    check(films, FakeChecker(), tmp_path)
    full, quick = FakeChecker(), FakeChecker()
    assert check(films, full, tmp_path, whole=True).num_known == 0
    assert ("good1.mp4", True) in full.asked
    assert check(films, quick, tmp_path).num_known == 2


def test_a_torn_line_of_the_memory_costs_one_file(films, tmp_path):
    check(films, FakeChecker(), tmp_path)
    memory = tmp_path / "table.good.jsonl"
    lines = memory.read_text().splitlines(keepends=True)
    assert len(lines) == 2
    memory.write_text(lines[0] + lines[1][:20])
    torn = FakeChecker()
    assert check(films, torn, tmp_path).num_known == 1
    assert check(films, FakeChecker(), tmp_path).num_known == 2
    memory.write_text('{"no": "row"}\n[1, 2]\nnull\n')
    assert check(films, FakeChecker(), tmp_path).num_known == 0


def test_what_is_remembered_is_on_the_disk_at_once(tmp_path):
    file = WholeFile(FileState(7, 12345678901234567), 1.25, True)
    with CheckedFiles(tmp_path / "deep" / "memory.jsonl") as checked_files:
        checked_files.add("/films/Größe\n.mp4", file)
        with CheckedFiles(tmp_path / "deep" / "memory.jsonl") as read:
            assert read.find("/films/Größe\n.mp4", FileState(7, 12345678901234567), decoded=True) == file
            assert read.find("/films/Größe\n.mp4", FileState(8, 12345678901234567), decoded=True) is None
    with pytest.raises(ValueError, match="outside of its with block"):
        CheckedFiles(tmp_path / "other").add("a", file)


def test_captions_are_held_against_the_video(films, tmp_path):
    for name, text in {
        "good1": CUES.format(last=5),
        "good2": CUES.format(last=9),
        "cut": "WEBVTT\n",
        "broken": CUES.format(last=2),
    }.items():
        (films / f"{name}.vtt").write_text(text)
    (films / "faulty.mp4").write_text("faulty")
    (films / "faulty.vtt").write_text("WEBVTT\n\n00:0x.000 --> 00:02.000\nhello\n")
    narration = find_narration([films, films / "good1.mp4", films / "gone"], captions=None)
    report = check(films, FakeChecker(), tmp_path, narration=narration)
    bad = names_of(report)
    assert report.num_good == 1
    assert bad["good2.mp4"] == (
        "captions of another video: the last starts at 9.0 s, the video ends at 5.0 s"
    )
    assert bad["faulty.mp4"].startswith(f"{films / 'faulty.vtt'}, line 3")
    assert bad["broken.mp4"].startswith("no frame could be decoded")  # the graver fault of the two
    assert bad["cut.mp4"].startswith("cut short")
    # what is remembered is that the video is whole; its captions are read anew
    (films / "good2.vtt").write_text(CUES.format(last=5))
    again = check(films, FakeChecker(), tmp_path, narration=find_narration([films], captions=None))
    assert (again.num_good, again.num_known) == (2, 3)


def test_a_check_that_is_stopped_keeps_what_it_found(films, tmp_path, monkeypatch):
    (films / "waits.mp4").write_text("waits")
    checker, report = FakeChecker(), CheckReport()

    def interrupt(self, *_, note):
        if ", 4 bad" in note:
            raise KeyboardInterrupt

    monkeypatch.setattr("narravid.progress.ProgressBar.advance", interrupt)
    found = find_video_files([films])
    started = time.monotonic()
    with CheckedFiles(tmp_path / "memory.jsonl") as checked_files, pytest.raises(KeyboardInterrupt):
        check_videos(
            found,
            checker=checker,
            checked_files=checked_files,
            whole=False,
            num_workers=2,
            report=report,
        )
    assert checker.closed.is_set()
    assert time.monotonic() - started < 25
    assert len(report.bad) == 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("check")]


def test_a_mistake_in_the_checker_is_not_taken_for_a_bad_file(films, tmp_path):
    class Mistaken(FakeChecker):
        def check(self, path: str, *, whole: bool) -> CheckedVideo:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check(films, Mistaken(), tmp_path)
