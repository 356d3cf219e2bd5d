"""One opened stream: times that go back, interlaced pictures, and where seeks lead."""

from __future__ import annotations

import pytest

from narravid.video.decode import decode_video
from narravid.video.decode_source import LeftOutError, VideoSource
from numbered_video import number_of, write_timed


def test_time_never_goes_back(twice):
    with VideoSource(twice) as source:
        ticks = [timed.ticks for timed in source.frames()]
    assert len(ticks) == 100
    assert ticks == sorted(ticks)
    assert ticks[50:] == 50 * [ticks[49]]


def test_a_video_may_be_longer_than_its_last_packet_says(twice):
    # the file ends in the middle of its own time
    data = twice.read_bytes()
    twice.write_bytes(data[: len(data) * 7 // 10])
    frames = decode_video(twice, fps=25, short_side_pixels=None).frames
    assert len(frames) == 50
    assert [number_of(frame) for frame in frames[:49]] == list(range(49))


def test_no_frame_of_an_interlaced_video_is_left_out(tmp_path):
    path = tmp_path / "a.mp4"
    write_timed(path, range(0, 1000, 40), options={"x264-params": "tff=1"})
    with VideoSource(path) as source, pytest.raises(LeftOutError):
        for _ in source.frames(lambda ticks, next_ticks: True):
            pass
