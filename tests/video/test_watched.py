"""Decoding in watched processes: same clips, and no file can crash, stall or outlive the program."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from narravid.errors import DecodeError, NarravidError
from narravid.types import ClipSpec
from narravid.video.decode import decode_clips, decode_video, probe
from narravid.video.encode import write_video
from narravid.video.watched import WatchedDecoder
from numbered_video import numbered_frame, numbers_of

SPEC = ClipSpec(4, 5.0, 48, frame_rule="shown_at")


@pytest.fixture(scope="module")
def decoder():
    with WatchedDecoder() as watched:
        yield watched


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_answers_are_those_of_decoding_in_process(decoder, video):
    assert decoder.probe(video) == probe(video)
    starts = [0.0, 7.5, 3.0, 39.5]
    for ours, theirs in zip(
        decode_clips(video, starts, SPEC), decoder.clips(video, starts, SPEC), strict=True
    ):
        assert torch.equal(ours.frames, theirs.frames)
        assert torch.equal(ours.mask, theirs.mask)
        assert ours.span == theirs.span
    whole = decoder.video(video, fps=2.0, short_side_pixels=48)
    expected = decode_video(video, fps=2.0, short_side_pixels=48)
    assert torch.equal(whole.frames, expected.frames)
    assert whole.span == expected.span


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads the libraries in use from /proc")
def test_the_process_is_small(decoder, video):
    decoder.probe(video)
    (pid,) = decoder.worker_pids
    libraries = Path(f"/proc/{pid}/maps").read_text()
    assert "libavcodec" in libraries
    assert "libtorch" not in libraries


def test_clips_can_be_written_to(decoder, video):
    clip = next(decoder.clips(video, [0.0], SPEC))
    clip.frames.zero_()
    assert clip.frames.count_nonzero() == 0


def test_random_squares_come_from_the_callers_generator(decoder, video):
    random = replace(SPEC, crop="random")
    ours = decode_clips(video, [0.0, 1.0], random, generator=torch.Generator().manual_seed(4))
    theirs = decoder.clips(video, [0.0, 1.0], random, generator=torch.Generator().manual_seed(4))
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(ours, theirs, strict=True))


def test_errors_of_a_file_leave_the_process_alone(decoder, video, tmp_path):
    decoder.probe(video)
    pids = decoder.worker_pids
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DecodeError, match="Invalid data") as caught:
        decoder.probe(tmp_path / "text.mp4")
    assert caught.value.path == str(tmp_path / "text.mp4")
    clips = decoder.clips(video, [1.0, 99.0], SPEC)
    assert numbers_of(next(clips)) == [25, 30, 35, 40]
    with pytest.raises(DecodeError, match="the video ends at") as caught:
        next(clips)
    assert caught.value.span == (99.0, 99.8)
    assert decoder.worker_pids == pids


def test_wrong_arguments_are_refused_before_anything_starts(video):
    with WatchedDecoder() as unused:
        with pytest.raises(ValueError, match="clip starts must be finite"):
            unused.clips(video, [-1.0], SPEC)
        with pytest.raises(ValueError, match="needs a generator"):
            unused.clips(video, [1.0], replace(SPEC, crop="random"))
        with pytest.raises(ValueError, match="fps must be positive"):
            unused.video(video, fps=0.0, short_side_pixels=None)
        with pytest.raises(ValueError, match="map crops the centre only"):
            unused.map([], replace(SPEC, crop="random"))
        assert list(unused.clips(video, [], SPEC)) == []
        assert unused.worker_pids == []
    for options in (
        {"num_workers": 0},
        {"stall_seconds": 0.0},
        {"stall_seconds": float("inf")},
        {"num_threads": -1},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
            WatchedDecoder(**options)


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        (signal.SIGKILL, r"decoder crashed \(signal 9\)"),
        (signal.SIGSEGV, r"decoder crashed \(signal 11\)"),
        (signal.SIGSTOP, r"no progress for 1 s"),
    ],
)
def test_a_lost_process_is_replaced_and_its_file_reported(video, deed, reason):
    starts = [0.03 * number for number in range(1000)]  # far more than are decoded ahead
    with WatchedDecoder(stall_seconds=30.0) as watched:  # a machine that pauses is no stall
        clips = watched.clips(video, starts, ClipSpec(32, 10.0, 112))
        next(clips)
        (lost,) = watched.worker_pids
        os.kill(lost, deed)
        watched._stall_seconds = 1.0 if deed == signal.SIGSTOP else 30.0
        with pytest.raises(DecodeError, match=reason) as caught:
            for _ in clips:
                pass
        assert caught.value.path == str(video)
        assert not is_alive(lost)
        watched._stall_seconds = 30.0
        assert numbers_of(next(watched.clips(video, [2.0], SPEC))) == [50, 55, 60, 65]
        (fresh,) = watched.worker_pids
        assert fresh != lost


def test_a_process_killed_while_idle_is_replaced_without_blaming_a_file(decoder, video):
    decoder.probe(video)
    (idle,) = decoder.worker_pids
    os.kill(idle, signal.SIGKILL)
    os.waitid(os.P_PID, idle, os.WEXITED | os.WNOWAIT)  # dead, and still the decoder's to find out
    assert decoder.probe(video).num_frames == 1000


def test_a_file_that_never_answers(video, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with WatchedDecoder(stall_seconds=0.7) as watched:
        with pytest.raises(DecodeError, match=r"no progress for 0\.7 s"):
            watched.probe(tmp_path / "pipe.mp4")
        assert watched.worker_pids == []
        watched._stall_seconds = 30.0
        assert watched.probe(video).num_frames == 1000


def test_a_slow_caller_is_not_a_stall(video):
    with WatchedDecoder(stall_seconds=3.0) as watched:
        for clip in watched.clips(video, [1.0 * number for number in range(12)], SPEC):
            start = clip.span.start_seconds
            assert numbers_of(clip)[0] == 25 * start
            if start in (0.0, 11.0):
                time.sleep(3.5)


def test_work_that_is_no_longer_wanted_is_given_up(decoder, video):
    decoder.probe(video)
    pids = decoder.worker_pids
    clips = decoder.clips(video, [0.01 * number for number in range(3000)], ClipSpec(32, 10.0, 112))
    next(clips)
    clips.close()
    assert numbers_of(next(decoder.clips(video, [2.0], SPEC))) == [50, 55, 60, 65]
    assert decoder.worker_pids == pids


def test_two_files_at_once(decoder, video):
    one = decoder.clips(video, [0.0, 2.0, 4.0], SPEC)
    other = decoder.clips(video, [1.0, 3.0, 5.0], SPEC)
    pairs = [(numbers_of(a)[0], numbers_of(b)[0]) for a, b in zip(one, other, strict=True)]
    assert pairs == [(0, 25), (50, 75), (100, 125)]
    assert len(decoder.worker_pids) == 1


def test_map_keeps_the_order_and_reports_bad_files(video, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    jobs = [(video, [float(number), number + 0.4]) for number in range(8)]
    jobs.insert(3, (tmp_path / "text.mp4", [0.0]))
    with WatchedDecoder(num_workers=2) as watched:
        results = list(watched.map(iter(jobs), SPEC))
        assert [job for job, _ in results] == jobs
        assert isinstance(results[3][1], DecodeError)
        good = [clips for number, (_, clips) in enumerate(results) if number != 3]
        assert [[numbers_of(clip)[0] for clip in clips] for clips in good] == [
            [25 * number, 25 * number + 10] for number in range(8)
        ]
        assert len(watched.worker_pids) == 2
        started = threading.active_count()
        assert len(list(islice(watched.map(((video, [1.0]) for _ in range(10**6)), SPEC), 3))) == 3
        assert watched.probe(video).num_frames == 1000
        assert threading.active_count() <= started


def test_close_ends_the_processes_and_is_not_final(video):
    watched = WatchedDecoder()
    watched.probe(video)
    (pid,) = watched.worker_pids
    watched.close()
    watched.close()
    assert not is_alive(pid)
    assert watched.worker_pids == []
    assert watched.probe(video).num_frames == 1000
    watched.close()


@pytest.mark.parametrize("is_started", [False, True])
def test_a_read_in_another_thread_fails_like_a_file_when_the_decoder_is_closed(video, tmp_path, is_started):
    os.mkfifo(tmp_path / "pipe.mp4")
    watched = WatchedDecoder(stall_seconds=60.0)
    if is_started:
        watched.probe(video)
    caught: list[Exception] = []

    def read() -> None:
        try:
            watched.probe(tmp_path / "pipe.mp4")
        except Exception as error:
            caught.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    while not watched._busy:
        time.sleep(0.001)
    time.sleep(0.1 if is_started else 0.0)
    watched.close()
    reader.join()
    (error,) = caught
    assert isinstance(error, DecodeError)
    assert error.reason == "the decoder was closed meanwhile"
    assert watched.worker_pids == []


def test_modules_of_the_working_folder_are_not_imported(video, tmp_path, monkeypatch):
    for name in ("av", "torch", "json", "socket", "resource"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken over')\n")
    monkeypatch.chdir(tmp_path)
    with WatchedDecoder() as watched:
        assert watched.probe(video).num_frames == 1000


def test_a_process_that_cannot_start_is_no_fault_of_the_file(video, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with WatchedDecoder() as watched, pytest.raises(NarravidError, match="does not start: ") as caught:
        watched.probe(video)
    assert not isinstance(caught.value, DecodeError)
    assert "ModuleNotFoundError" in str(caught.value)


def test_a_process_that_the_system_refuses_leaves_nothing_open(video, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no_python"))
    with WatchedDecoder() as watched:
        with pytest.raises(NarravidError, match=r"does not start: .*no_python") as caught:
            watched.probe(video)  # a socket or file left open would be a warning, and warnings are errors
        assert not isinstance(caught.value, DecodeError)
        assert watched.worker_pids == []
        monkeypatch.undo()
        assert watched.probe(video).num_frames == 1000


@pytest.mark.slow
def test_a_long_way_to_the_first_clip_is_progress(tmp_path):
    path = tmp_path / "one_key_frame.mp4"
    noise = np.random.default_rng(2).integers(0, 77, (720, 1280, 3), dtype=np.uint8)
    frames = (
        (numbered_frame(n, 720, 1280) * 0.7).astype(np.uint8) + np.roll(noise, 97 * n, axis=(0, 1))
        for n in range(200)
    )
    write_video(path, frames, fps=25, crf=8, preset="ultrafast", keyframe_seconds=1000.0)
    with WatchedDecoder(stall_seconds=0.7) as watched:
        watched.probe(path)  # the start of the process has its own, longer time
        started = time.monotonic()
        clip = next(watched.clips(path, [7.0], SPEC))
        seconds = time.monotonic() - started
    assert numbers_of(clip) == [175, 180, 185, 190]
    assert seconds > 0.7, "too fast to show anything: make the video longer"
