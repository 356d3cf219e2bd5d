"""One opened stream: times that go back, interlaced pictures, and where seeks lead."""

from __future__ import annotations

from fractions import Fraction

import pytest

from narravid.video.decode import decode_video
from narravid.video.decode_source import LeftOutError, VideoSource
from numbered_video import number_of, write_timed


def write_twice(folder):
    """Two recordings in one file, as by `cat`: 100 frames, whose times start again in the middle."""
    write_timed(folder / "one.ts", [3600 * n for n in range(50)], time_base=Fraction(1, 90_000))
    data = (folder / "one.ts").read_bytes()
    (folder / "twice.ts").write_bytes(data + data)
    return folder / "twice.ts"


def test_time_never_goes_back(tmp_path):
    with VideoSource(write_twice(tmp_path)) as source:
        ticks = [timed.ticks for timed in source.frames()]
    assert len(ticks) == 100
    assert ticks == sorted(ticks)
    assert ticks[50:] == 50 * [ticks[49]]


def test_a_video_may_be_longer_than_its_last_packet_says(tmp_path):
    # the file ends in the middle of its own time
    path = write_twice(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    frames = decode_video(path, fps=25, short_side_pixels=None).frames
    assert len(frames) == 50
    assert [number_of(frame) for frame in frames[:49]] == list(range(49))


def test_no_frame_of_an_interlaced_video_is_left_out(tmp_path):
    path = tmp_path / "a.mp4"
    write_timed(path, range(0, 1000, 40), options={"x264-params": "tff=1"})
    with VideoSource(path) as source, pytest.raises(LeftOutError):
        for _ in source.frames(lambda ticks, next_ticks: True):
            pass
