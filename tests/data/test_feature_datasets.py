"""Data sets of features: items by hand, the same from the same key, bad ones replaced, batches in order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from narravid.bad_items import TooManyBadItemsError
from narravid.data.drawing import NoUsableVideoError
from narravid.data.feature_clips import (
    FeaturePair,
    FeaturePairsDataset,
    MergedSampling,
    NarratedFeaturesDataset,
)
from narravid.data.feature_corpus import FeaturedVideo, find_featured_videos
from narravid.data.feature_files import FeatureFolder, FolderTracks, MemoryTracks
from narravid.data.feature_windows import WindowSampling, WindowsDataset
from narravid.data.featured import FeatureTrack
from narravid.data.loader import load_batches
from narravid.data.loading_report import LoadingReport
from narravid.data.order import BatchOrder
from narravid.errors import AnnotationError
from narravid.text.captions import Caption, CaptionTrack
from narravid.text.words import Vocabulary, WordTokenizer
from narravid.types import Span
from narravid.video.durations import DurationLimits
from small_features import write_features

WORDS = WordTokenizer(Vocabulary(["red", "green", "blue"]), max_words=3, lower_case=True)
KEPT = WordTokenizer(Vocabulary(["red", "green", "blue"]), max_words=3, lower_case=True, unknown="keep")


def captions(*rows: tuple[float, float, str]) -> CaptionTrack:
    return CaptionTrack(tuple(Caption(text, Span(start, end)) for start, end, text in rows))


def rising(num_steps: int, rate: float = 1.0) -> FeatureTrack:
    """Features (n, 1) that count the steps."""
    return FeatureTrack(torch.stack([torch.arange(num_steps), torch.ones(num_steps)], dim=1).half(), rate)


# ---------------------------------------------------------------- narrated videos


def test_a_clip_is_the_largest_features_of_its_merged_captions():
    track = captions((0, 2, "red"), (2, 4, "green green"), (6, 7, "blue"))
    tracks = MemoryTracks({"v": (rising(9), rising(13, 1.5))})
    dataset = NarratedFeaturesDataset(
        [FeaturedVideo("id", "v", track)],
        tracks,
        tokenizer=WORDS,
        sampling=MergedSampling(pairs_per_video=8, min_seconds=3.0),
    )
    item = dataset[0, 0, 0]
    assert (item.features.shape, item.tokens.shape, item.num_clips) == ((8, 4), (8, 1, 3), 8)
    # Each caption is shorter than 3 s: the first two are joined either way, the third takes its neighbour.
    spans = {(1, 2, 2): (4, 6), (2, 2, 1): (4, 6), (3, 2, 2): (7, 10)}
    seen = set()
    for features, tokens in zip(item.features, item.tokens[:, 0].tolist(), strict=True):
        second, step = spans[tuple(tokens)]
        expected = torch.cat(
            [
                torch.nn.functional.normalize(torch.tensor([float(value), 1.0]), dim=0)
                for value in (second, step)
            ]
        )
        torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-3)
        seen.add(tuple(tokens))
    assert len(seen) >= 2
    batch = dataset.collate([item, item])
    assert batch.video_ids == ("id",) * 16
    again = dataset[0, 0, 0]
    assert torch.equal(again.tokens, item.tokens)
    assert not torch.equal(dataset[0, 1, 0].tokens, item.tokens) or not torch.equal(
        dataset[1, 0, 0].tokens, item.tokens
    )


def test_pairs_give_the_features_of_their_span():
    tracks = MemoryTracks({"v": (rising(9), rising(13, 1.5))})
    pairs = [FeaturePair("v", "red", Span(1, 2)), FeaturePair("v", "blue")]
    dataset = FeaturePairsDataset(pairs, tracks, tokenizer=WORDS)
    first, second = dataset[0, 0, 0], dataset[0, 0, 1]
    assert first.features[0, 0] / first.features[0, 1] == pytest.approx(2, rel=1e-3)
    assert first.features[0, 2] / first.features[0, 3] == pytest.approx(3, rel=1e-3)
    assert second.features[0, 0] / second.features[0, 1] == pytest.approx(8, rel=1e-3)
    assert second.features[0, 2] / second.features[0, 3] == pytest.approx(12, rel=1e-3)
    assert second.tokens.tolist() == [[[3, 0, 0]]]


# ---------------------------------------------------------------- windows


def test_a_window_has_its_sentences_and_their_seconds():
    track = captions((2, 4, "red um"), (5, 6, "what"), (7, 9, "blue"), (30, 31, "green"))
    dataset = WindowsDataset(
        [FeaturedVideo("id", "v", track)],
        MemoryTracks({"v": (rising(40),)}),
        tokenizer=KEPT,
        sampling=WindowSampling(window_seconds=6, rule="complete"),
    )
    windows = [dataset[0, epoch, 0] for epoch in range(12)]
    starts = {int(window.features[0, 0]) for window in windows}
    assert starts <= {2, 5, 7}
    first = next(window for window in windows if window.features[0, 0] == 2)
    # "what" has no known word and is passed over; "blue" begins after five of the six seconds.
    assert first.tokens.tolist() == [[1, 0, 0], [3, 0, 0]]
    assert first.positives.tolist() == [[True, True] + [False] * 4, [False] * 5 + [True]]
    torch.testing.assert_close(first.text_positions, torch.tensor([[2 / 40, 4 / 40], [7 / 40, 8 / 40]]))
    assert first.feature_mask.all()


def test_windows_without_sentences_and_short_videos_are_padded():
    talk = FeaturedVideo("a", "long", captions((1, 3, "red"), (3, 5, "green"), (9, 10, "blue")))
    mute = FeaturedVideo("b", "short", captions((0, 2, "unknown words")))
    dataset = WindowsDataset(
        [talk, mute],
        MemoryTracks({"long": (rising(20),), "short": (rising(3),)}),
        tokenizer=KEPT,
        sampling=WindowSampling(window_seconds=8, rule="complete"),
    )
    items = [dataset[0, 0, 0], dataset[0, 0, 1]]
    batch = dataset.collate(items)
    assert batch.features.shape == (2, 8, 2)
    assert batch.feature_mask[1].tolist() == [True] * 3 + [False] * 5
    assert batch.features[1, :, 0].tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
    assert batch.text_mask[0].all()
    assert not batch.text_mask[1].any()
    assert not batch.positives[1].any()
    alone = dataset.collate(items[1:])
    assert alone.tokens.shape == (1, 1, 3)
    published = WindowsDataset(
        [mute],
        MemoryTracks({"short": (rising(3),)}),
        tokenizer=KEPT,
        sampling=WindowSampling(window_seconds=8),
    )
    made_up = published[0, 0, 0]
    assert made_up.positives.tolist() == [[True] * 8]
    assert made_up.text_positions.tolist() == [[0.0, 1.0]]


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="window_seconds must be at least 1"):
        WindowSampling(window_seconds=0)
    with pytest.raises(ValueError, match="rule must be"):
        WindowSampling(rule="other")
    with pytest.raises(ValueError, match="pairs_per_video must be at least 1"):
        MergedSampling(pairs_per_video=0)
    with pytest.raises(ValueError, match="min_seconds must be at least 0"):
        MergedSampling(min_seconds=float("nan"))
    for build in (
        lambda: NarratedFeaturesDataset([], MemoryTracks({}), tokenizer=WORDS, sampling=MergedSampling()),
        lambda: FeaturePairsDataset([], MemoryTracks({}), tokenizer=WORDS),
        lambda: WindowsDataset([], MemoryTracks({}), tokenizer=WORDS, sampling=WindowSampling()),
    ):
        with pytest.raises(ValueError, match="at least one"):
            build()


# ---------------------------------------------------------------- loading


def pairs_dataset(num_pairs: int = 10, *, absent: tuple[int, ...] = ()) -> FeaturePairsDataset:
    names = [f"v{number}" for number in range(num_pairs)]
    tracks = {
        name: (FeatureTrack(torch.tensor([[float(number), 1.0]]), 1.0),)
        for number, name in enumerate(names)
        if number not in absent
    }
    return FeaturePairsDataset(
        [FeaturePair(name, "red") for name in names], MemoryTracks(tracks), tokenizer=WORDS
    )


def names_of(batches):
    return [batch.video_ids for batch in batches]


def test_batches_come_in_the_order_of_the_epoch_whoever_reads_them():
    dataset, order = pairs_dataset(), BatchOrder(10, 4, seed=3)
    expected = [tuple(f"v{index}" for index in indexes) for indexes in order.batches(1)]
    for workers in (0, 3):
        assert names_of(load_batches(dataset, order, epoch=1, num_workers=workers)) == expected
    assert names_of(load_batches(dataset, order, epoch=1, start_batch=1)) == expected[1:]
    shares = [
        names_of(load_batches(dataset, BatchOrder(10, 4, 3, rank=rank, world_size=2), epoch=1))
        for rank in (0, 1)
    ]
    assert [first + second for first, second in zip(*shares, strict=True)] == expected


def test_an_absent_one_is_replaced_by_the_same_other_and_counted():
    dataset, order = pairs_dataset(absent=(4,)), BatchOrder(10, 5, seed=0)
    seen = []
    for workers in (0, 2):
        report = LoadingReport(max_bad_share=0.2)
        seen.append(names_of(load_batches(dataset, order, epoch=0, num_workers=workers, report=report)))
        assert (report.num_items, report.num_clips) == (10, 10)
        assert dict(report.bad.reasons) == {"v4": "there are no features of it"}
    assert seen[0] == seen[1]
    assert all("v4" not in names for names in seen[0])
    with pytest.raises(TooManyBadItemsError, match="1 of 5 items met so far are bad|1 of 10 items"):
        list(load_batches(dataset, order, epoch=0))


def test_without_any_features_it_stops():
    dataset = pairs_dataset(3, absent=(0, 1, 2))
    with pytest.raises(NoUsableVideoError, match="none of 20 videos tried"):
        list(load_batches(dataset, BatchOrder(3, 1, seed=0), epoch=0))
    with pytest.raises(ValueError, match="the order is one of 4 items, the dataset has 3"):
        load_batches(dataset, BatchOrder(4, 1, seed=0), epoch=0)


def test_leaving_a_loader_early_ends_its_threads():
    batches = load_batches(pairs_dataset(), BatchOrder(10, 1, seed=0), epoch=0, num_workers=2)
    next(batches)
    batches.close()


# ---------------------------------------------------------------- finding


@pytest.fixture
def corpus(tmp_path: Path):
    folder = write_features(tmp_path, num_videos=4)
    return folder, FolderTracks([FeatureFolder(folder / "2d", dim=4, steps_per_second=1.0)])


def test_features_and_captions_are_brought_together(corpus):
    folder, tracks = corpus
    found = find_featured_videos(tracks, folder / "caption.json", held_out={"video2"})
    assert [video.video_id for video in found.videos] == ["video0", "video1", "video3"]
    assert (found.num_held_out, found.num_without_captions, found.bad) == (1, 0, ())
    assert len(found.videos[0].track) == 3


def test_faulty_and_long_ones_are_told_apart(corpus):
    folder, tracks = corpus
    told = json.loads((folder / "caption.json").read_text())
    told["video0"]["start"].pop()
    told["video1"] = {"start": [], "end": [], "text": []}
    del told["video3"]
    (folder / "caption.json").write_text(json.dumps(told))
    np.save(folder / "2d" / "video2.npy", np.ones((30, 4), np.float16), allow_pickle=False)
    np.save(folder / "2d" / "video4.npy", np.ones((30, 4), np.float16), allow_pickle=False)
    shorter = find_featured_videos(tracks, folder / "caption.json", durations=DurationLimits(30, 99))
    assert (shorter.videos, shorter.num_of_other_length) == ((), 1)  # one of exactly 30 s is too short
    found = find_featured_videos(tracks, folder / "caption.json", durations=DurationLimits(0, 21))
    assert found.videos == ()
    assert (found.num_of_other_length, found.num_without_captions, len(found.bad)) == (1, 2, 2)
    assert [path.rpartition("#")[2] for path, _ in found.bad] == ["video0", "video1"]


def test_a_list_says_which_videos_and_where_their_features_lie(corpus):
    folder, tracks = corpus
    (folder / "2d" / "part").mkdir()
    (folder / "2d" / "video1.npy").rename(folder / "2d" / "part" / "x.npy")
    listed = folder / "HowTo100M_v1.csv"
    listed.write_text(
        "video_id,category_1,category_2,rank,task_id,path\n"
        "video1,Food,Cakes,1,7,part/x.webm\nvideo3,Food,Cakes,2,7,video3.npy\n"
    )
    found = find_featured_videos(tracks, folder / "caption.json", video_list=listed)
    assert [(video.video_id, video.name) for video in found.videos] == [
        ("video1", "part/x.webm"),
        ("video3", "video3.npy"),
    ]
    assert all(len(tracks.read(video.name)[0].steps) == 12 for video in found.videos)
    ids = folder / "ids.txt"
    ids.write_text("video0\n")
    assert [v.name for v in find_featured_videos(tracks, folder / "caption.json", video_list=ids).videos] == [
        "video0"
    ]
    listed.write_text("video\nvideo1\n")
    with pytest.raises(AnnotationError, match="video_id"):
        find_featured_videos(tracks, folder / "caption.json", video_list=listed)
