"""Order, skipping, workers and bookkeeping of the loader."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from fd_watching_source import FdWatchingClips
from narravid.data.corpus import NarratedVideo
from narravid.data.loader import LoadingReport, narrated_loader, num_batches
from narravid.data.narrated import ClipSampling, NarratedDataset
from narravid.data.sources import ClipSource, FileClips, MemoryClips
from narravid.errors import NarravidError
from narravid.text.captions import Caption, CaptionTrack
from narravid.text.words import Vocabulary, WordTokenizer
from narravid.types import ClipSpec, NarratedBatch, Span
from narravid.video.decode_source import VideoSource
from narravid.video.encode import write_video
from narravid.video.transforms import Augmentation

SPEC = ClipSpec(num_frames=4, fps=4.0, size_pixels=16)
WORDS = ["add", "cut", "fry", "mix", "stir"]
NUM_VIDEOS = 7


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[NarratedVideo]:
    """Seven videos of four seconds with a caption each second."""
    folder = tmp_path_factory.mktemp("corpus")
    pixels = np.random.default_rng(5)
    captions = tuple(Caption(word, Span(float(n), n + 1.0)) for n, word in enumerate(WORDS[:4]))
    videos = []
    for number in range(NUM_VIDEOS):
        path = folder / f"v{number}.mp4"
        coarse = pixels.integers(0, 256, (32, 3, 4, 3), np.uint8)
        write_video(path, iter(coarse.repeat(8, axis=1).repeat(8, axis=2)), fps=8, crf=30)
        videos.append(NarratedVideo(path, CaptionTrack(captions), f"v{number}"))
    return videos


def make_dataset(videos: list[NarratedVideo], source: ClipSource | None = None) -> NarratedDataset:
    return NarratedDataset(
        videos,
        source or MemoryClips([video.path for video in videos], SPEC),
        spec=SPEC,
        tokenizer=WordTokenizer(Vocabulary(WORDS), max_words=2, lower_case=True),
        sampling=ClipSampling(
            clips_per_video=2, num_candidates=2, min_caption_seconds=2.0, whole_seconds=False
        ),
        augmentation=Augmentation(flip_probability=0.5, brightness=0.2, shift_pixels=1),
    )


@pytest.fixture(scope="module")
def dataset(corpus) -> NarratedDataset:
    return make_dataset(corpus)


def batches_equal(first: list[NarratedBatch], second: list[NarratedBatch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.clips, b.clips)
        and a.clips.stride() == b.clips.stride()
        and torch.equal(a.tokens, b.tokens)
        and a.video_ids == b.video_ids
        and torch.equal(a.start_seconds, b.start_seconds)
        for a, b in zip(first, second, strict=True)
    )


def load(dataset: NarratedDataset, **options) -> list[NarratedBatch]:
    return list(narrated_loader(dataset, **{"batch_size": 3, "seed": 1, "epoch": 0} | options))


def test_an_epoch_visits_each_video_at_most_once_and_drops_the_incomplete_batch(dataset):
    batches = load(dataset)
    assert len(batches) == num_batches(dataset, 3) == 2
    for batch in batches:
        assert batch.clips.shape == (6, 3, 4, 16, 16)
        assert batch.clips.is_contiguous(memory_format=torch.channels_last_3d)
        assert batch.tokens.shape == (6, 2, 2)
        assert batch.video_ids[::2] == batch.video_ids[1::2]
    visited = [name for batch in batches for name in batch.video_ids[::2]]
    assert len(set(visited)) == len(visited) == 6


def test_every_video_is_visited_over_the_epochs(dataset):
    counts = Counter(
        name for epoch in range(20) for batch in load(dataset, epoch=epoch) for name in batch.video_ids[::2]
    )
    assert len(counts) == NUM_VIDEOS
    assert sum(counts.values()) == 120


def test_order_and_draws_come_from_seed_and_epoch(dataset):
    assert batches_equal(load(dataset), load(dataset))
    orders = [
        tuple(name for batch in load(dataset, seed=seed, epoch=epoch) for name in batch.video_ids)
        for seed, epoch in [(1, 0), (1, 1), (2, 0), (0, 1)]
    ]
    assert len(set(orders)) == 4


@pytest.mark.parametrize("start_batch", [0, 1, 2])
def test_a_start_batch_continues_the_same_epoch_without_reading_what_came_before(dataset, start_batch):
    report = LoadingReport()
    rest = load(dataset, start_batch=start_batch, report=report)
    assert batches_equal(rest, load(dataset)[start_batch:])
    assert report.num_items == 3 * (2 - start_batch)


@pytest.mark.parametrize("num_workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_workers_give_the_same_batches(corpus, num_workers):
    files = make_dataset(corpus, FileClips())
    files[1, 0, 0]  # this process has decoded, which must not matter to the workers
    assert batches_equal(load(files, num_workers=num_workers), load(files))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="lists open files as Linux does")
def test_workers_hold_no_container_of_this_process(corpus):
    watched = make_dataset(corpus, FdWatchingClips())
    with VideoSource(corpus[0].path):
        with pytest.raises(RuntimeError, match=r"holds .*v0\.mp4"):
            load(watched, num_workers=0)
        from_worker = load(watched, num_workers=1)
    assert batches_equal(from_worker, load(watched))


@pytest.mark.slow
def test_a_dataset_in_memory_can_go_to_workers(dataset):
    assert batches_equal(load(dataset, num_workers=1, start_batch=1), load(dataset, start_batch=1))


def test_loading_leaves_the_global_random_states_alone(dataset):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    load(dataset)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()


@pytest.mark.parametrize("batch_size", [0, 8])
def test_a_batch_size_that_does_not_fit_is_refused(dataset, batch_size):
    with pytest.raises(ValueError, match=f"between 1 and the number of videos, 7, got {batch_size}"):
        load(dataset, batch_size=batch_size)


@pytest.mark.parametrize("start_batch", [-1, 3])
def test_a_start_batch_outside_the_epoch_is_refused_at_once(dataset, start_batch):
    with pytest.raises(ValueError, match=r"start_batch must be in \[0, 2\]"):
        narrated_loader(dataset, batch_size=3, seed=0, epoch=0, start_batch=start_batch)


def with_broken(corpus: list[NarratedVideo], folder: Path, num_good: int) -> list[NarratedVideo]:
    """The corpus over and over, `num_good` videos in all, and one that is no video."""
    path = folder / "broken.mp4"
    path.write_bytes(b"no video")
    good = [corpus[n % len(corpus)] for n in range(num_good)]
    return [*good, NarratedVideo(path, corpus[0].track, "broken")]


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_bad_video_is_replaced_counted_and_logged_once(corpus, tmp_path, caplog, num_workers):
    dataset = make_dataset(with_broken(corpus, tmp_path, num_good=39), FileClips())
    report = LoadingReport()
    with caplog.at_level(logging.WARNING, logger="narravid"):
        for epoch in range(2 if num_workers == 0 else 1):
            batches = load(dataset, batch_size=4, epoch=epoch, num_workers=num_workers, report=report)
            assert len(batches) == 10
            assert all("broken" not in batch.video_ids for batch in batches)
    num_epochs = report.num_items // 40
    assert report.num_replaced == num_epochs
    assert list(report.paths) == [str(tmp_path / "broken.mp4")]
    assert len(caplog.records) == 1
    assert "broken.mp4" in caplog.text
    assert f"1 bad videos replaced ({num_epochs} x " in report.summary()


def test_too_many_bad_videos_stop_the_run(corpus, tmp_path):
    dataset = make_dataset(with_broken(corpus, tmp_path, num_good=7), FileClips())
    with pytest.raises(NarravidError, match=r"1 bad videos met in 8 items, more than 5%.*broken\.mp4"):
        load(dataset, batch_size=8)


def test_a_bad_video_that_an_epoch_bears_does_not_stop_it_when_resumed(corpus, tmp_path):
    dataset = make_dataset(with_broken(corpus, tmp_path, num_good=39), FileClips())
    place = np.random.default_rng([0, 0]).permutation(40).tolist().index(39)
    report = LoadingReport()
    load(dataset, batch_size=1, seed=0, start_batch=place, report=report)
    assert report.num_items == 40 - place < 20  # one of these alone would be more than 5 %
    assert report.num_replaced >= 1


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_corpus_without_one_good_video_stops_with_one_clear_line(corpus, tmp_path, num_workers):
    dataset = make_dataset(with_broken(corpus, tmp_path, num_good=0), FileClips())
    with pytest.raises(
        NarravidError, match=r"^none of 1 videos tried can be decoded; .*broken\.mp4"
    ) as caught:
        load(dataset, batch_size=1, num_workers=num_workers)
    assert "\n" not in str(caught.value)


def test_the_report_counts_clips_and_padding(corpus):
    short = ClipSpec(num_frames=20, fps=4.0, size_pixels=16)  # five seconds of a video of four
    dataset = NarratedDataset(
        corpus,
        MemoryClips([video.path for video in corpus], short),
        spec=short,
        tokenizer=WordTokenizer(Vocabulary(WORDS), max_words=2, lower_case=True),
        sampling=ClipSampling(clips_per_video=3),
    )
    report = LoadingReport()
    load(dataset, report=report)
    assert (report.num_items, report.num_clips, report.num_padded_clips) == (6, 18, 18)
    assert (
        report.summary() == "drew 18 clips in 6 visits to videos; 18 clips padded at the end of their video"
    )
