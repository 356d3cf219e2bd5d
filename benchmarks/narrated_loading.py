"""What a training clip costs before the network sees it: read from the file, or kept in memory.

    python benchmarks/narrated_loading.py [--videos 12] [--epochs 5] [--workers 1 2]

Prints microseconds per clip for batches of 16 videos with 4 clips each of 8 frames at 56 pixels (fewer videos
give smaller batches), and the ratio to reading the files in this process.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from narravid.data.corpus import NarratedVideo
from narravid.data.loader import load_batches
from narravid.data.narrated import ClipSampling, NarratedDataset
from narravid.data.order import BatchOrder
from narravid.data.sources import ClipSource, FileClips, MemoryClips
from narravid.text.captions import Caption, CaptionTrack
from narravid.text.words import Vocabulary, WordTokenizer
from narravid.types import ClipSpec, Span
from narravid.video.encode import write_video
from narravid.video.transforms import Augmentation
from narravid.video.watched import WatchedDecoder

SPEC = ClipSpec(num_frames=8, fps=5.0, size_pixels=56, frame_rule="shown_at")
WORDS = [f"word{number}" for number in range(60)]
SECONDS = 40


def draw_frames(seed: int) -> Iterator[np.ndarray]:
    """A square that moves over a coloured, noisy ground, 128 x 96 at 10 frames per second."""
    generator = np.random.default_rng(seed)
    ground = generator.integers(0, 256, (12, 16, 3)).repeat(8, axis=0).repeat(8, axis=1)
    for number in range(10 * SECONDS):
        frame = ground + generator.normal(0, 5, ground.shape)
        left = 2 * number % 96
        frame[30:60, left : left + 30] = (200, 30, 30)
        yield frame.clip(0, 255).astype(np.uint8)


def make_corpus(folder: Path, num_videos: int) -> list[NarratedVideo]:
    """Videos with a caption every four seconds."""
    captions = tuple(
        Caption(" ".join(WORDS[4 * n : 4 * n + 8]), Span(4.0 * n, 4.0 * n + 3)) for n in range(SECONDS // 4)
    )
    videos = []
    for number in range(num_videos):
        path = folder / f"video{number}.mp4"
        write_video(path, draw_frames(number), fps=10)
        videos.append(NarratedVideo(path, CaptionTrack(captions), path.stem))
    return videos


def microseconds_per_clip(
    videos: list[NarratedVideo],
    source: ClipSource,
    augmentation: Augmentation | None,
    *,
    num_epochs: int,
    num_workers: int,
) -> float:
    """Median over epochs, after one to warm up."""
    dataset = NarratedDataset(
        videos,
        source,
        spec=SPEC,
        tokenizer=WordTokenizer(Vocabulary(WORDS), max_words=16, lower_case=True),
        sampling=ClipSampling(clips_per_video=4, min_caption_seconds=4.0, whole_seconds=False),
        augmentation=augmentation,
    )
    order = BatchOrder(len(dataset), min(16, len(dataset)), seed=0)
    figures = []
    with closing(dataset):
        for epoch in range(num_epochs + 1):
            began = time.perf_counter()
            batches = load_batches(dataset, order, epoch=epoch, num_workers=num_workers)
            num_clips = sum(len(batch.clips) for batch in batches)
            figures.append(1e6 * (time.perf_counter() - began) / num_clips)
    return statistics.median(figures[1:])


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=12, help="videos to write (default 12)")
    parser.add_argument("--epochs", type=int, default=5, help="epochs to time (default 5)")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="watched processes (1 2)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        videos = make_corpus(Path(folder), options.videos)
        began = time.perf_counter()
        memory = MemoryClips([video.path for video in videos], SPEC)
        decoding_ms = 1e3 * (time.perf_counter() - began) / len(videos)
        augmentation = Augmentation(brightness=0.2, shift_pixels=4)
        ways: list[tuple[str, ClipSource, Augmentation | None, int]] = [
            ("from files, in this process", FileClips(), None, 0),
            *(
                (f"from files, {count} watched workers", FileClips(WatchedDecoder(count)), None, count)
                for count in options.workers
            ),
            ("from memory", memory, None, 0),
            ("from memory, shift, flip and brightness", memory, augmentation, 0),
        ]
        figures = [
            microseconds_per_clip(
                videos * max(1, 48 // len(videos)),
                source,
                change,
                num_epochs=options.epochs,
                num_workers=count,
            )
            for _, source, change, count in ways
        ]
    print(f"torch threads: {torch.get_num_threads()}; decoding into memory: {decoding_ms:.0f} ms a video")
    print(f"{'way':<42}{'us per clip':>12}{'ratio':>8}")
    for (name, *_), figure in zip(ways, figures, strict=True):
        print(f"{name:<42}{figure:>12.0f}{figures[0] / figure:>8.1f}")


if __name__ == "__main__":
    main()
