"""Batches: what they refuse, and that pieces put together are the whole."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from narravid.batches import CaptionedBatch, FeatureBatch, LabelledBatch, WindowBatch


def feature_batch(num_clips: int = 5) -> FeatureBatch:
    return FeatureBatch(
        torch.arange(num_clips * 3.0).view(num_clips, 3),
        torch.arange(num_clips * 4).view(num_clips, 2, 2),
        tuple(f"video{number}" for number in range(num_clips)),
    )


def window_batch(num_windows: int = 5) -> WindowBatch:
    generator = torch.Generator().manual_seed(0)
    return WindowBatch(
        features=torch.randn(num_windows, 6, 3, generator=generator),
        feature_mask=torch.rand(num_windows, 6, generator=generator) < 0.5,
        tokens=torch.randint(0, 9, (num_windows, 2, 4), generator=generator),
        text_mask=torch.rand(num_windows, 2, generator=generator) < 0.5,
        positives=torch.rand(num_windows, 2, 6, generator=generator) < 0.5,
        text_positions=torch.rand(num_windows, 2, 2, generator=generator),
        video_ids=tuple(f"video{number}" for number in range(num_windows)),
    )


def captioned_batch(num_clips: int = 5) -> CaptionedBatch:
    return CaptionedBatch(
        clips=torch.arange(num_clips * 24, dtype=torch.uint8).view(num_clips, 3, 2, 2, 2),
        tokens=torch.arange(num_clips * 4).view(num_clips, 4),
        indices=torch.arange(num_clips) + 7,
        video_ids=tuple(f"video{number}" for number in range(num_clips)),
        start_seconds=torch.arange(num_clips, dtype=torch.float64),
    )


def labelled_batch(num_clips: int = 5) -> LabelledBatch:
    captioned = captioned_batch(num_clips)
    return LabelledBatch(captioned.clips, captioned.indices, captioned.video_ids, captioned.start_seconds)


@pytest.mark.parametrize(
    "batch",
    [feature_batch(), window_batch(), captioned_batch(), labelled_batch()],
    ids=["features", "windows", "captions", "labels"],
)
def test_pieces_put_together_are_the_batch(batch):
    pieces = batch.split(2)
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    for field in dataclasses.fields(batch):
        parts = [getattr(piece, field.name) for piece in pieces]
        whole = getattr(batch, field.name)
        if field.name == "video_ids":
            assert sum(parts, ()) == whole
        else:
            assert torch.equal(torch.cat(parts), whole)
            assert torch.equal(getattr(batch.to("cpu"), field.name), whole)


@pytest.mark.parametrize(
    ("batch", "changes", "message"),
    [
        (feature_batch(), {"features": torch.zeros(5, 3).double()}, r"features must be \(B, F\) float32"),
        (feature_batch(), {"tokens": torch.zeros(4, 2, 2).long()}, r"tokens must be \(5, P, L\) int64"),
        (feature_batch(), {"video_ids": ("a",)}, "video_ids must have 5 entries, got 1"),
        (window_batch(), {"features": torch.zeros(5, 6)}, r"features must be \(B, T, F\)"),
        (window_batch(), {"tokens": torch.zeros(5, 0, 4).long()}, r"not empty, got \(5, 6, 3\) and \(5, 0"),
        (window_batch(), {"feature_mask": torch.ones(5, 6)}, r"feature_mask must be \(5, 6\) torch.bool"),
        (window_batch(), {"text_mask": torch.ones(5, 3).bool()}, r"text_mask must be \(5, 2\) torch.bool"),
        (window_batch(), {"positives": torch.ones(5, 6, 2).bool()}, r"positives must be \(5, 2, 6\)"),
        (window_batch(), {"video_ids": ("a",)}, "video_ids must have 5 entries, got 1"),
        (captioned_batch(), {"clips": torch.zeros(5, 3, 2, 2, 2)}, r"clips must be \(B, 3, T, H, W\) uint8"),
        (captioned_batch(), {"tokens": torch.zeros(5, 1, 4).long()}, r"tokens must be \(5, L\) int64"),
        (captioned_batch(), {"indices": torch.zeros(4).long()}, r"indices must be \(5,\) int64"),
        (captioned_batch(), {"video_ids": ("a",)}, "video_ids and start_seconds must have 5 entries"),
        (
            labelled_batch(),
            {"labels": torch.zeros(5)},
            r"labels must be \(5,\) int64, got \(5,\) to",
        ),
        (labelled_batch(), {"start_seconds": torch.zeros(4)}, "must have 5 entries"),
    ],
)
def test_what_does_not_fit_is_refused(batch, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(batch, **changes)
