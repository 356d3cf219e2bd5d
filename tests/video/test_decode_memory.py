"""Memory over thousands of clips: what a day of training must not use up."""

from __future__ import annotations

from fractions import Fraction
from itertools import cycle, islice

import numpy as np
import pytest

from narravid.errors import DecodeError
from narravid.types import ClipSpec
from narravid.video.decode import decode_clips
from narravid.video.encode import write_video
from narravid.video.watched import WatchedDecoder
from numbered_video import numbered_frame, write_timed
from steady_use import assert_steady, needs_proc

pytestmark = [pytest.mark.slow, needs_proc]

SPEC = ClipSpec(8, 5.0, 112)
REAL_FILES = (
    "narrated/manifesto.mp4",
    "narrated/grid/bbaf2n.mpg",
    "videos/flipping_a_pancake.mkv",
    "videos/ucf101_v_ApplyEyeMakeup_g01_c01.avi",
    "odd/corrupted.mp4",
    "odd/transparent.webm",
    "odd/newtonscradle.gif",
    "odd/video_90.mov",
)


@pytest.fixture(scope="module")
def written_files(tmp_path_factory):
    """Files of several codecs, one of them damaged."""
    folder = tmp_path_factory.mktemp("memory")
    for name, preset in (("plain.mp4", "veryfast"), ("damaged.mp4", "medium")):
        frames = (numbered_frame(number, 180, 320) for number in range(150))
        write_video(folder / name, frames, fps=25, preset=preset, keyframe_seconds=3.0)
    data = np.fromfile(folder / "damaged.mp4", np.uint8)
    data[len(data) // 2 :: 997] ^= 255
    data.tofile(folder / "damaged.mp4")
    write_timed(folder / "turned.mp4", range(0, 4000, 40), rotation=-90, size=(96, 128))
    write_timed(folder / "old.mpg", range(100), time_base=Fraction(1, 25), codec="mpeg1video", size=(96, 128))
    return sorted(folder.iterdir())


def decoding(files, clips_of):
    """Decodes so many clips, three of each file at changing times, and goes on when called again."""
    work = enumerate(cycle(files))

    def decode(num_clips):
        for number, path in islice(work, num_clips // 3):
            starts = [0.0, 0.01 * (number % 40), 0.5 + 0.003 * (number % 100)]
            try:
                assert sum(bool(clip.mask.any()) for clip in clips_of(path, starts)) == 3
            except DecodeError:  # a clip after the end of a short or damaged file
                continue

    return decode


def test_decoding_in_process(written_files):
    assert_steady(decoding(written_files, lambda path, starts: decode_clips(path, starts, SPEC)))


def test_decoding_in_a_watched_process(written_files):
    with WatchedDecoder() as watched:
        assert_steady(decoding(written_files, lambda path, starts: watched.clips(path, starts, SPEC)))


@pytest.mark.shared
def test_decoding_of_real_files(shared_data):
    files = [shared_data / name for name in REAL_FILES]
    assert_steady(decoding(files, lambda path, starts: decode_clips(path, starts, SPEC)))
