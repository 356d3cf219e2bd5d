"""Where clips start and which frames and pixels they hold, equal to the published loaders and evaluations."""

import re

import numpy as np
import pytest
import torch

from fidelity.fill import filled_input
from fidelity.sampling_golden import each_case, read_track
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


@each_case(r"milnce_start_end_\w+_min[45]")
def test_captions_are_widened_and_cut_to_whole_seconds(arrays, case):
    track, min_seconds = re.fullmatch(r"milnce_start_end_(\w+)_min(\d)", case).groups()
    spans = [whole_second_span(widen_span(caption.span, float(min_seconds))) for caption in read_track(track)]
    assert [[span.start_seconds, span.end_seconds] for span in spans] == arrays["start_end"].tolist()


@each_case("milnce_seek_range")
def test_clips_start_within_the_published_range(arrays):
    for start, end, num_frames, fps, lowest, highest in arrays["rows"]:
        assert clip_start_range(Span(start, end), num_frames / fps) == (lowest, highest)


@each_case("eval_windows")
def test_evaluation_windows_start_where_published(arrays):
    for start, end, fps, num_frames, num_windows, *starts in arrays["rows"]:
        windows = evaluation_windows(Span(start, end), num_frames / fps, int(num_windows))
        np.testing.assert_allclose(windows, starts[: int(num_windows)], rtol=1e-6)
        assert all(unused == -1 for unused in starts[int(num_windows) :])


@each_case("htm_aa_start_range")
def test_aligned_clips_start_within_the_published_range(arrays):
    rows = arrays["rows"]
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


@each_case("action_windows")
def test_windows_of_action_clips_start_at_the_published_frames(arrays):
    for num_video_frames, clip_frames, num_windows, *starts in arrays["rows"].tolist():
        assert window_start_frames(num_video_frames, clip_frames, num_windows) == starts[:num_windows]
        assert set(starts[num_windows:]) <= {-1}


@each_case("cpd_clips")
def test_temporal_crops_hold_the_published_frames(arrays):
    for row, expected in zip(arrays["params"], arrays["frames"].tolist(), strict=True):
        video_size, clip_size, number, num_crops, num_frames, start, end = row
        found = crop_start_frame(
            int(video_size), clip_size, crop_number=int(number), num_crops=int(num_crops)
        )
        np.testing.assert_allclose([found, found + clip_size - 1], [start, end], rtol=1e-6)
        frames = crop_frames(found, clip_size, num_frames=int(num_frames), num_video_frames=int(video_size))
        assert frames == expected[: int(num_frames)]
        assert set(expected[int(num_frames) :]) <= {-1}


@each_case("cpd_crops")
def test_frames_are_scaled_and_cropped_as_published(arrays):
    for height, width, crop_pixels, position, top, left in arrays["crops"].tolist():
        assert uniform_crop_offset((height, width), crop_pixels, position=position) == (top, left)
    for height, width, short_side, *expected in arrays["resized"].tolist():
        scaled = resize_short_side(torch.zeros(3, 2, height, width), short_side)
        assert list(scaled.shape) == [3, 2, *expected]


@each_case("uniform_frames")
def test_frames_of_a_trajectory_by_the_published_rule(arrays):
    lengths, frames = arrays["lengths"].tolist(), arrays["frames"].tolist()
    for length, expected in zip(lengths, frames, strict=True):
        assert video_frames(length, 32, sampling="published") == expected


@each_case("howto100m_features")
def test_features_of_clips_are_pooled_as_published(arrays):
    steps_2d = torch.from_numpy(filled_input("sampling/howto100m_features/feat2d", (30, 6), "normal"))
    steps_3d = torch.from_numpy(filled_input("sampling/howto100m_features/feat3d", (45, 5), "normal"))
    tracks = [FeatureTrack(steps_2d, 1.0), FeatureTrack(steps_3d, 1.5)]
    starts, ends = [0, 3.7, 10.2, 28.9, 35.0], [4, 9.1, 10.4, 31.0, 40.0]
    spans = [Span(start, end) for start, end in zip(starts, ends, strict=True)]
    expected = arrays["features"]

    published = clip_features(tracks, spans, when_outside="zeros")
    assert published.features.dtype == torch.float32
    np.testing.assert_allclose(published.features, expected, rtol=1e-6)

    # The last clip lies behind both tracks. Not zeros but the nearest step is the right answer, and counted.
    ours = clip_features(tracks, spans)
    np.testing.assert_allclose(ours.features[:4], expected[:4], rtol=1e-6)
    last = [steps[-1] / steps[-1].norm() for steps in (steps_2d, steps_3d)]
    torch.testing.assert_close(ours.features[4], torch.cat(last))
    assert (published.num_outside, ours.num_outside) == (2, 2)
