"""Cutting several videos at once: in order, one bad file at a time, and ended at once."""

from __future__ import annotations

import time
import zlib
from contextlib import closing
from pathlib import Path

import pytest

import narravid.data.pack_cutting
from narravid.data.corpus import find_narrated_videos
from narravid.data.pack_cutting import cut_videos
from narravid.data.pack_format import PackSettings
from narravid.video.encode_segments import SegmentEncoding
from narravid.video.watched import WatchedDecoder
from packable_archive import write_archive

SETTINGS = PackSettings(max_segment_seconds=8.0)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return find_narrated_videos(write_archive(tmp_path_factory.mktemp("archive"))).videos


def test_videos_come_in_order_with_their_segments_or_the_reason(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(narravid.data.pack_cutting, "MAX_BYTES_IN_MEMORY", 100)  # they wait in files
    cut = list(cut_videos(iter(videos), SETTINGS, num_workers=2, folder=tmp_path))
    assert [one.video for one in cut] == videos
    for one in cut:
        with one.content:
            assert (one.bad is None) == bool(one.segments) == (one.video.video_id != "broken")
            for segment in one.segments:
                assert zlib.crc32(one.content.read(segment.size)) == segment.crc32
            assert one.content.read() == b""
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_crashes_its_process_costs_one_file(videos, tmp_path, monkeypatch):
    probe = WatchedDecoder.probe

    def crashing(decoder, path):
        if path.stem == "plain":
            decoder.close()  # as if the process had died
            for message, _ in decoder._ask(path, {"kind": "no such request"}):
                raise AssertionError(message)
        return probe(decoder, path)

    monkeypatch.setattr(WatchedDecoder, "probe", crashing)
    cut = list(cut_videos(videos[-3:], SETTINGS, num_workers=1, folder=tmp_path))
    for one in cut:
        one.content.close()
    assert [one.bad is None for one in cut] == [True, True, False]
    assert cut[-1].bad.startswith("decoder ended with status 1: KeyError: 'no such request'")


def test_closed_early_it_ends_all_processes_and_starts_no_more(videos, tmp_path, monkeypatch):
    decoders = []
    init = WatchedDecoder.__init__

    def noting(decoder, *arguments, **options):
        decoders.append(decoder)
        init(decoder, *arguments, **options)

    monkeypatch.setattr(WatchedDecoder, "__init__", noting)
    taken = []
    endless = (taken.append(None) or videos[0] for _ in range(10**6))
    with closing(cut_videos(endless, SETTINGS, num_workers=1, folder=tmp_path)) as cut:
        next(cut).content.close()
        started = time.monotonic()
    assert time.monotonic() - started < 60
    assert len(taken) <= narravid.data.pack_cutting.VIDEOS_AHEAD + 1
    [decoder] = decoders
    assert decoder.worker_pids == []


def test_a_full_disk_is_no_fault_of_the_video(videos, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(narravid.data.pack_cutting.tempfile.SpooledTemporaryFile, "write", full)
    with (
        closing(cut_videos(videos[1:], SETTINGS, num_workers=1, folder=tmp_path)) as cut,
        pytest.raises(OSError, match="No space left"),
    ):
        next(cut)


def test_an_unknown_preset_is_a_mistake_and_not_a_bad_video(videos, tmp_path):
    settings = PackSettings(preset="slowest")
    with pytest.raises(ValueError, match="preset must be one of ultrafast, .*, placebo, got 'slowest'"):
        next(cut_videos(videos, settings, num_workers=1, folder=Path(tmp_path)))
    assert SegmentEncoding(preset="placebo").preset == "placebo"
