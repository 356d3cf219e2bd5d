"""Files that break decoders: each gives clips or one clear error, and none crashes or hangs its process."""

from __future__ import annotations

import csv

import pytest

from narravid.errors import DecodeError
from narravid.types import ClipSpec
from narravid.video.watched import WatchedDecoder

pytestmark = pytest.mark.shared

NUM_FRAMES = 8
RULES = ("ffmpeg_fps", "shown_at")


@pytest.fixture(scope="module")
def odd_files(shared_data):
    with (shared_data / "odd" / "expected.csv").open(newline="", encoding="utf-8") as file:
        return [(shared_data / "odd" / row["file"], row) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def decoder():
    with WatchedDecoder() as watched:
        yield watched


def test_every_readable_file_gives_clips(odd_files, decoder):
    readable = [(path, row) for path, row in odd_files if row["expected"] == "decodes"]
    assert len(readable) >= 30
    for path, row in readable:
        info = decoder.probe(path)
        assert sorted((info.width, info.height)) == sorted((int(row["width"]), int(row["height"]))), path
        assert info.codec == row["codec"], path
        assert info.duration_seconds > 0
        assert info.fps > 0
        starts = [0.0, info.duration_seconds / 2, info.duration_seconds * 0.99]
        for rule in RULES:
            spec = ClipSpec(NUM_FRAMES, 5.0, 64, frame_rule=rule)
            first, *later = decoder.clips(path, starts, spec)
            expected = NUM_FRAMES if info.duration_seconds >= NUM_FRAMES / 5 + 0.2 else 1
            assert NUM_FRAMES - first.num_padded >= expected, path
            assert all(clip.num_padded < NUM_FRAMES for clip in later), path
        assert len(decoder.worker_pids) == 1


def test_every_other_file_gives_its_reason(odd_files, decoder):
    unreadable = [path for path, row in odd_files if row["expected"] != "decodes"]
    assert len(unreadable) >= 8
    decoder.probe(odd_files[0][0])
    pids = decoder.worker_pids
    for path in unreadable:
        for attempt in (
            decoder.probe,
            lambda path: list(decoder.clips(path, [0.0], ClipSpec(NUM_FRAMES, 5.0, 64))),
        ):
            with pytest.raises(DecodeError) as caught:
                attempt(path)
            assert caught.value.path == str(path)
            assert caught.value.reason.startswith(
                ("has no video stream", "cannot be opened as a video: ", "no frame could be decoded: ")
            )
    assert decoder.worker_pids == pids, "a file cost the process its life"


def test_rotated_files_are_upright(shared_data, decoder):
    sizes = {}
    for name in ("video_90.mov", "video_180.mov", "video_rotation_90.mp4"):
        info = decoder.probe(shared_data / "odd" / name)
        sizes[name] = (info.rotation_degrees, info.width, info.height)
        frames = decoder.video(shared_data / "odd" / name, fps=5.0, short_side_pixels=None).frames
        assert tuple(frames.shape[1:3]) == (info.height, info.width)
    assert sizes == {
        "video_90.mov": (90, 320, 568),
        "video_180.mov": (180, 568, 320),
        "video_rotation_90.mp4": (90, 60, 100),
    }


@pytest.mark.slow
def test_all_other_shared_videos(shared_data, decoder):
    spec = ClipSpec(4, 5.0, 64)
    paths = [
        path
        for folder in ("videos", "narrated", "trajectories")
        for path in sorted((shared_data / folder).rglob("*"))
        if path.suffix in (".mp4", ".avi", ".mkv", ".mpg", ".gif", ".webm")
    ]
    assert len(paths) > 25
    for path in paths:
        duration = decoder.probe(path).duration_seconds
        clips = list(decoder.clips(path, [0.0, duration / 2, duration * 0.98], spec))
        assert clips[0].frames.any()
        assert all(clip.num_padded < 4 for clip in clips), path
