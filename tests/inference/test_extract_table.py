"""Extraction into one table: the same features, resumed as files are."""

from __future__ import annotations

import json

import numpy as np
import torch

from extraction_doubles import PLAN, TextDecoder, expected_features, small_encoder, text_list
from narravid.data.feature_table import FeatureTable
from narravid.inference.claims import Claims
from narravid.inference.extract import extract_videos
from narravid.inference.extract_item import ItemExtractor, settings_of
from narravid.inference.extract_list import ListedVideo
from narravid.inference.extract_report import ExtractionReport
from narravid.inference.extract_table import TableStore
from narravid.inference.extract_video import VideoExtractor


def run(items, folder, *, seed=0, overwrite=False):
    report = ExtractionReport()
    encoder = small_encoder(seed=seed)
    store = TableStore(folder, dim=encoder.dim, dtype="float16")
    with Claims() as claims, VideoExtractor(encoder, TextDecoder(), PLAN, batch_size=2) as extractor:
        worker = ItemExtractor(
            extractor,
            store,
            claims,
            settings=settings_of(encoder, PLAN, "float16"),
            model_name="small",
            overwrite=overwrite,
        )
        extract_videos(items, worker, report=report, max_bad_share=1.0)
    store.close()
    return report


def in_table(items, folder):
    return [ListedVideo(item.video, folder / "sub" / item.video.stem) for item in items]


def test_a_table_is_filled_resumed_and_replaced(tmp_path):
    folder = tmp_path / "table"
    items = in_table(text_list(tmp_path, count=6), folder)
    assert run(items[:4], folder).num_done == 4
    report = run(items, folder)
    assert (report.num_done, report.num_skipped) == (2, 4)
    table = FeatureTable.open(folder)
    assert table.names() == [f"sub/{number:03}" for number in range(6)]
    for item in items:
        track = table.read(f"sub/{item.video.stem}")
        expected = expected_features(item.video).astype(np.float16)
        assert torch.equal(track.steps, torch.from_numpy(expected))
        assert track.steps_per_second == 1.0
    facts = json.loads(table.facts()["sub/002"])
    assert (facts["video"], facts["num_features"]) == (str(items[2].video), 2)
    assert len(run(items, folder, seed=1).refused) == 6
    assert run(items, folder, seed=1, overwrite=True).num_done == 6
    assert not list((folder / ".marks").glob(".*.claim"))


def test_what_another_process_has_written_is_seen(tmp_path):
    folder = tmp_path / "table"
    (item,) = in_table(text_list(tmp_path, count=1), folder)
    early = TableStore(folder, dim=6, dtype="float16")
    assert not early.has(item)
    run([item], folder)
    assert early.has(item)
    assert early.facts(item)["num_features"] == 1
