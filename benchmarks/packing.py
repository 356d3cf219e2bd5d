"""What packing costs and gives: processor time, bytes, clip reads, and how far the pixels are changed.

    python benchmarks/packing.py [--folder ROOT] [--videos 4] [--seconds 60] [--workers 1 2]
        [--crf 0 18 20 23] [--keyframe-seconds 0.5 1 2] [--lossless] [--clips 48] [--rounds 5]

Packs narrated videos of moving textures, 640x360 and then 1280x720; or with --folder those of an archive of
your own, with captions beside the videos. First with the defaults of `narravid pack` and each number of
workers, then with every crf at the default distance of key frames, and every distance at the default crf.
Clips of 224 pixels, 16 frames at 5 fps and 32 at 10 fps, are read from every pack in turn in every round, in
this process; the table gives medians.

All costs are processor time, which says what a core does in an hour also where others work on the machine;
hours of video an hour are by the clock. Pixels are held against those of the same clips of the files; scaling
to the pack's short side changes them too, which the row of crf 0, without loss after scaling, shows alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from decoding_content import write_moving_textures
from narravid.data.corpus import FoundVideos, NarratedVideo, find_narrated_videos
from narravid.data.pack_format import PackInfo, PackSettings
from narravid.data.packed_clips import PackedClips
from narravid.data.packing import pack_archive
from narravid.data.packs import open_pack
from narravid.data.sources import ClipSource, FileClips
from narravid.text.captions import Caption, CaptionTrack
from narravid.types import ClipSpec, Span
from narravid.video.decode import probe

SIZES = ((640, 360), (1280, 720))
SPECS = (ClipSpec(16, 5.0, 224), ClipSpec(32, 10.0, 224))
CAPTION_SECONDS, PAUSE_SECONDS = 4.0, 1.0


@dataclass(frozen=True, slots=True)
class Archive:
    """Narrated videos below a folder."""

    name: str
    root: Path
    found: FoundVideos


@dataclass(frozen=True, slots=True)
class Made:
    """A pack, and how long it took, by the clock and of all cores."""

    name: str
    folder: Path
    info: PackInfo
    seconds: float
    core_seconds: float

    @property
    def bytes_per_second(self) -> float:
        """Of video that it holds, not of the whole videos."""
        return sum(self.info.shard_bytes) / self.info.segment_seconds


def generated_archive(folder: Path, width: int, height: int, *, num_videos: int, seconds: float) -> Archive:
    """Videos of moving textures, said over all the time; copies of one file, which cost as much as others."""
    root = folder / f"{width}x{height}"
    root.mkdir()
    starts = np.arange(0.0, seconds, CAPTION_SECONDS + PAUSE_SECONDS).tolist()
    captions = [
        Caption("what is said", Span(start, min(start + CAPTION_SECONDS, seconds))) for start in starts
    ]
    first = root / "video0.mp4"
    print(f"writing {num_videos} videos of {width}x{height} and {seconds:g} s ...", flush=True)
    write_moving_textures(first, width, height, seconds=seconds)
    paths = [first, *(root / f"video{number}.mp4" for number in range(1, num_videos))]
    for path in paths[1:]:
        shutil.copy(first, path)
    videos = [NarratedVideo(path, CaptionTrack(tuple(captions)), path.stem) for path in paths]
    return Archive(root.name, root, FoundVideos(videos, []))


def core_seconds() -> float:
    """Processor time of this process so far, and of those that it started and that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def make_pack(archive: Archive, folder: Path, name: str, *, settings: PackSettings, num_workers: int) -> Made:
    """Pack an archive, and time it."""
    started, cores_started = time.perf_counter(), core_seconds()
    pack_archive(
        archive.found, archive.root, folder, settings=settings, num_workers=num_workers, max_bad_share=1.0
    )
    seconds, cores = time.perf_counter() - started, core_seconds() - cores_started
    return Made(name, folder, open_pack(folder).info, seconds, cores)


def drawn_clips(archive: Archive, num_clips: int) -> list[tuple[Path, float]]:
    """(video below the root, start) of clips that begin with captions, each as likely."""
    candidates = [
        (video.path.relative_to(archive.root), caption.span.start_seconds)
        for video in archive.found.videos
        for caption in video.track
        if caption.span.start_seconds + SPECS[0].duration_seconds < probe(video.path).duration_seconds
    ]
    drawn = np.random.default_rng(0).choice(len(candidates), num_clips)
    return [candidates[number] for number in drawn]


def milliseconds_per_clip(source: ClipSource, clips: Sequence[tuple[Path, float]], spec: ClipSpec) -> float:
    """Of one round."""
    started = time.process_time()
    for path, start in clips:
        source.read(path, start, spec)
    return 1e3 * (time.process_time() - started) / len(clips)


def mean_difference(
    packed: ClipSource, files: ClipSource, root: Path, *, clips: Sequence[tuple[Path, float]]
) -> float:
    """Mean absolute difference of pixels, of 255."""
    differences = []
    for path, start in clips:
        ours, theirs = packed.read(path, start, SPECS[0]), files.read(root / path, start, SPECS[0])
        differences.append(np.abs(ours.frames.numpy().astype(np.int16) - theirs.frames.numpy()).mean())
    return statistics.fmean(differences)


def print_reads(archive: Archive, packs: Sequence[Made], *, num_clips: int, num_rounds: int) -> None:
    """The table: what a pack of each setting takes, and what its clips cost."""
    clips = drawn_clips(archive, num_clips)
    files = FileClips()
    file_clips = [(archive.root / path, start) for path, start in clips]
    sources: dict[str, ClipSource] = {made.name: PackedClips(open_pack(made.folder)) for made in packs}
    figures: dict[tuple[str, int], list[float]] = {}
    for _, (number, spec) in itertools.product(range(num_rounds), enumerate(SPECS)):
        figures.setdefault(("files", number), []).append(milliseconds_per_clip(files, file_clips, spec))
        for name, source in sources.items():
            figures.setdefault((name, number), []).append(milliseconds_per_clip(source, clips, spec))
    medians = {key: statistics.median(values) for key, values in figures.items()}
    file_bytes = sum(video.path.stat().st_size for video in archive.found.videos)
    file_rate = file_bytes / packs[0].info.video_seconds
    frames = [f"{spec.num_frames} frames" for spec in SPECS]
    print_row("", "core s/s", "kB/s held", "of file", *frames, "change")
    reads = [f"{medians['files', number]:.1f} ms" for number in range(len(SPECS))]
    print_row("files", "", f"{file_rate / 1e3:.1f}", "100%", *reads, "0.00")
    for made in packs:
        reads = [f"{medians[made.name, number]:.1f} ms" for number in range(len(SPECS))]
        change = mean_difference(sources[made.name], files, archive.root, clips=clips)
        print_row(
            made.name,
            f"{made.core_seconds / made.info.segment_seconds:.2f}",
            f"{made.bytes_per_second / 1e3:.1f}",
            f"{made.bytes_per_second / file_rate:.0%}",
            *reads,
            f"{change:.2f}",
        )


def print_row(name: str, *cells: str) -> None:
    """One line of the table."""
    print(f"{name:28}", *(f"{cell:>10}" for cell in cells), flush=True)


def varied_settings(options: argparse.Namespace) -> dict[str, PackSettings]:
    """The settings to try, by name; the defaults are in the middle."""
    default = PackSettings()
    crfs = [dataclasses.replace(default, crf=crf) for crf in options.crf]
    distances = [
        dataclasses.replace(default, keyframe_seconds=seconds) for seconds in options.keyframe_seconds
    ]
    named = {
        f"crf {settings.crf}, key frames {settings.keyframe_seconds:g} s": settings
        for settings in [*crfs, *distances]
    }
    if options.lossless:
        named["lossless"] = dataclasses.replace(default, lossless=True, short_side_pixels=None)
    return named


def measure(archive: Archive, folder: Path, options: argparse.Namespace) -> None:
    """Pack an archive in every way, and print what came of it."""
    default = PackSettings()
    for count in options.workers:
        made = make_pack(archive, folder / f"{archive.name}-{count}", "", settings=default, num_workers=count)
        info = made.info
        rate = info.video_seconds / made.seconds
        print(
            f"{archive.name}: {info.num_videos - info.num_bad_videos} videos, {info.video_seconds:.0f} s,"
            f" {info.segment_seconds:.0f} s held, {count} workers: {rate:.1f} h of video an hour,"
            f" {made.core_seconds / info.segment_seconds:.2f} core seconds for a second held",
            flush=True,
        )
    packs = [
        make_pack(
            archive,
            folder / f"{archive.name}-{name}",
            name,
            settings=settings,
            num_workers=max(options.workers),
        )
        for name, settings in varied_settings(options).items()
    ]
    print_reads(archive, packs, num_clips=options.clips, num_rounds=options.rounds)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="archive to pack in place of the generated ones")
    parser.add_argument("--videos", type=int, default=4, help="generated videos of each size (default 4)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each (default 60)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--crf", type=int, nargs="+", default=[0, 18, 20, 23])
    parser.add_argument("--keyframe-seconds", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    parser.add_argument("--lossless", action="store_true", help="also pack without any loss")
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    """Measure every archive."""
    options = parse()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.folder is not None:
            root = options.folder.resolve()
            measure(Archive(root.name, root, find_narrated_videos(root)), folder, options)
            return
        for width, height in SIZES:
            archive = generated_archive(
                folder, width, height, num_videos=options.videos, seconds=options.seconds
            )
            measure(archive, folder, options)


if __name__ == "__main__":
    main()
