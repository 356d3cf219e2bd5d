"""The ffmpeg program as the judge of decoded frames: one run of it gives everything asked of a file."""

from __future__ import annotations

import re
import shutil
import subprocess
from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

SQUARE = "crop=w='min(iw,ih)':h='min(iw,ih)':x='(iw-min(iw,ih))*0.5':y='(ih-min(iw,ih))*0.5'"
CLOCK_SLACK = Fraction(1, 2000)  # seconds: the most by which clocks of files round the times of frames

needs_program = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg program to compare with")


@dataclass(frozen=True)
class Output:
    """One stream of pictures that the program is to give.

    Attributes:
        filters: What is done to each frame.
        height, width: Size of the pictures.
        fps: Frames per second of the filter `fps`; None: every frame of the file.
        start_seconds: Where to begin, from the start of the file as the program has it; None: at its first
            frame.
        seeks: Begin by a seek (`-ss` before `-i`), or by decoding everything and dropping what is too early.
        num_frames: The most that are taken.
    """

    filters: str
    height: int
    width: int
    fps: float | None = None
    start_seconds: Fraction | None = None
    seeks: bool = True
    num_frames: int | None = None


@dataclass(frozen=True)
class EveryFrame:
    """All frames of a file with their times, as the program decodes it from its beginning.

    Attributes:
        seconds: Time of each frame, from the start of the file as the program has it.
        frames: (N, H, W, 3) uint8.
        time_base: Seconds per tick of the file's clock.
    """

    seconds: list[Fraction]
    frames: np.ndarray
    time_base: Fraction

    def on_screen(self, seconds):
        """Index of the frame that a player shows; the first one before there is any."""
        tolerance = min(self.time_base / 2, CLOCK_SLACK)
        return max(0, bisect_right(self.seconds, seconds + tolerance) - 1)


def run_program(path, outputs, folder):
    """Pictures of each output, and what the program said."""
    inputs, targets = [], []
    openings = {}
    for number, output in enumerate(outputs):
        filters = output.filters if output.fps is None else f"fps={output.fps},{output.filters}"
        start = None if output.start_seconds is None else f"{float(output.start_seconds):.6f}"
        seek = start if output.seeks else None
        if start is not None and seek is None:
            filters = f"trim=start={start},setpts=PTS-round({start}/TB),{filters}"
        if seek not in openings:  # outputs that begin at the same place share what is decoded
            openings[seek] = len(openings)
            inputs += [*([] if seek is None else ["-ss", seek]), "-threads", "1", "-i", str(path)]
        # Of several video streams the first counts (the program would take the largest); "V" leaves out
        # covers. Files with sound are written at a constant rate, which fills a gap before the first frame;
        # files with one stream the program would begin at their first frame, unless told.
        mode = "passthrough" if output.fps is None else "cfr"
        targets += ["-map", f"{openings[seek]}:V:0", "-vf", filters, "-fps_mode", mode]
        targets += ["-pix_fmt", "rgb24", "-f", "rawvideo"]
        targets += ["-frames:v", str(output.num_frames)] if output.num_frames is not None else []
        targets += [str(folder / f"{number}.rgb")]
    single = ["-filter_threads", "1"]
    command = ["ffmpeg", "-y", "-nostdin", "-nostats", *single, *inputs, *targets]
    done = subprocess.run(command, capture_output=True, timeout=900, check=False)
    said = done.stderr.decode(errors="replace")  # names within a file may be anything
    assert done.returncode == 0, said[-2000:]
    shapes = [(-1, output.height, output.width, 3) for output in outputs]
    return [np.fromfile(folder / f"{n}.rgb", np.uint8).reshape(s) for n, s in enumerate(shapes)], said


def stated_start(path):
    """Timestamp at which the program lets a file start; releases differ in it where sound begins early."""
    command = ["ffprobe", "-v", "error", "-show_entries", "format=start_time", "-of", "csv=p=0", str(path)]
    stated = subprocess.run(command, capture_output=True, timeout=60, check=True).stdout.decode().strip()
    return Fraction(0) if stated in ("", "N/A") else Fraction(stated)


def times_in(said):
    """(times of frames in seconds, seconds per tick) as the program's `showinfo` filter printed them."""
    time_base = Fraction(re.search(r"config in time_base: (\S+?),", said)[1])
    ticks = [int(text) for text in re.findall(r"\] n: *\d+ pts: *(-?\d+) ", said)]
    return [tick * time_base for tick in ticks], time_base
