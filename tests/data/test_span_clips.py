"""One clip of a video or of a span of it: where it starts, and at which scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.placed_clips import PlacedClips
from narravid.data.captioned import CaptionedClip, CaptionedDataset
from narravid.data.drawing import NoUsableVideoError
from narravid.data.sources import MemoryClips
from narravid.data.span_clips import PUBLISHED_ZOOM, check_zoom
from narravid.types import ClipSpec, Span
from narravid.video.transforms import Augmentation

SPEC = ClipSpec(num_frames=4, fps=2.0, size_pixels=8)


def one_token(sentences):
    return torch.tensor([[len(sentence)] for sentence in sentences])


def dataset_of(
    *spans: Span | None, source: PlacedClips | None = None, spec: ClipSpec = SPEC, **options
) -> CaptionedDataset:
    clips = [CaptionedClip(Path(f"v{n}.mp4"), "x" * n, span) for n, span in enumerate(spans)]
    return CaptionedDataset(clips, source or PlacedClips(), spec=spec, tokenizer=one_token, **options)


@given(
    begin=st.floats(0, 19.9),
    length=st.floats(0.05, 30),
    seed=st.integers(0, 1000),
)
def test_a_clip_starts_inside_its_span_and_ends_with_it_where_it_fits(begin, length, seed):
    span = Span(begin, begin + length)
    start = dataset_of(span)[seed, 0, 0].start_seconds
    end = min(span.end_seconds, 20.0)
    assert start >= 0
    if end - begin >= 2.0:  # the clip fits
        assert begin <= start <= end - 2.0 + 1e-9
    else:  # it starts with the span, or ends with the video
        assert start == pytest.approx(min(begin, 18.0))


def test_every_place_of_a_span_is_drawn_alike():
    dataset = dataset_of(Span(4.0, 16.0))
    starts = np.array([dataset[0, epoch, 0].start_seconds for epoch in range(600)])
    # Uniform over the 10 s in which a clip of 2 s can start.
    assert np.quantile(starts, [0.1, 0.5, 0.9]) == pytest.approx([5.0, 9.0, 13.0], abs=0.5)
    assert 4.0 <= starts.min() < 4.1
    assert 13.9 < starts.max() <= 14.0


def test_without_a_span_the_whole_video_is_drawn_from():
    dataset = dataset_of(None)
    starts = [dataset[0, epoch, 0].start_seconds for epoch in range(500)]
    assert min(starts) < 0.5
    assert 17.5 < max(starts) <= 18.0


def test_a_span_behind_the_end_of_its_video_is_bad_and_another_clip_stands_in():
    dataset = dataset_of(Span(20.0, 22.0), Span(1.0, 4.0))
    item = dataset[0, 0, 0]
    assert item.index == 1
    assert dataset.collate(item.clips, [item]).tokens.tolist() == [[1]]
    assert item.replaced == (("v0.mp4", "its span starts at 20 s, at or past its end (20 s)"),)
    with pytest.raises(NoUsableVideoError, match="none of 1 videos"):
        dataset_of(Span(21.0, 22.0))[0, 0, 0]


def test_a_video_shorter_than_a_clip_is_padded_and_counted():
    item = dataset_of(None, source=PlacedClips(1.0))[0, 0, 0]
    assert item.start_seconds == 0
    assert item.num_padded_clips == 1
    assert dataset_of(None)[0, 0, 0].num_padded_clips == 0


def test_the_zoom_scales_the_picture_before_the_square_is_cut_out():
    source = PlacedClips()
    spec = ClipSpec(num_frames=1, fps=2.0, size_pixels=112)
    dataset = dataset_of(None, source=source, spec=spec, zoom=PUBLISHED_ZOOM)
    lefts = []
    for epoch in range(300):
        clip = dataset[0, epoch, 0].clips
        assert clip.shape == (1, 3, 1, 112, 112)
        left = int(clip[0, 2, 0, 0, 0])
        assert clip[0, 2, 0, 0].tolist() == list(range(left, left + 112))
        assert 0 <= left <= source.sizes[-1] - 112
        lefts.append(left)
    # As published for squares of 112 pixels; 256 to 340 for those of 224.
    assert (min(source.sizes), max(source.sizes)) == (128, 170)
    assert len(set(source.sizes)) == 43
    assert min(lefts) == 0
    assert max(lefts) > 50
    assert [round(224 * factor) for factor in PUBLISHED_ZOOM] == [256, 340]


def test_clips_are_flipped_half_of_the_time():
    dataset = dataset_of(None, augmentation=Augmentation(flip_probability=0.5))
    flipped = [int(dataset[0, epoch, 0].clips[0, 2, 0, 0, 0]) == 7 for epoch in range(400)]
    assert 150 < sum(flipped) < 250


def test_the_same_key_gives_the_same_item_and_others_give_others():
    dataset = dataset_of(None, None, zoom=(1.0, 2.0), augmentation=Augmentation())
    first, again = dataset[3, 1, 1], dataset[3, 1, 1]
    assert torch.equal(first.clips, again.clips)
    assert first.start_seconds == again.start_seconds
    starts = {dataset[key].start_seconds for key in [(3, 1, 1), (3, 2, 1), (4, 1, 1), (3, 1, 0)]}
    assert len(starts) == 4


def test_closing_the_dataset_closes_its_source():
    source = PlacedClips()
    dataset_of(None, source=source).close()
    assert not source.is_open


@pytest.mark.parametrize("zoom", [(0.9, 1.2), (1.5, 1.2), (1.0, float("inf")), (float("nan"), 2.0)])
def test_a_zoom_that_is_none_is_refused(zoom):
    with pytest.raises(ValueError, match="zoom must be two numbers with 1 <= least <= greatest"):
        check_zoom(zoom)


def test_videos_in_memory_have_one_size_and_cannot_be_zoomed():
    with pytest.raises(ValueError, match="or set no zoom"):
        dataset_of(None, source=MemoryClips([], SPEC), zoom=(1.0, 1.5))
    with pytest.raises(ValueError, match="at least one clip"):
        dataset_of()
