"""Frames against the ffmpeg program's, on every real file that it decodes, by both frame rules.

The program decodes with its own release of FFmpeg's libraries and is given the same times. For `ffmpeg_fps`
it runs the published filter chain from a seek; for `shown_at` it hands over all frames with their times, and
the test takes those that a player would show.
"""

from __future__ import annotations

import csv
import os
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from ffmpeg_program import SQUARE, EveryFrame, Output, needs_program, run_program, stated_start, times_in
from narravid.types import ClipSpec
from narravid.video.decode import decode_clips, decode_video, probe

pytestmark = [pytest.mark.shared, needs_program]

SIZE, NUM_FRAMES = 56, 8
RATES = (5, 12)
MOST_DIFFERENCE = 2.0  # of 255, mean over a frame
MIDDLE_SHARES = (Fraction(1, 7), Fraction(31, 100), Fraction(623, 1000))
SUFFIXES = (".mp4", ".avi", ".mkv", ".mpg", ".gif", ".webm")
# Short and small: these are compared in the quick suite, the others by make test-full.
QUICK_FILES = frozenset(
    {
        "narrated/grid/bbaf2n.mpg",
        "odd/100_0306.AVI",
        "odd/av1-clearkey-cbcs-video.mp4",
        "odd/carphone_distorted.mp4",
        "odd/h265_10bits.mp4",
        "odd/minimal.mp4",
        "odd/newtonscradle.gif",
        "odd/realshort.mp4",
        "odd/sample.3gp",
        "odd/unordered.mov",
        "odd/video_90.mov",
        "odd/video_colr_nclx_rgb.mp4",
        "videos/flipping_a_pancake.mkv",
        "videos/hmdb51_RATRACE_wave_f_nm_np1_fr_goo_37.avi",
    }
)


@cache
def real_files():
    """Names of the real files that decode, relative to the data folder; none where there is none."""
    project = Path(__file__).resolve().parents[2]
    data = Path(os.environ.get("NARRAVID_SHARED", project.parent / "shared")) / "data"
    if not data.is_dir():
        return []
    found = [path for name in ("videos", "narrated") for path in sorted((data / name).rglob("*"))]
    names = [path.relative_to(data).as_posix() for path in found if path.suffix in SUFFIXES]
    with (data / "odd" / "expected.csv").open(newline="", encoding="utf-8") as file:
        names += [f"odd/{row['file']}" for row in csv.DictReader(file) if row["expected"] == "decodes"]
    return names


FILES = [
    pytest.param(name, marks=() if name in QUICK_FILES else pytest.mark.slow)
    for name in real_files() or ["no shared folder"]
]


def seeks_rightly(path, start):
    """Whether the program, sent to `start`, gives the frames from there on; if not, it is to decode them all.

    In MPEG-PS it guesses where to go by the bit rate and comes out late. In AVI a seek to the beginning goes
    to the first key frame after it. 4:4:4 streams of old x264 need their first packet to be decoded.
    """
    with av.open(str(path), metadata_errors="replace") as container:
        context = container.streams.video[0].codec_context
        if container.format.name == "mpeg" or (container.format.name == "avi" and start == 0):
            return False
        return not (context.name == "h264" and "444" in (context.pix_fmt or ""))


def starts_of(duration):
    """Times to decode at: the beginning, odd ones in the middle, and two close to the end."""
    near_end = [max(Fraction(0), duration - Fraction(tenths, 100)) for tenths in (70, 13)]
    starts = {Fraction(0), *(duration * share for share in MIDDLE_SHARES), *near_end}
    return sorted({Fraction(round(start * 1000), 1000) for start in starts})


class Judged:
    """What the program gives of one file, in one run of it."""

    def __init__(self, path, folder):
        self.path = path
        with av.open(str(path), metadata_errors="replace") as container:
            origin = Fraction(container.start_time or 0, av.time_base)
        self.shift = origin - stated_start(path)
        self.starts = starts_of(Fraction(probe(path).duration_seconds))
        self.whole = {
            rule: decode_video(path, fps=5, short_side_pixels=SIZE, frame_rule=rule).frames.numpy()
            for rule in ("ffmpeg_fps", "shown_at")
        }
        height, width = self.whole["shown_at"].shape[1:3]
        scaled, square = f"scale={width}:{height}", f"{SQUARE},scale={SIZE}:{SIZE}"
        outputs = [
            Output(f"showinfo,{square}", SIZE, SIZE),
            Output(scaled, height, width),
            Output(scaled, height, width, fps=5),
        ]
        cases = [(fps, start) for fps in RATES for start in self.starts]
        for fps, start in cases:
            begin = {"start_seconds": start + self.shift, "seeks": seeks_rightly(path, start)}
            outputs.append(Output(square, SIZE, SIZE, fps=fps, num_frames=NUM_FRAMES, **begin))
        (squares, self.wholes, self.whole_by_fps, *clips), said = run_program(path, outputs, folder)
        self.clips = dict(zip(cases, clips, strict=True))
        seconds, time_base = times_in(said)
        assert len(seconds) == len(squares) == len(self.wholes)
        self.every = EveryFrame([time - self.shift for time in seconds], squares, time_base)

    def remaining(self, start):
        """Index of the frame for a span of which the program's filter gives none: the one that is left."""
        last = len(self.every.seconds) - 1
        return last if self.every.seconds[last] >= start else self.every.on_screen(start)

    def assert_covered(self, samples, num_valid):
        """Samples up to the last frame are real; releases of FFmpeg differ in how long that one is shown."""
        seconds = self.every.seconds
        longest = max((after - before for before, after in pairwise(seconds)), default=Fraction(1, 20))
        assert sum(sample <= seconds[-1] for sample in samples) <= num_valid
        assert num_valid <= sum(sample <= seconds[-1] + longest for sample in samples)


@pytest.fixture(scope="module", params=FILES)
def judged(request, shared_data, tmp_path_factory):
    return Judged(shared_data / request.param, tmp_path_factory.mktemp("program"))


def clips_of(judged, spec):
    """Clips at all starts: in one pass at the first rate, each by itself at the other."""
    starts = [float(start) for start in judged.starts]
    if spec.fps == RATES[0]:
        return list(decode_clips(judged.path, starts, spec))
    return [next(decode_clips(judged.path, [start], spec)) for start in starts]


def assert_same(frames, expected, case):
    assert frames.shape == expected.shape, case
    differences = np.abs(frames.astype(np.int16) - expected).mean(axis=(1, 2, 3))
    assert differences.max(initial=0) <= MOST_DIFFERENCE, (case, differences.round(1).tolist())


def assert_clip(clip, expected, case):
    assert_same(clip.frames[clip.mask].numpy(), expected, case)
    assert clip.mask[: len(expected)].all()
    assert clip.num_padded == NUM_FRAMES - len(expected)
    assert not clip.frames[len(expected) :].any()


def test_clips_of_the_fps_filter(judged):
    for fps in RATES:
        clips = clips_of(judged, ClipSpec(NUM_FRAMES, float(fps), SIZE, frame_rule="ffmpeg_fps"))
        for start, clip in zip(judged.starts, clips, strict=True):
            expected, num_valid = judged.clips[fps, start], int(clip.mask.sum())
            if not len(expected):
                expected = judged.every.frames[[judged.remaining(start)]]
            if len(expected) < num_valid:  # the last frame is shown longer than in the program's release
                nearest = [start + Fraction(2 * number - 1, 2 * fps) for number in range(num_valid)]
                judged.assert_covered(nearest[1:], num_valid - 1)
                last = judged.every.frames[-1:].repeat(num_valid - len(expected), axis=0)
                expected = np.concatenate([expected, last])
            assert_clip(clip, expected, (fps, float(start)))


def test_clips_of_the_frames_on_screen(judged):
    for fps in RATES:
        clips = clips_of(judged, ClipSpec(NUM_FRAMES, float(fps), SIZE, frame_rule="shown_at"))
        for start, clip in zip(judged.starts, clips, strict=True):
            samples = [start + Fraction(number, fps) for number in range(NUM_FRAMES)]
            num_valid = int(clip.mask.sum())
            judged.assert_covered(samples, num_valid)
            expected = judged.every.frames[[judged.every.on_screen(sample) for sample in samples[:num_valid]]]
            assert_clip(clip, expected, (fps, float(start)))


def test_whole_videos(judged):
    by_fps = judged.whole_by_fps if len(judged.whole_by_fps) else judged.wholes[:1]
    assert_same(judged.whole["ffmpeg_fps"], by_fps, "ffmpeg_fps")
    shown = judged.whole["shown_at"]
    samples = [Fraction(number, 5) for number in range(len(shown) + 2)]
    judged.assert_covered(samples, len(shown))
    expected = judged.wholes[[judged.every.on_screen(sample) for sample in samples[: len(shown)]]]
    assert_same(shown, expected, "shown_at")
