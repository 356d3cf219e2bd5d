"""Planning segments: whatever a sampler draws lies in one, and no more is kept than that needs."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from narravid.data.segmentation import SEGMENT_COST_SECONDS, plan_segments
from narravid.text.transcripts import load_transcript
from narravid.types import Span
from narravid.video.sampling import aligned_start_range, clip_start_range, whole_second_span, widen_span

CLIP = 3.2
MIN_CAPTION = 5.0

times = st.floats(0, 400, allow_nan=False)
captions = st.lists(st.builds(lambda a, b: Span(a, a + b), times, st.floats(0, 60)), min_size=1, max_size=12)


def plan(spans, duration, *, clip=CLIP, min_caption=MIN_CAPTION, longest=30.0):
    return plan_segments(
        spans, duration, clip_seconds=clip, min_caption_seconds=min_caption, max_segment_seconds=longest
    )


def possible_starts(caption, duration, clip, min_caption, share):
    """Starts at the two ends and somewhere between, by every way in which clips are drawn."""
    last_start = max(0.0, duration - clip)
    for span in (widen_span(caption, min_caption), caption):  # MIL-NCE, VT-TWINS
        lowest, highest = clip_start_range(whole_second_span(span), clip)
        for second in (lowest, highest, round(lowest + share * (highest - lowest))):
            yield float(second)
            yield float(min(second, math.floor(last_start)))
        room = max(0.0, span.duration_seconds - clip)
        for start in (span.start_seconds, span.start_seconds + room, span.start_seconds + room * share):
            yield start
            yield min(start, last_start)
    lowest, highest = aligned_start_range(caption.center_seconds, clip, duration_seconds=duration)
    if lowest <= highest:  # HTM-AA
        yield from (float(lowest), float(highest), float(round(lowest + share * (highest - lowest))))


def holds(segments, start, clip, duration):
    end = min(start + clip, duration)
    return any(part.start_seconds <= start and end <= part.end_seconds for part in segments)


@settings(max_examples=300)
@given(captions, st.floats(0.04, 500), st.floats(0, 1), st.floats(0.05, 1), st.floats(0, 1))
def test_every_clip_that_can_be_drawn_lies_in_one_segment(spans, duration, share, shorter, narrower):
    segments = plan(spans, duration)
    clip, min_caption = (
        CLIP * shorter,
        MIN_CAPTION * narrower,
    )  # what was packed for longer clips serves these
    for caption in spans:
        for start in possible_starts(caption, duration, clip, min_caption, share):
            if start < duration:
                assert holds(segments, start, clip, duration), (caption, start)


@given(captions, st.floats(0.04, 500), st.floats(10, 60))
def test_segments_are_in_order_within_the_video_and_short(spans, duration, longest):
    segments = plan(spans, duration, longest=longest)
    for first, second in itertools.pairwise(segments):
        assert first.start_seconds < second.start_seconds
        assert first.end_seconds < second.end_seconds
    alone = max(plan([span], duration, longest=longest)[0].duration_seconds for span in spans)
    for part in segments:
        assert 0 <= part.start_seconds <= part.end_seconds <= duration
        assert part.duration_seconds <= max(longest, alone)


@given(captions, st.floats(0.04, 500))
def test_nothing_is_kept_that_no_caption_reaches(spans, duration):
    segments = plan(spans, duration)
    reaches = [plan([span], duration)[0] for span in spans]
    total = sum(part.duration_seconds for part in segments)
    one_by_one = sum(part.duration_seconds + SEGMENT_COST_SECONDS for part in reaches)
    assert total + SEGMENT_COST_SECONDS * len(segments) <= one_by_one + 1e-9
    for part in segments:
        for time in (part.start_seconds, part.end_seconds):
            assert any(time in (reach.start_seconds, reach.end_seconds) for reach in reaches)


def test_a_pause_is_left_out_and_neighbours_share_a_segment():
    segments = plan([Span(10, 14), Span(14, 18), Span(60, 64)], 100)
    times = [(part.start_seconds, part.end_seconds) for part in segments]
    assert times == [pytest.approx((8, 19.2), abs=0.003), pytest.approx((58, 65.2), abs=0.003)]


def test_a_cut_comes_where_the_speaker_pauses():
    spans = [Span(4 * n, 4 * n + 4) for n in range(5)] + [Span(24 + 4 * n, 28 + 4 * n) for n in range(5)]
    first, second = plan(spans, 100)
    assert first.end_seconds == pytest.approx(18 + CLIP, abs=0.01)
    assert second.start_seconds == pytest.approx(22, abs=0.01)


def test_a_long_caption_gets_a_long_segment_that_serves_those_within():
    [part] = plan([Span(10, 80), Span(20, 24), Span(70, 75)], 100)
    assert (part.start_seconds, part.end_seconds) == pytest.approx((10, 80), abs=0.003)


def test_captions_behind_the_end_of_the_video_give_its_last_clip():
    assert plan([Span(50, 55)], 20.0) == [Span(15.999, 20.0)]
    assert plan([Span(50, 55)], 2.0) == [Span(0.0, 2.0)]


def test_without_captions_nothing_is_kept():
    assert plan([], 20.0) == []


@pytest.mark.parametrize("name", ["clip_seconds", "max_segment_seconds"])
def test_lengths_must_be_positive(name):
    lengths = {"clip_seconds": 3.2, "min_caption_seconds": 5.0, "max_segment_seconds": 30.0, name: 0.0}
    with pytest.raises(ValueError, match=name):
        plan_segments([Span(0, 1)], 10.0, **lengths)


@pytest.mark.shared
def test_real_tracks_overlap_little(shared_data):
    kept = covered = 0.0
    for path in sorted((shared_data / "captions" / "howto100m").glob("[!s]*.csv")):
        spans = [caption.span for caption in load_transcript(path).track]
        segments = plan(spans, max(span.end_seconds for span in spans) + 5)
        kept += sum(part.duration_seconds for part in segments)
        end = 0.0
        for part in segments:
            covered += part.end_seconds - max(end, part.start_seconds)
            end = part.end_seconds
    assert covered > 5 * 3600
    assert kept / covered < 1.13


def test_the_plan_of_a_very_long_track_is_quick():
    generator = torch.Generator().manual_seed(1)
    starts = (36_000 * torch.rand(20_000, generator=generator, dtype=torch.float64)).tolist()
    assert len(plan([Span(start, start + 4) for start in starts], 36_000)) > 1000
