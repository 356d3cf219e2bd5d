"""Captioned clips: the list of Instagram-300k, batches, and the loader that makes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from data.placed_clips import PlacedClips
from narravid.bad_items import BadItems, TooManyBadItemsError
from narravid.data.captioned import CaptionedClip, CaptionedDataset, instagram_clips
from narravid.data.loader import load_batches
from narravid.data.loading_report import LoadingReport
from narravid.data.order import BatchOrder
from narravid.errors import AnnotationError
from narravid.types import ClipSpec

SPEC = ClipSpec(num_frames=2, fps=2.0, size_pixels=4)


def letters(sentences):
    return torch.tensor([[ord(letter) for letter in sentence] for sentence in sentences])


def dataset_of(num_clips: int = 7, **options) -> CaptionedDataset:
    clips = [CaptionedClip(Path(f"v{n}.mp4"), f"a{n}") for n in range(num_clips)]
    return CaptionedDataset(clips, PlacedClips(**options), spec=SPEC, tokenizer=letters)


def test_a_part_of_instagram_is_read_with_its_files(tmp_path):
    entries = {
        "17": {"subset": "training", "caption": "a dog runs"},
        "18": {"subset": "validation", "caption": "a cat sleeps"},
        "19": {"subset": "training", "caption": "gone by now"},
        "20": {"subset": "training", "caption": "two boats"},
    }
    annotations = tmp_path / "instagram.json"
    annotations.write_text(json.dumps(entries))
    for name in ("17", "18", "20"):
        (tmp_path / f"trimmed_resize_{name}.mp4").touch()
    found = instagram_clips(annotations, tmp_path)
    assert found.samples == (
        CaptionedClip(tmp_path / "trimmed_resize_17.mp4", "a dog runs"),
        CaptionedClip(tmp_path / "trimmed_resize_20.mp4", "two boats"),
    )
    assert found.missing == ((str(tmp_path / "trimmed_resize_19"), "no such file"),)
    [judged] = instagram_clips(annotations, tmp_path, subset="validation").samples
    assert judged.text == "a cat sleeps"
    annotations.write_text('{"17": {"subset": "training"}}')
    with pytest.raises(AnnotationError, match=r"17\.caption"):
        instagram_clips(annotations, tmp_path)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_hold_clip_caption_and_number_of_each_sample(num_workers):
    dataset = dataset_of()
    order = BatchOrder(7, 3, seed=5)
    batches = list(load_batches(dataset, order, epoch=2, num_workers=num_workers))
    visited = [index for indexes in order.batches(2) for index in indexes]
    assert [len(batch) for batch in batches] == [3, 3]
    assert torch.cat([batch.indices for batch in batches]).tolist() == visited
    for batch in batches:
        assert batch.clips.shape == (3, 3, 2, 4, 4)
        assert batch.clips[:, 0, 0, 0, 0].tolist() == batch.indices.tolist()
        assert batch.tokens.tolist() == [[ord("a"), ord(str(index))] for index in batch.indices.tolist()]
        assert batch.video_ids == tuple(f"v{index}" for index in batch.indices.tolist())
        assert (batch.start_seconds * 4).int().tolist() == batch.clips[:, 1, 0, 0, 0].tolist()


def test_two_processes_load_what_one_does():
    dataset = dataset_of()
    [whole, _] = load_batches(dataset, BatchOrder(7, 3, seed=5), epoch=0)
    parts = [
        next(iter(load_batches(dataset, BatchOrder(7, 3, 5, rank=rank, world_size=2), epoch=0)))
        for rank in range(2)
    ]
    assert [len(part) for part in parts] == [2, 1]
    assert torch.equal(torch.cat([part.clips for part in parts]), whole.clips)
    assert torch.equal(torch.cat([part.indices for part in parts]), whole.indices)


def test_a_bad_video_is_replaced_and_its_substitute_brings_its_own_caption_and_number():
    report = LoadingReport(max_bad_share=1.0)
    dataset = dataset_of(bad=("v3",))
    indices = torch.cat(
        [batch.indices for batch in load_batches(dataset, BatchOrder(7, 7, 0), epoch=0, report=report)]
    )
    assert 3 not in indices.tolist()
    assert len(indices) == 7
    assert report.bad.reasons == {"v3.mp4": "made to fail"}
    with pytest.raises(TooManyBadItemsError):
        list(load_batches(dataset, BatchOrder(7, 7, 0), epoch=0))


def test_the_table_of_bad_videos_adds_what_other_processes_met(tmp_path):
    def report() -> LoadingReport:
        bad = BadItems()
        bad.add("gone.mp4", "no such file")  # found by every process before loading
        return LoadingReport(bad=bad, table=tmp_path / "bad_items.csv")

    mine, other = report(), report()
    mine.add_replaced("a.mp4", "broken")
    other.add_replaced("a.mp4", "broken")
    other.add_replaced("b.mp4", "cut off")
    other.add_replaced("gone.mp4", "no such file")
    mine.write([other.state_dict()])
    assert (tmp_path / "bad_items.csv").read_text().splitlines()[1:] == [
        "a.mp4,broken,2",
        "b.mp4,cut off,1",
        "gone.mp4,no such file,2",
    ]
