"""Checking files: what is damaged is found, and what is whole is let pass."""

from __future__ import annotations

import csv
import random

import av
import av.logging
import pytest

from narravid.errors import DecodeError
from narravid.types import ClipSpec
from narravid.video.decode_check import CheckedVideo, check_video
from narravid.video.watched import WatchedDecoder
from numbered_video import write_timed


@pytest.fixture(scope="module")
def decoder():
    with WatchedDecoder() as watched:
        yield watched


def damaged_copy(path, folder, *, num_flips, seed):
    """A copy with bits flipped in the stored pictures, the first few of them left alone."""
    rng, data = random.Random(seed), bytearray(path.read_bytes())
    start = data.index(b"mdat")
    size = int.from_bytes(data[start - 4 : start])
    for _ in range(num_flips):
        data[rng.randrange(start + size // 4, start + size - 4)] ^= 1 << rng.randrange(8)
    copy = folder / f"damaged{seed}{path.suffix}"
    copy.write_bytes(data)
    return copy


@pytest.mark.parametrize("whole", [False, True])
def test_a_whole_file_has_no_fault(decoder, numbered, whole):
    found = decoder.check(numbered, whole=whole)
    expected = CheckedVideo(12.0, 12.0, is_cut_short=False, num_frames=300 if whole else None)
    assert found == expected
    assert found.fault is None


def test_damage_that_ffmpeg_conceals_is_found_by_decoding_all(decoder, numbered, tmp_path):
    damaged = damaged_copy(numbered, tmp_path, num_flips=20, seed=1)
    clips = decoder.clips(damaged, [0.0, 6.0, 11.0], ClipSpec(4, 5.0, 48))
    assert [clip.num_padded for clip in clips] == [0, 0, 0]
    found = decoder.check(damaged, whole=True)
    assert found.num_damaged + found.num_complaints > 0
    assert found.fault.startswith(("damaged ", "concealed "))
    assert found.num_frames >= 250


def test_a_packet_that_does_not_decode_is_counted(decoder, tmp_path):
    path = tmp_path / "stills.mp4"
    write_timed(path, range(0, 1000, 40), gop_size=1)
    with av.open(str(path)) as container:
        packet = list(container.demux(video=0))[10]
        start, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    found = decoder.check(path, whole=True)
    assert (found.num_damaged, found.num_frames) == (1, 24)
    assert found.fault == "damaged packets or frames: 1 of 24"


def test_times_that_start_again_are_found_by_decoding_all(decoder, twice, tmp_path):
    found = decoder.check(twice, whole=True)
    assert found.restart_seconds == pytest.approx(1.9, abs=0.1)
    assert found.fault == "times start again after 1.9 s: what follows is out of reach; convert the file"
    assert decoder.check(tmp_path / "one.ts", whole=True).restart_seconds is None


def test_a_few_samples_show_that_nothing_decodes_behind_the_first_frame(decoder, tmp_path):
    path = tmp_path / "stills.mp4"
    write_timed(path, range(0, 4000, 40), gop_size=1)
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for start, size in packets[1:]:
        data[start : start + size] = bytes(size)
    path.write_bytes(data)
    with pytest.raises(DecodeError, match=r"no frame there, the video ends at 0\.04 s"):
        decoder.check(path)


def test_complaints_of_one_file_are_not_taken_for_repeats_of_another(tmp_path):
    path = tmp_path / "ends_early.mkv"
    write_timed(path, range(0, 2000, 40))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    level = av.logging.get_level()
    first, again = (check_video(path, whole=True, on_progress=lambda: None) for _ in range(2))
    assert first.num_complaints == 1
    assert first.fault == "concealed faults: 1, the first: File ended prematurely"
    assert first == again
    assert av.logging.get_level() == level


@pytest.mark.parametrize("whole", [False, True])
def test_a_file_that_was_cut_short_says_how_short(decoder, numbered, tmp_path, whole):
    data = numbered.read_bytes()
    start = data.index(b"mdat")  # the index lies in front of it and still promises everything
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: start + (len(data) - start) * 3 // 5])
    found = decoder.check(path, whole=whole)
    assert 4.0 < found.duration_seconds < 10.0
    assert found.stated_seconds == 12.0
    assert found.fault == f"cut short: ends at {found.duration_seconds:.1f} s, states 12.0 s"


def test_matroska_states_the_length_of_each_stream(decoder, tmp_path):
    path = tmp_path / "tagged.mkv"
    write_timed(path, range(0, 10_000, 40), options={"g": "25"})
    assert decoder.check(path).stated_seconds == pytest.approx(10.0, abs=0.05)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert decoder.check(path).fault.startswith("cut short: ends at ")


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (CheckedVideo(5.0, None, is_cut_short=False, num_frames=9), None),
        (CheckedVideo(5.0, 9.5, is_cut_short=True, num_damaged=1), "cut short: ends at 5.0 s, states 9.5 s"),
        (
            CheckedVideo(5.0, 9.5, is_cut_short=True, read_error="Input/output error"),
            "cannot be read beyond 5.0 s: Input/output error",
        ),
        (
            CheckedVideo(5.0, 5.0, is_cut_short=False, num_frames=9, num_damaged=2, num_complaints=3),
            "damaged packets or frames: 2 of 9",
        ),
        (
            CheckedVideo(5.0, 5.0, is_cut_short=False, num_complaints=3, first_complaint="no frame!"),
            "concealed faults: 3, the first: no frame!",
        ),
    ],
)
def test_the_gravest_fault_is_named(found, fault):
    assert found.fault == fault


def test_files_that_do_not_decode_give_their_reason(decoder, video, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DecodeError, match="cannot be opened as a video"):
        decoder.check(tmp_path / "text.mp4")
    pids = decoder.worker_pids
    assert decoder.check(video, whole=True).num_frames == 1000
    assert decoder.worker_pids == pids


def test_a_caller_may_stop_the_work(numbered):
    class StopError(Exception):
        pass

    calls = []

    def stop_later():
        calls.append(None)
        if len(calls) == 100:
            raise StopError

    with pytest.raises(StopError):
        check_video(numbered, whole=True, on_progress=stop_later)


@pytest.mark.shared
@pytest.mark.slow
def test_no_good_file_is_called_bad(shared_data, decoder):
    with (shared_data / "odd" / "expected.csv").open(newline="", encoding="utf-8") as file:
        good = [
            shared_data / "odd" / row["file"] for row in csv.DictReader(file) if row["expected"] == "decodes"
        ]
    good += [
        path
        for folder in ("videos", "narrated", "trajectories", "actions")
        for path in sorted((shared_data / folder).rglob("*"))
        if path.suffix in (".mp4", ".avi", ".mkv", ".mpg", ".gif") and path.stat().st_size < 2**20
    ]
    assert len(good) > 100
    faults = {path.name: decoder.check(path, whole=True).fault for path in good}
    assert {name: fault for name, fault in faults.items() if fault is not None} == {
        "corrupted.mp4": "damaged packets or frames: 2 of 49"
    }
