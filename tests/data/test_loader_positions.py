"""Any number of processes and threads, any position: the batches and the counts of one undisturbed epoch."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import islice
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from narravid.bad_items import BadItems
from narravid.batches import NarratedBatch
from narravid.data.corpus import NarratedVideo
from narravid.data.loader import load_batches
from narravid.data.loading_report import LoadingReport
from narravid.data.narrated import ClipSampling, NarratedDataset
from narravid.data.order import BatchOrder
from narravid.errors import DecodeError
from narravid.text.captions import Caption, CaptionTrack
from narravid.text.words import Vocabulary, WordTokenizer
from narravid.training.config import TrainingData
from narravid.types import Clip, ClipSpec, Span
from narravid.video.transforms import Augmentation

SPEC = ClipSpec(num_frames=2, fps=2.0, size_pixels=4)
WORDS = ["add", "cut", "fry"]
TRACK = CaptionTrack(tuple(Caption(word, Span(4.0 * n, 4.0 * n + 3.0)) for n, word in enumerate(WORDS)))
EXAMPLES = settings(max_examples=40, deadline=None)


class NumberedClips:
    """Frames that hold number and start of their video; the videos in `bad` cannot be decoded."""

    def __init__(self, bad: frozenset[int]) -> None:
        self.bad = bad

    def read(self, path, start_seconds, spec, *, generator=None) -> Clip:
        number = int(path.stem)
        if number in self.bad:
            raise DecodeError(path, "made to fail")
        frames = torch.full((spec.num_frames, spec.size_pixels, spec.size_pixels, 3), number)
        frames[..., 1] = int(start_seconds * 10)
        mask = torch.ones(spec.num_frames, dtype=torch.bool)
        return Clip(frames.to(torch.uint8), mask, Span(start_seconds, start_seconds + spec.duration_seconds))

    def duration_seconds(self, path) -> float:
        return 12.0

    def close(self) -> None:
        pass


def make_corpus(num_videos: int, bad: frozenset[int], *, clips_per_video: int) -> NarratedDataset:
    return NarratedDataset(
        [NarratedVideo(Path(f"{number}.mp4"), TRACK, f"v{number}") for number in range(num_videos)],
        NumberedClips(bad),
        spec=SPEC,
        tokenizer=WordTokenizer(Vocabulary(WORDS), max_words=1, lower_case=True),
        sampling=ClipSampling(clips_per_video=clips_per_video, num_candidates=2, whole_seconds=False),
        augmentation=Augmentation(brightness=0.5),
    )


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("narravid-loader")]


@st.composite
def corpora(draw) -> tuple[NarratedDataset, BatchOrder]:
    """A corpus of which up to half is bad, and the order of a single process."""
    num_videos = draw(st.integers(1, 12))
    bad = draw(st.frozensets(st.integers(0, num_videos - 1), max_size=num_videos // 2))
    dataset = make_corpus(num_videos, bad, clips_per_video=draw(st.integers(1, 2)))
    order = BatchOrder(num_videos, draw(st.integers(1, num_videos)), draw(st.integers(0, 99)))
    return dataset, order


NUM_WORKERS = st.sampled_from([0, 1, 3])
EPOCHS = st.integers(0, 3)


def content(batch: NarratedBatch) -> tuple[object, ...]:
    return batch.clips.tolist(), batch.tokens.tolist(), batch.video_ids, batch.start_seconds.tolist()


def joined(parts: tuple[NarratedBatch, ...]) -> NarratedBatch:
    return NarratedBatch(
        clips=torch.cat([part.clips for part in parts]),
        tokens=torch.cat([part.tokens for part in parts]),
        video_ids=sum((part.video_ids for part in parts), ()),
        start_seconds=torch.cat([part.start_seconds for part in parts]),
    )


def borne() -> LoadingReport:
    return LoadingReport(max_bad_share=1.0)


def counts(*reports: LoadingReport) -> tuple[object, ...]:
    """What was counted in all of them together."""
    times = sum((report.bad.times for report in reports), Counter[str]())
    return sum(report.num_items for report in reports), sum(report.num_clips for report in reports), times


@EXAMPLES
@given(corpora(), EPOCHS, NUM_WORKERS, st.data())
def test_processes_together_load_and_count_what_a_single_one_does(corpus, epoch, num_workers, data):
    dataset, order = corpus
    world_size = data.draw(st.integers(1, order.batch_size))
    start_batch = data.draw(st.integers(0, order.num_batches))
    alone = borne()
    whole = list(load_batches(dataset, order, epoch=epoch, report=alone))
    skipped = borne()
    list(islice(load_batches(dataset, order, epoch=epoch, report=skipped), start_batch))
    reports = [borne() for _ in range(world_size)]
    shares = [
        load_batches(
            dataset,
            BatchOrder(order.num_items, order.batch_size, order.seed, rank=rank, world_size=world_size),
            epoch=epoch,
            start_batch=start_batch,
            num_workers=num_workers,
            report=report,
        )
        for rank, report in enumerate(reports)
    ]
    together = [joined(parts) for parts in zip(*shares, strict=True)]
    assert list(map(content, together)) == list(map(content, whole[start_batch:]))
    assert counts(skipped, *reports) == counts(alone)


@EXAMPLES
@given(corpora(), NUM_WORKERS, st.data())
def test_a_run_cut_anywhere_goes_on_with_the_same_batches_and_counts(corpus, num_workers, data):
    dataset, order = corpus
    num_steps = 3 * order.num_batches
    cut = data.draw(st.integers(0, num_steps))

    def run(report: LoadingReport, num_workers: int) -> TrainingData[NarratedBatch]:
        def batches(epoch: int, start_batch: int):
            return load_batches(
                dataset,
                order,
                epoch=epoch,
                start_batch=start_batch,
                num_workers=num_workers,
                report=report,
            )

        return TrainingData(batches, order.num_batches, report)

    whole, first, second = borne(), borne(), borne()
    expected = list(islice(run(whole, 0).stream(0), num_steps))
    before = list(islice(run(first, num_workers).stream(0), cut))
    second.load_state_dict(first.state_dict())  # what was loaded ahead is not in it
    after = list(islice(run(second, num_workers).stream(cut), num_steps - cut))
    assert list(map(content, before + after)) == list(map(content, expected))
    assert counts(second) == counts(whole)
    assert second.state_dict() == whole.state_dict()


def test_a_run_has_the_threads_of_one_epoch_and_none_when_it_is_closed():
    dataset = make_corpus(6, frozenset(), clips_per_video=1)
    order = BatchOrder(6, 2, 0)

    def batches(epoch: int, start_batch: int):
        return load_batches(dataset, order, epoch=epoch, start_batch=start_batch, num_workers=2)

    run = TrainingData(batches, order.num_batches).stream(1)
    for _ in range(5):  # over the ends of two epochs
        next(run)
        assert len(loader_threads()) == 2
    run.close()
    assert loader_threads() == []


def test_kept_counts_replace_those_of_the_same_video_and_leave_others():
    kept = LoadingReport(num_items=5, num_clips=10, num_padded_clips=1, bad=BadItems())
    for _ in range(3):
        kept.add_replaced("a.mp4", "cut short")
    report = LoadingReport(num_items=99)
    report.bad.add("a.mp4", "no transcript")
    report.bad.add("b.mp4", "no transcript")
    report.load_state_dict(kept.state_dict())
    assert (report.num_items, report.num_clips, report.num_padded_clips) == (5, 10, 1)
    assert report.bad.reasons == {"a.mp4": "cut short", "b.mp4": "no transcript"}
    assert report.bad.times == {"a.mp4": 3, "b.mp4": 1}


def test_a_report_with_a_table_writes_it(tmp_path):
    LoadingReport().write()
    report = LoadingReport(table=tmp_path / "bad.csv")
    report.add_replaced("a.mp4", "cut short")
    report.write()
    assert BadItems.read(tmp_path / "bad.csv") == report.bad
