"""Captions in a row and clips around one second of a caption: what VT-TWINS and HTM-AA draw."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.data.corpus import NarratedVideo
from narravid.data.drawing import NoUsableVideoError
from narravid.data.narrated import ClipSampling
from narravid.text.captions import Caption, CaptionTrack
from narravid.types import Span
from written_clips import SPEC, WORDS, WrittenClips, make_dataset, make_videos

CLIP_SECONDS = SPEC.duration_seconds


def video_of(name: str, spans: list[Span]) -> NarratedVideo:
    captions = tuple(Caption(word, span) for word, span in zip(WORDS, spans, strict=False))
    return NarratedVideo(Path(f"{name}.mp4"), CaptionTrack(captions), name)


def captions_of(item) -> list[int]:
    return [int(row) - 1 for row in item.tokens[:, 0, 0]]


@given(num_captions=st.integers(1, 7), num_clips=st.integers(1, 9), epoch=st.integers(0, 30))
def test_captions_in_a_row_follow_each_other_and_a_short_track_repeats_its_last(
    num_captions, num_clips, epoch
):
    videos = make_videos(2, num_captions)
    dataset = make_dataset(
        videos=videos,
        clips_per_video=num_clips,
        num_candidates=1,
        captions="consecutive",
        min_caption_seconds=0.0,
    )
    item = dataset[0, epoch, 1]
    drawn = captions_of(item)
    assert drawn == [min(drawn[0] + step, num_captions - 1) for step in range(num_clips)]
    assert drawn[0] <= max(0, num_captions - num_clips)
    for caption, start in zip(drawn, item.start_seconds.tolist(), strict=True):
        span = videos[1].track[caption].span  # 4.5 s, from a whole second on, without widening
        assert span.start_seconds <= start <= int(span.end_seconds) - CLIP_SECONDS


def test_every_start_of_a_row_is_drawn():
    dataset = make_dataset(num_candidates=1, clips_per_video=3, captions="consecutive")
    assert {captions_of(dataset[0, epoch, 0])[0] for epoch in range(60)} == {0, 1, 2, 3, 4}


@given(
    timestamps=st.lists(st.integers(0, 70), min_size=1, max_size=6, unique=True),
    seconds=st.floats(2.5, 60.0),
    epoch=st.integers(0, 20),
)
def test_clips_around_a_second_start_within_the_published_range_and_end_in_the_video(
    timestamps, seconds, epoch
):
    video = video_of("v1", [Span(float(t), float(t)) for t in sorted(timestamps)])
    # the range of a sentence is empty where even its first second, floor(t - clip), lies beyond the video
    inside = [t for t in sorted(timestamps) if max(0, t - CLIP_SECONDS) <= math.floor(seconds)]
    dataset = make_dataset(
        WrittenClips(seconds), videos=[video], clips_per_video=2, num_candidates=1, place="around_middle"
    )
    if not inside:
        with pytest.raises(NoUsableVideoError, match="all captions lie beyond its end"):
            dataset[0, epoch, 0]
        return
    item = dataset[0, epoch, 0]
    drawn = captions_of(item)
    assert len(set(drawn)) == min(2, len(inside))
    for caption, start in zip(drawn, item.start_seconds.tolist(), strict=True):
        timestamp = video.track[caption].span.start_seconds
        assert timestamp in inside
        last = math.floor(seconds - CLIP_SECONDS)
        assert start == int(start)
        assert min(max(0, timestamp - CLIP_SECONDS), last) <= start <= min(timestamp, last)


def test_every_second_of_the_range_is_drawn_and_a_span_counts_by_its_middle():
    spans = [Span(20.2, 24.0)]  # the middle is 22.1, so that clips of 2 s start at 20, 21, 22, 23
    dataset = make_dataset(
        videos=[video_of("v1", spans)], num_candidates=1, place="around_middle", min_caption_seconds=30.0
    )
    starts = [float(dataset[0, epoch, 0].start_seconds[0]) for epoch in range(200)]
    assert {start: round(starts.count(start) / 200, 1) for start in sorted(set(starts))} == pytest.approx(
        {20.0: 0.25, 21.0: 0.25, 22.0: 0.25, 23.0: 0.25}, abs=0.07
    )


def test_videos_outside_of_the_limits_are_replaced_and_named():
    lengths = {"v0": 60.0, "v1": 64.0, "v2": 64.5, "v3": 2000.0}

    class ClipsOfLengths(WrittenClips):
        def duration_seconds(self, path) -> float:
            return lengths[path.stem]

    dataset = make_dataset(ClipsOfLengths(), longer_than_seconds=64.0, shorter_than_seconds=2000.0)
    assert {dataset[0, 0, index].video_id for index in range(4)} == {"v2"}
    reasons = dict(dataset[0, 0, 3].replaced)
    assert (
        reasons["v3.mp4"] == "it lasts 2000.0 s, and videos are to last more than 64 s and less than 2000 s"
    )
    assert dataset[0, 0, 2].replaced == ()


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="shorter_than_seconds must exceed"):
        ClipSampling(longer_than_seconds=10.0, shorter_than_seconds=10.0)
    with pytest.raises(ValueError, match="place must be one of 'inside', 'around_middle', got 'middle'"):
        ClipSampling(place="middle")
    with pytest.raises(ValueError, match="captions must be one of 'any', 'consecutive'"):
        ClipSampling(captions="random")
