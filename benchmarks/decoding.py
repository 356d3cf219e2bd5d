"""How fast clips are decoded: in process, in a watched process, and by one ffmpeg process per clip.

    python benchmarks/decoding.py [VIDEO] [--clips 24]

Clips of 16 frames at 5 fps and 224 pixels, at random times. Each way is timed in turn, several rounds; the
table gives the median and its ratio to the first row. Without VIDEO a minute of moving noise at 640x360 is
written.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narravid.types import ClipSpec
from narravid.video.decode import decode_clips, probe
from narravid.video.encode import write_video
from narravid.video.watched import WatchedDecoder

SPEC = ClipSpec(num_frames=16, fps=5, size_pixels=224)
FILTERS = "fps=5,crop=w='min(iw,ih)':h='min(iw,ih)':x='(iw-min(iw,ih))/2':y='(ih-min(iw,ih))/2',scale=224:224"
ROUNDS = 5


def moving_noise(num_frames: int) -> Iterator[npt.NDArray[np.uint8]]:
    """A blurred random picture that slides by."""
    noise = np.random.default_rng(0).integers(0, 256, (45, 160, 3), dtype=np.uint8)
    picture = noise.repeat(8, axis=0).repeat(8, axis=1)
    for number in range(num_frames):
        yield np.roll(picture, (number, 3 * number), axis=(0, 1))[:, :640]


def by_program(path: Path, starts: list[float]) -> None:
    """The published way: one ffmpeg process for each clip."""
    for start in starts:
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-ss",
            f"{start:.3f}",
            "-t",
            "3.3",
            "-i",
            str(path),
            "-vf",
            FILTERS,
        ]
        subprocess.run(
            [*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True
        )


def one_by_one(path: Path, starts: list[float]) -> None:
    """Each clip opens the file, as in training."""
    for start in starts:
        next(decode_clips(path, [start], SPEC))


def in_one_pass(path: Path, starts: list[float]) -> None:
    """All clips of the file together, as in indexing and evaluation."""
    for _ in decode_clips(path, starts, SPEC):
        pass


def seconds_per_clip(way: Callable[[Path, list[float]], None], path: Path, starts: list[float]) -> float:
    """Seconds per clip of one round."""
    started = time.perf_counter()
    way(path, starts)
    return (time.perf_counter() - started) / len(starts)


def main() -> None:
    """Time every way and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path, nargs="?")
    parser.add_argument("--clips", type=int, default=24)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, WatchedDecoder() as watched:
        path: Path = options.video or Path(folder) / "noise.mp4"
        if options.video is None:
            write_video(path, moving_noise(1800), fps=30, preset="medium", keyframe_seconds=8.0)
        info = probe(path)
        last = max(0.0, info.duration_seconds - SPEC.duration_seconds)
        starts = np.random.default_rng(1).uniform(0, last, options.clips).tolist()

        def in_watched_process(path: Path, starts: list[float]) -> None:
            for _ in watched.clips(path, starts, SPEC):
                pass

        ways = {
            "ffmpeg process per clip": by_program,
            "in process, one by one": one_by_one,
            "in process, one pass": in_one_pass,
            "watched process, one pass": in_watched_process,
        }
        if shutil.which("ffmpeg") is None:
            print("no ffmpeg program here: its row is left out")
            del ways["ffmpeg process per clip"]
        in_watched_process(path, starts[:1])
        rounds = [
            {name: seconds_per_clip(way, path, starts) for name, way in ways.items()} for _ in range(ROUNDS)
        ]
    print(f"{path.name}: {info.width}x{info.height}, {info.fps:g} fps, {info.codec}, {options.clips} clips")
    medians = {name: statistics.median(times[name] for times in rounds) for name in ways}
    first = next(iter(medians.values()))
    for name, seconds in medians.items():
        print(f"{name:28} {1000 * seconds:8.1f} ms a clip   {first / seconds:5.2f} x")


if __name__ == "__main__":
    main()
