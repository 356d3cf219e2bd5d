"""Memory over thousands of clips that are loaded as training loads them."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from handmade_packs import make_pack
from narravid.data.corpus import find_narrated_videos
from narravid.data.loader import load_batches
from narravid.data.loading_report import LoadingReport
from narravid.data.narrated import ClipSampling, NarratedDataset
from narravid.data.order import BatchOrder
from narravid.data.packed_clips import PackedClips
from narravid.data.packs import open_pack
from narravid.data.sources import FileClips
from narravid.text.words import Vocabulary, WordTokenizer
from narravid.types import ClipSpec
from narravid.video.watched import WatchedDecoder
from small_corpus import write_narrated_videos
from steady_use import assert_steady, needs_proc
from tiny_corpus import WORDS

pytestmark = [pytest.mark.slow, needs_proc]

SPEC = ClipSpec(8, 5.0, 112)
CLIPS_PER_VIDEO = 2
BATCH_VIDEOS = 75  # 43 MiB: malloc maps more than 32 MiB by itself, as it does the batches of real training
CLIPS_PER_EPOCH = 300


@pytest.fixture
def archive(tmp_path):
    return write_narrated_videos(tmp_path / "archive")


def loading(videos, source):
    """Loads so many clips, in as many short epochs, each with threads of its own."""
    num_videos = CLIPS_PER_EPOCH // CLIPS_PER_VIDEO
    dataset = NarratedDataset(
        list(videos) * (num_videos // len(videos)),
        source,
        spec=SPEC,
        tokenizer=WordTokenizer(Vocabulary(WORDS), max_words=6, lower_case=True),
        sampling=ClipSampling(
            CLIPS_PER_VIDEO, num_candidates=2, min_caption_seconds=2.0, whole_seconds=False
        ),
    )
    order = BatchOrder(num_videos, BATCH_VIDEOS, seed=0)
    report = LoadingReport(max_bad_share=1.0)
    epochs = count()

    def load(num_clips):
        for _ in range(num_clips // CLIPS_PER_EPOCH):
            batches = load_batches(dataset, order, epoch=next(epochs), num_workers=2, report=report)
            assert sum(len(batch.clips) for batch in batches) == CLIPS_PER_EPOCH

    return load, report


def test_loading_from_files_of_which_some_are_bad(archive):
    videos = find_narrated_videos(archive).videos
    damaged, cut = videos[1].path, videos[3].path
    data = np.fromfile(damaged, np.uint8)
    data[len(data) // 2 :: 97] ^= 255
    data.tofile(damaged)
    cut.write_bytes(cut.read_bytes()[:200])
    with WatchedDecoder(2) as watched:
        load, report = loading(videos, FileClips(watched))
        assert_steady(load)
    assert str(cut) in report.bad.reasons


def test_loading_from_a_pack(archive, tmp_path):
    make_pack(archive, tmp_path / "pack")
    pack = open_pack(tmp_path / "pack")
    with WatchedDecoder(2) as watched:
        load, report = loading(pack.videos, PackedClips(pack, watched))
        assert_steady(load)
    assert not report.bad
