"""What the table of a large pack takes: bytes, time to open, and memory of the process that reads it.

    python benchmarks/pack_tables.py [--videos 61000] [--captions 111] [--segments 16]

Writes a table of made-up videos; the default is a twentieth of HowTo100M, 6.8 million captions. Then opens it
as training does and reads rows of random videos, each found by its path. Memory is what other processes
cannot share with this one (RssAnon of Linux); pages of the table itself belong to the system, which gives
them to all processes at once and takes them back when it needs room. Times are processor time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from narravid.data.pack_format import PackedSegment, PackedVideo
from narravid.data.pack_table import read_videos, write_videos
from narravid.text.captions import Caption, CaptionTrack
from narravid.types import Span

WORDS = ("stir", "the", "onions", "until", "they", "are", "golden", "and", "soft", "now")
CAPTION_SECONDS, SEGMENT_SECONDS = 4.0, 28.0
NUM_KEPT = 1000


def own_bytes() -> int:
    """Memory of this process that is no file's and no other process's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    raise SystemExit("this system does not say how much memory a process has (RssAnon)")


def made_up_captions(video: int, num_captions: int) -> tuple[Caption, ...]:
    """Captions of four words, as HowTo100M's are on average; no two objects are shared."""
    return tuple(
        Caption(
            " ".join(WORDS[(video + number + step) % len(WORDS)] for step in range(4)),
            Span(3.6 * number, 3.6 * number + CAPTION_SECONDS),
        )
        for number in range(num_captions)
    )


def made_up_videos(num_videos: int, num_captions: int, num_segments: int) -> Iterator[PackedVideo]:
    """Rows with names as long as those of HowTo100M."""
    for video in range(num_videos):
        yield PackedVideo(
            f"{video:011d}",
            f"{video:011d}.mp4",
            made_up_captions(video, num_captions),
            duration_seconds=3.6 * num_captions,
            segments=tuple(
                PackedSegment(
                    video // 64,
                    512,
                    1_500_000,
                    video,
                    SEGMENT_SECONDS * part,
                    SEGMENT_SECONDS * (part + 1),
                    0,
                )
                for part in range(num_segments)
            ),
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=61_000)
    parser.add_argument("--captions", type=int, default=111, help="of each video (default 111)")
    parser.add_argument("--segments", type=int, default=16, help="of each video (default 16)")
    parser.add_argument("--rows", type=int, default=2000, help="rows to read (default 2000)")
    options = parser.parse_args()
    num_captions = options.videos * options.captions
    before = own_bytes()
    tracks = [CaptionTrack(made_up_captions(video, options.captions)) for video in range(NUM_KEPT)]
    per_caption = (own_bytes() - before) / (len(tracks) * options.captions)
    del tracks
    print(f"captions in memory, as packing holds those of the whole archive: {per_caption:.0f} bytes each")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "videos.arrow"
        started = time.process_time()
        write_videos(path, made_up_videos(options.videos, options.captions, options.segments))
        size = path.stat().st_size
        print(f"{options.videos:,} videos, {num_captions:,} captions: written in", end=" ")
        print(f"{time.process_time() - started:.0f} s, {size / 1e6:,.0f} MB,", end=" ")
        print(f"{size / num_captions:.0f} bytes a caption")
        before = own_bytes()
        started = time.process_time()
        table = read_videos(path)
        opened = time.process_time()
        table.find("not there")
        indexed = time.process_time()
        for number in np.random.default_rng(0).integers(0, len(table), options.rows).tolist():
            index = table.find(f"{number:011d}.mp4")
            assert index is not None
            table.row(index)
        read = time.process_time()
        taken = own_bytes() - before
        print(
            f"opened in {1e3 * (opened - started):.0f} ms, paths indexed in {indexed - opened:.1f} s,",
            end=" ",
        )
        print(f"{1e6 * (read - indexed) / options.rows:.0f} us a row with its captions")
        print(f"memory of the process: {taken / 1e6:.0f} MB, {taken / options.videos:.0f} bytes a video")


if __name__ == "__main__":
    main()
