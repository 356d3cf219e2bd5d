"""Where clips start and which frames and pixels they hold, equal to the published loaders and evaluations."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fidelity.fill import filled_input
from narravid.data.featured import FeatureTrack, clip_features
from narravid.types import Span
from narravid.video.frame_sampling import (
    crop_frames,
    crop_start_frame,
    video_frames,
    window_start_frames,
)
from narravid.video.resize import resize_short_side, uniform_crop_offset
from narravid.video.sampling import (
    aligned_start_range,
    clip_start_range,
    draw_aligned_start,
    evaluation_windows,
    whole_second_span,
    widen_span,
)

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "sampling.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("min_seconds", [4, 5])
@pytest.mark.parametrize("track", ["a", "b", "c", "grid"])
def test_captions_are_widened_and_cut_to_whole_seconds(golden, track, min_seconds):
    lists = json.loads((GOLDEN / "captions.json").read_text(encoding="utf-8"))[track]
    spans = [
        whole_second_span(widen_span(Span(start, end), float(min_seconds)))
        for start, end in zip(lists["start"], lists["end"], strict=True)
    ]
    expected = golden[f"milnce_start_end_{track}_min{min_seconds}/start_end"]
    assert [[span.start_seconds, span.end_seconds] for span in spans] == expected.tolist()


def test_clips_start_within_the_published_range(golden):
    for start, end, num_frames, fps, lowest, highest in golden["milnce_seek_range/rows"]:
        assert clip_start_range(Span(start, end), num_frames / fps) == (lowest, highest)


def test_evaluation_windows_start_where_published(golden):
    for start, end, fps, num_frames, num_windows, *starts in golden["eval_windows/rows"]:
        windows = evaluation_windows(Span(start, end), num_frames / fps, int(num_windows))
        np.testing.assert_allclose(windows, starts[: int(num_windows)], rtol=1e-6)
        assert all(unused == -1 for unused in starts[int(num_windows) :])


def test_aligned_clips_start_within_the_published_range(golden):
    rows = golden["htm_aa_start_range/rows"]
    for timestamp, duration, num_frames, fps, lowest, highest in rows:
        found = aligned_start_range(timestamp, num_frames / fps, duration_seconds=duration)
        assert found == (lowest, highest)
    # The last timestamp lies beyond its video: an empty range, where the published loader fails obscurely.
    timestamp, duration, num_frames, fps, lowest, highest = rows[-1]
    assert highest < lowest
    with pytest.raises(ValueError, match=r"no clip of 3.2 s at 120.7 s can start inside a video of 100.0 s"):
        draw_aligned_start(
            timestamp, num_frames / fps, duration_seconds=duration, generator=torch.Generator()
        )


def test_windows_of_action_clips_start_at_the_published_frames(golden):
    for num_video_frames, clip_frames, num_windows, *starts in golden["action_windows/rows"].tolist():
        assert window_start_frames(num_video_frames, clip_frames, num_windows) == starts[:num_windows]
        assert set(starts[num_windows:]) <= {-1}


def test_temporal_crops_hold_the_published_frames(golden):
    for row, expected in zip(golden["cpd_clips/params"], golden["cpd_clips/frames"].tolist(), strict=True):
        video_size, clip_size, number, num_crops, num_frames, start, end = row
        found = crop_start_frame(
            int(video_size), clip_size, crop_number=int(number), num_crops=int(num_crops)
        )
        np.testing.assert_allclose([found, found + clip_size - 1], [start, end], rtol=1e-6)
        frames = crop_frames(found, clip_size, num_frames=int(num_frames), num_video_frames=int(video_size))
        assert frames == expected[: int(num_frames)]
        assert set(expected[int(num_frames) :]) <= {-1}


def test_spatial_crops_lie_at_the_published_places(golden):
    for height, width, crop_pixels, position, top, left in golden["cpd_crops/crops"].tolist():
        assert uniform_crop_offset((height, width), crop_pixels, position=position) == (top, left)


def test_the_short_side_is_scaled_as_published(golden):
    for height, width, short_side, *expected in golden["cpd_crops/resized"].tolist():
        scaled = resize_short_side(torch.zeros(3, 2, height, width), short_side)
        assert list(scaled.shape) == [3, 2, *expected]


def test_frames_of_a_trajectory_by_the_published_rule(golden):
    lengths, frames = golden["uniform_frames/lengths"].tolist(), golden["uniform_frames/frames"].tolist()
    for length, expected in zip(lengths, frames, strict=True):
        assert video_frames(length, 32, sampling="published") == expected


def test_features_of_clips_are_pooled_as_published(golden):
    steps_2d = torch.from_numpy(filled_input("sampling/howto100m_features/feat2d", (30, 6), "normal"))
    steps_3d = torch.from_numpy(filled_input("sampling/howto100m_features/feat3d", (45, 5), "normal"))
    tracks = [FeatureTrack(steps_2d, 1.0), FeatureTrack(steps_3d, 1.5)]
    starts, ends = [0, 3.7, 10.2, 28.9, 35.0], [4, 9.1, 10.4, 31.0, 40.0]
    spans = [Span(start, end) for start, end in zip(starts, ends, strict=True)]
    expected = golden["howto100m_features/features"]

    published = clip_features(tracks, spans, when_outside="zeros")
    assert published.features.dtype == torch.float32
    np.testing.assert_allclose(published.features, expected, rtol=1e-6)

    # The last clip lies behind both tracks. Not zeros but the nearest step is the right answer, and counted.
    ours = clip_features(tracks, spans)
    np.testing.assert_allclose(ours.features[:4], expected[:4], rtol=1e-6)
    last = [steps[-1] / steps[-1].norm() for steps in (steps_2d, steps_3d)]
    torch.testing.assert_close(ours.features[4], torch.cat(last))
    assert (published.num_outside, ours.num_outside) == (2, 2)
