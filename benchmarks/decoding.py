"""How fast clips are decoded, against one ffmpeg process per clip, torchcodec and decord.

    python benchmarks/decoding.py [VIDEO ...] [--clips 24] [--rounds 5] [--folder FOLDER]

Random clips of 224 pixels, 16 frames at 5 fps and 32 at 10 fps. Without VIDEO two files of 120 s are written,
640x360 and 1280x720, with the default settings of x264: a key frame every 250 frames, B-frames; FOLDER keeps
them for the next run. Of each file a pack is made, as `narravid pack` makes it, and clips are read from its
shards. Every way takes its turn in every round; the table gives the median and its ratio to the ffmpeg
program, and whether the frames are the program's. Rows of libraries that are not installed are left out:
`pip install -e .[benchmark]` brings them (torchcodec also needs FFmpeg's libraries of the system).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from decoding_content import write_moving_textures
from decoding_packs import packed_ways
from decoding_ways import Frames, Way, ways_of_others
from narravid.types import ClipSpec
from narravid.video.decode import decode_clips, probe
from narravid.video.watched import WatchedDecoder

SIZES = ((640, 360), (1280, 720))
SPECS = (ClipSpec(16, 5.0, 224), ClipSpec(32, 10.0, 224))
VIDEO_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Case:
    """One table: a file, what a clip is, and where the clips start."""

    path: Path
    spec: ClipSpec
    starts: list[float]


def one_by_one(path: Path, starts: Sequence[float], spec: ClipSpec) -> Iterable[Frames]:
    """Each clip opens the file, as in training."""
    for start in starts:
        yield next(decode_clips(path, [start], spec)).frames.numpy()


def lone_process(path: Path, starts: Sequence[float], spec: ClipSpec) -> Iterable[Frames]:
    """The same with the threads that FFmpeg likes, for a process that has the machine to itself."""
    for start in starts:
        yield next(decode_clips(path, [start], spec, num_threads=0)).frames.numpy()


def in_one_pass(path: Path, starts: Sequence[float], spec: ClipSpec) -> Iterable[Frames]:
    """All clips of the file together, as in indexing and evaluation."""
    for clip in decode_clips(path, starts, spec):
        yield clip.frames.numpy()


def watched_clips(
    decoder: WatchedDecoder, path: Path, starts: Sequence[float], spec: ClipSpec
) -> Iterable[Frames]:
    """Each clip by itself, decoded in a watched process."""
    for start in starts:
        yield next(decoder.clips(path, [start], spec)).frames.numpy()


def two_watched(
    decoder: WatchedDecoder, path: Path, starts: Sequence[float], spec: ClipSpec
) -> Iterable[Frames]:
    """Each clip by itself, two processes at a time."""
    for _, clips in decoder.map([(path, [start]) for start in starts], spec):
        if isinstance(clips, Exception):
            raise clips
        yield clips[0].frames.numpy()


def own_ways(stack: ExitStack) -> list[Way]:
    """Narravid's ways of decoding clips out of the files."""
    one, two = stack.enter_context(WatchedDecoder()), stack.enter_context(WatchedDecoder(2))
    return [
        Way("in process, clip by clip", one_by_one),
        Way("  with all threads", lone_process),
        Way("in process, one pass", in_one_pass),
        Way("watched process, clip by clip", partial(watched_clips, one)),
        Way("two watched processes", partial(two_watched, two), at_a_time=2),
    ]


def seconds_per_clip(way: Way, case: Case) -> float:
    """Seconds per clip of one round."""
    started = time.perf_counter()
    for _ in way.clips(case.path, case.starts, case.spec):
        pass
    return (time.perf_counter() - started) / len(case.starts)


def difference(frames: list[Frames], reference: list[Frames]) -> str:
    """How frames differ from those of the program."""
    if any(ours.shape != theirs.shape for ours, theirs in zip(frames, reference, strict=True)):
        return "other frames"
    pairs = list(zip(frames, reference, strict=True))
    if all(np.array_equal(ours, theirs) for ours, theirs in pairs):
        return "identical"
    mean = statistics.fmean(
        float(np.abs(ours.astype(np.int16) - theirs).mean()) for ours, theirs in pairs if ours.size
    )
    return f"differ by {mean:.1f} of 255"


def compare(case: Case, ways: list[Way], num_rounds: int) -> bool:
    """Time every way and print the table; whether Narravid's frames are the program's."""
    frames = {way.name: list(way.clips(case.path, case.starts, case.spec)) for way in ways}
    reference = frames.get("ffmpeg process per clip")
    rounds = [{way.name: seconds_per_clip(way, case) for way in ways} for _ in range(num_rounds)]
    medians = {way.name: statistics.median(times[way.name] for times in rounds) for way in ways}
    # Ways that use two processes are held against two programs at a time.
    judges = {way.at_a_time: medians[way.name] for way in ways if way.is_judge}
    info = probe(case.path)
    print(f"\n{case.path.name}: {info.width}x{info.height}, {info.fps:g} fps, {info.codec}; ", end="")
    print(f"{case.spec.num_frames} frames at {case.spec.fps:g} fps, {len(case.starts)} clips")
    is_identical = True
    for way in ways:
        seconds = medians[way.name]
        judge = judges.get(way.at_a_time)
        ratio = "" if judge is None else f"{judge / seconds:5.2f} x"
        pixels = "" if reference is None else difference(frames[way.name], reference)
        print(f"{way.name:32} {1000 * seconds:8.1f} ms a clip  {ratio}  {pixels}")
        is_identical &= not way.is_ours or pixels in ("", "identical")
    return is_identical


def own_videos(folder: Path, seconds: float) -> list[Path]:
    """The files to decode where none are given; those that are there already are not written again."""
    paths = []
    for width, height in SIZES:
        path = folder / f"textures_{height}p_{seconds:g}s.mp4"
        if not path.exists():
            print(f"writing {path.name} ...", flush=True)
            write_moving_textures(path, width, height, seconds=seconds)
        paths.append(path)
    return paths


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", type=Path, nargs="*", metavar="VIDEO")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the written files are kept")
    parser.add_argument("--seconds", type=float, default=VIDEO_SECONDS, help="length of the written files")
    return parser.parse_args()


def main() -> None:
    """Time every way on every file and print the tables."""
    options = parse()
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        paths = options.videos or own_videos(options.folder or Path(temporary), options.seconds)
        ways = [*ways_of_others(stack), *own_ways(stack), *packed_ways(stack)]
        is_identical = True
        for path in paths:
            for spec in SPECS:
                last = max(0.0, probe(path).duration_seconds - spec.duration_seconds - 0.5)
                starts = np.random.default_rng(1).uniform(0, last, options.clips).round(3).tolist()
                is_identical &= compare(Case(path, spec, starts), ways, options.rounds)
    if not is_identical:
        raise SystemExit("frames differ from the ffmpeg program's")


if __name__ == "__main__":
    main()
