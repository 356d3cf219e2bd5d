"""Order, skipping, workers and bookkeeping of the loader."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from narravid.bad_items import TooManyBadItemsError
from narravid.batches import NarratedBatch
from narravid.data import drawing
from narravid.data.corpus import NarratedVideo
from narravid.data.drawing import NoUsableVideoError
from narravid.data.loader import load_batches
from narravid.data.loading_report import LoadingReport
from narravid.data.narrated import ClipSampling, NarratedDataset
from narravid.data.order import BatchOrder
from narravid.data.sources import ClipSource, FileClips, MemoryClips
from narravid.errors import DecodeError, NarravidError
from narravid.text.captions import Caption, CaptionTrack
from narravid.text.words import Vocabulary, WordTokenizer
from narravid.types import ClipSpec, Span
from narravid.video.encode import write_video
from narravid.video.transforms import Augmentation
from narravid.video.watched import WatchedDecoder
from watched_doubles import CrashedBy, is_alive

SPEC = ClipSpec(num_frames=4, fps=4.0, size_pixels=16)
WORDS = ["add", "cut", "fry", "mix", "stir"]
NUM_VIDEOS = 7
AUGMENTATION = Augmentation(flip_probability=0.5, brightness=0.2, shift_pixels=1)


TEST_FOLDERS = (Path(__file__).parent, Path(__file__).parent.parent)


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


def make_dataset(
    videos: list[NarratedVideo],
    source: ClipSource | None = None,
    augmentation: Augmentation = AUGMENTATION,
) -> NarratedDataset:
    return NarratedDataset(
        videos,
        source or MemoryClips([video.path for video in videos], SPEC),
        spec=SPEC,
        tokenizer=WordTokenizer(Vocabulary(WORDS), max_words=2, lower_case=True),
        sampling=ClipSampling(
            clips_per_video=2, num_candidates=2, min_caption_seconds=2.0, whole_seconds=False
        ),
        augmentation=augmentation,
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


def start(dataset: NarratedDataset, *, batch_size: int = 3, seed: int = 1, epoch: int = 0, **options):
    return load_batches(dataset, BatchOrder(len(dataset), batch_size, seed), epoch=epoch, **options)


def load(dataset: NarratedDataset, **options) -> list[NarratedBatch]:
    return list(start(dataset, **options))


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("narravid-loader")]


def test_an_epoch_visits_each_video_at_most_once_and_drops_the_incomplete_batch(dataset):
    batches = load(dataset)
    assert len(batches) == 2
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


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_workers_give_the_same_batches(corpus, num_workers):
    expected = load(make_dataset(corpus, FileClips()))
    with WatchedDecoder(num_workers) as decoder:
        watched = make_dataset(corpus, FileClips(decoder))
        for _ in range(2):  # the second epoch finds lengths measured and processes running
            assert batches_equal(load(watched, num_workers=num_workers), expected)
        assert 1 <= len(decoder.worker_pids) <= num_workers
        assert batches_equal(load(watched, num_workers=num_workers, start_batch=1), expected[1:])
    assert loader_threads() == []


def test_threads_read_from_memory_and_from_files_of_this_process_too(dataset, corpus):
    assert batches_equal(load(dataset, num_workers=2), load(dataset))
    files = make_dataset(corpus, FileClips())
    assert batches_equal(load(files, num_workers=2), load(files))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_without_a_cuda_device_asking_for_pinned_memory_changes_nothing(dataset, num_workers, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    batches = load(dataset, num_workers=num_workers, pin_memory=True)
    assert batches_equal(batches, load(dataset))
    assert not any(batch.clips.is_pinned() for batch in batches)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_for_a_cuda_device_lie_in_pinned_memory_and_arrive_whole(dataset, num_workers):
    batches = load(dataset, num_workers=num_workers, pin_memory=True)
    assert all(batch.clips.is_pinned() and batch.tokens.is_pinned() for batch in batches)
    assert batches_equal(batches, load(dataset))
    for batch in start(dataset, num_workers=num_workers, pin_memory=True):
        there = batch.to("cuda")
        torch.cuda.synchronize()
        assert torch.equal(there.clips.cpu(), batch.clips)
    assert not load(dataset)[0].clips.is_pinned()


@pytest.mark.parametrize("world_size", [2, 3])
def test_each_process_loads_its_stretch_of_the_same_global_batches(dataset, world_size):
    alone = load(dataset, batch_size=4)
    shares = [
        list(load_batches(dataset, BatchOrder(7, 4, 1, rank=rank, world_size=world_size), epoch=0))
        for rank in range(world_size)
    ]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert torch.equal(torch.cat([part.clips for part in parts]), whole.clips)
        assert torch.equal(torch.cat([part.tokens for part in parts]), whole.tokens)
        assert sum((part.video_ids for part in parts), ()) == whole.video_ids


class SlowClips(MemoryClips):
    """Counts what is read; reading a stuck file ends with `close` only, as a stalled one."""

    def __init__(self, paths: list[Path], *, stuck: frozenset[Path] = frozenset()) -> None:
        super().__init__(paths, SPEC)
        self.num_read = 0
        self.stuck = stuck
        self.closed = threading.Event()

    def read(self, path, start_seconds, spec, *, generator=None):
        self.num_read += 1
        if path in self.stuck:
            self.closed.wait(60)
            raise DecodeError(path, "no progress")
        return super().read(path, start_seconds, spec, generator=generator)

    def close(self) -> None:
        self.closed.set()


def test_only_a_few_batches_are_loaded_ahead(corpus):
    source = SlowClips([video.path for video in corpus])
    batches = start(make_dataset(corpus, source), batch_size=1, num_workers=2)
    next(batches)
    time.sleep(0.3)  # long enough for all seven
    assert source.num_read <= 2 * 3
    assert len(list(batches)) == 6
    assert source.num_read == 2 * 7


def test_a_loader_that_is_left_early_ends_its_threads_at_once(corpus):
    second = list(BatchOrder(len(corpus), 3, 1).batches(epoch=0))[1]
    stuck = frozenset(corpus[index].path for index in second)
    source = SlowClips([video.path for video in corpus], stuck=stuck)
    batches = start(make_dataset(corpus, source), batch_size=3, num_workers=2)
    next(batches)
    while source.num_read < 6 + 2:
        time.sleep(0.01)
    began = time.monotonic()
    batches.close()
    assert time.monotonic() - began < 30
    assert loader_threads() == []
    assert source.num_read == 6 + 2  # no other video was tried in place of those that were interrupted


def test_watched_processes_of_a_loader_that_is_left_early_are_gone(corpus):
    decoder = WatchedDecoder(2)
    batches = start(make_dataset(corpus, FileClips(decoder)), batch_size=1, num_workers=2)
    next(batches)
    pids = decoder.worker_pids
    batches.close()
    assert loader_threads() == []
    decoder.close()
    assert not any(is_alive(pid) for pid in pids)


class AskedLate(WatchedDecoder):
    """Requests for some videos come, as they may, when the decoder has just been closed."""

    def __init__(self, late: set[Path]) -> None:
        super().__init__(2)
        self.late = late
        self.is_waiting = threading.Event()
        self.was_closed = threading.Event()

    def _ask(self, path, request, data=None):
        if path in self.late:
            self.is_waiting.set()
            self.was_closed.wait(60)
        yield from super()._ask(path, request, data)

    def close(self) -> None:
        super().close()
        self.was_closed.set()


def test_a_process_that_is_asked_for_while_the_loader_is_left_is_gone_too(corpus):
    first = next(BatchOrder(len(corpus), 1, 1).batches(epoch=0))
    decoder = AskedLate({video.path for video in corpus} - {corpus[index].path for index in first})
    batches = start(make_dataset(corpus, FileClips(decoder)), batch_size=1, num_workers=2)
    next(batches)
    decoder.is_waiting.wait(60)
    batches.close()
    assert loader_threads() == []
    assert decoder.worker_pids == []


def test_whatever_goes_wrong_in_a_thread_arrives_and_leaves_nothing_behind(corpus):
    class Faulty(MemoryClips):
        def read(self, path, start_seconds, spec, *, generator=None):
            raise RuntimeError("a fault of the program")

    dataset = make_dataset(corpus, Faulty([video.path for video in corpus], SPEC))
    with pytest.raises(RuntimeError, match="a fault of the program"):
        load(dataset, num_workers=2)
    assert loader_threads() == []


def test_threads_of_the_loader_compute_on_one_core_each_and_others_as_before(dataset):
    seen = []

    class Watching(Augmentation):
        def apply(self, clip, generator):
            seen.append(torch.get_num_threads())
            return clip

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        watching = make_dataset(list(dataset.videos), dataset._source, augmentation=Watching())
        batches = start(watching, num_workers=2)
        next(batches)
        other = threading.Thread(target=lambda: seen.append(-torch.get_num_threads()))
        other.start()
        other.join()
        assert torch.get_num_threads() == 3
        list(batches)
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1, -3}


INTERRUPTED = """
import sys, threading
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_loader import make_dataset, start
from narravid.data.corpus import NarratedVideo
from narravid.data.sources import FileClips
from narravid.text.captions import Caption, CaptionTrack
from narravid.types import Span
from narravid.video.watched import WatchedDecoder

track = CaptionTrack((Caption("stir", Span(0.0, 3.0)),))
videos = [NarratedVideo(path, track, path.stem) for path in sorted(Path(sys.argv[1]).glob("v*.mp4"))]
decoder = WatchedDecoder(2)
dataset = make_dataset(videos, FileClips(decoder))
epoch = 0
try:
    while True:
        for batch in start(dataset, batch_size=1, epoch=epoch, num_workers=2):
            if epoch == 1:
                print(*decoder.worker_pids, flush=True)
        epoch += 1
finally:
    names = [thread.name for thread in threading.enumerate()]
    print("left", [name for name in names if name.startswith("narravid-loader")], flush=True)
"""


@pytest.mark.parametrize("deed", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_a_kill_leave_no_thread_and_no_process(corpus, deed):
    program = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(corpus[0].path.parent), *map(str, TEST_FOLDERS)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    pids = [int(word) for word in program.stdout.readline().split()]
    assert pids
    program.send_signal(deed)
    said, complaints = program.communicate(timeout=60)
    if deed == signal.SIGINT:
        assert "left []" in said
        assert "KeyboardInterrupt" in complaints
    deadline = time.monotonic() + 30
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(is_alive, pids))


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
        start(dataset, start_batch=start_batch)


def test_arguments_that_do_not_fit_are_refused_at_once(dataset):
    with pytest.raises(ValueError, match="the order is one of 6 items, the dataset has 7"):
        load_batches(dataset, BatchOrder(6, 3, 0), epoch=0)
    with pytest.raises(ValueError, match="num_workers must not be negative, got -1"):
        start(dataset, num_workers=-1)


def with_broken(corpus: list[NarratedVideo], folder: Path, num_good: int) -> list[NarratedVideo]:
    """The corpus over and over, `num_good` videos in all, and one that is no video."""
    path = folder / "broken.mp4"
    path.write_bytes(b"no video")
    good = [corpus[n % len(corpus)] for n in range(num_good)]
    return [*good, NarratedVideo(path, corpus[0].track, "broken")]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_video_is_replaced_counted_and_logged_once(corpus, tmp_path, caplog, num_workers):
    with WatchedDecoder() as decoder:
        source = FileClips(decoder if num_workers else None)
        dataset = make_dataset(with_broken(corpus, tmp_path, num_good=39), source)
        report = LoadingReport()
        with caplog.at_level(logging.WARNING, logger="narravid"):
            for epoch in range(2):
                batches = load(dataset, batch_size=4, epoch=epoch, num_workers=num_workers, report=report)
                assert len(batches) == 10
                assert all("broken" not in batch.video_ids for batch in batches)
    assert report.num_items == 80
    assert dict(report.bad.times) == {str(tmp_path / "broken.mp4"): 2}
    assert len(caplog.records) == 1
    assert "broken.mp4" in caplog.text
    assert "1 bad videos left out or replaced (1 x " in report.summary()


@pytest.mark.parametrize(
    ("deed", "reason"),
    [(signal.SIGKILL, "decoder crashed (signal 9)"), (signal.SIGSTOP, "no progress for 1 s")],
)
def test_a_file_that_takes_its_process_along_costs_one_file(corpus, tmp_path, deed, reason):
    videos = with_broken(corpus, tmp_path, num_good=39)
    deadly = videos[-1].path
    report = LoadingReport()
    with CrashedBy(deadly, num_workers=2, deed=deed) as decoder:
        batches = load(make_dataset(videos, FileClips(decoder)), batch_size=4, num_workers=2, report=report)
    assert len(batches) == 10
    assert report.bad.reasons == {str(deadly): reason}
    expected = load(make_dataset(videos, FileClips()), batch_size=4)  # where it is no video, and replaced so
    assert batches_equal(batches, expected)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_too_many_bad_videos_stop_the_run(corpus, tmp_path, num_workers):
    dataset = make_dataset(with_broken(corpus, tmp_path, num_good=7), FileClips())
    report = LoadingReport()
    with pytest.raises(TooManyBadItemsError, match=r"1 of 8 items .* bad, more than 5%.*broken\.mp4"):
        load(dataset, batch_size=8, num_workers=num_workers, report=report)
    assert list(report.bad.reasons) == [str(tmp_path / "broken.mp4")]
    assert len(load(dataset, batch_size=8, report=LoadingReport(max_bad_share=0.2))) == 1


def test_the_share_is_that_of_items_however_often_their_replacements_are_bad_too(corpus, tmp_path):
    names = ("first", "second", "third")
    for name in names:
        (tmp_path / f"{name}.mp4").write_bytes(b"no video")
    bad = [NarratedVideo(tmp_path / f"{name}.mp4", corpus[0].track, name) for name in names]
    half, more = make_dataset([*corpus[:2], *bad[:2]]), make_dataset([corpus[0], *bad])
    report = LoadingReport(max_bad_share=0.5)
    for epoch in range(20):
        load(half, batch_size=4, epoch=epoch, report=report)
    assert report.bad.num_met > 2 * 20  # a bad one stood in for a bad one now and then
    for seed in range(5):
        with pytest.raises(TooManyBadItemsError, match="^3 of 4 items met so far are bad, more than 50%"):
            load(more, batch_size=4, seed=seed, report=LoadingReport(max_bad_share=0.5))


@pytest.mark.parametrize("batch_size", [7, 19])
def test_an_archive_with_as_many_bad_videos_as_are_borne_is_trained_on(corpus, tmp_path, batch_size):
    dataset = make_dataset(with_broken(corpus, tmp_path, num_good=19), FileClips())
    report = LoadingReport()
    for epoch in range(4):
        load(dataset, batch_size=batch_size, epoch=epoch, report=report)
    assert report.bad.num_met > 0


def test_what_was_met_before_an_item_without_a_usable_video_is_reported_too(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "MAX_REPLACEMENTS", 2)
    bad = [tmp_path / f"{number}.mp4" for number in range(7)]
    for path in bad:
        path.write_bytes(b"no video")
    dataset = make_dataset([corpus[0], *(NarratedVideo(path, corpus[0].track, path.stem) for path in bad)])
    num_others = []
    for seed in range(10):
        report = LoadingReport(max_bad_share=1.0)
        with pytest.raises(NoUsableVideoError) as caught:
            load(dataset, batch_size=8, seed=seed, report=report)
        num_others.append(report.bad.num_met - len(caught.value.replaced))
    assert min(num_others) == 0  # the first item already
    assert max(num_others) > 0


def test_a_bad_video_that_an_epoch_bears_does_not_stop_it_when_resumed(corpus, tmp_path):
    dataset = make_dataset(with_broken(corpus, tmp_path, num_good=39), FileClips())
    place = np.random.default_rng([0, 0]).permutation(40).tolist().index(39)
    report = LoadingReport()
    load(dataset, batch_size=1, seed=0, start_batch=place, report=report)
    assert report.num_items == 40 - place < 20  # one of these alone would be more than 5 %
    assert report.bad.num_met >= 1


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_corpus_without_one_good_video_stops_with_one_clear_line(corpus, tmp_path, num_workers):
    dataset = make_dataset(with_broken(corpus, tmp_path, num_good=0), FileClips())
    report = LoadingReport()
    with pytest.raises(
        NarravidError, match=r"^none of 1 videos tried can be decoded; .*broken\.mp4"
    ) as caught:
        load(dataset, batch_size=1, num_workers=num_workers, report=report)
    assert "\n" not in str(caught.value)
    assert list(report.bad.reasons) == [str(tmp_path / "broken.mp4")]


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


def test_the_table_of_bad_videos_counts_what_other_processes_met(tmp_path):
    own, other = LoadingReport(table=tmp_path / "bad.csv"), LoadingReport()
    own.add_replaced("a.mp4", "cut short")
    for path in ("a.mp4", "b.mp4", "b.mp4"):
        other.add_replaced(path, "no video stream")
    own.write([other.state_dict()])
    assert (tmp_path / "bad.csv").read_text().splitlines()[1:] == [
        "a.mp4,cut short,2",
        "b.mp4,no video stream,2",
    ]
    assert own.bad.num_met == 1
