"""Whole videos cut into clips: what is filled up, what is cut, and the scale of the pixels."""

from __future__ import annotations

import doctest

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narravid.video import chunks
from narravid.video.chunks import center_offsets, frames_to_chunks, normalise_levels
from narravid.video.resize import short_side_size
from narravid.video.transforms import normalise, to_unit_float


def test_doctests_hold():
    results = doctest.testmod(chunks)
    assert results.attempted == 1
    assert results.failed == 0


def numbered(num_frames: int) -> torch.Tensor:
    """Frame i is filled with i + 1; no frame is black."""
    return torch.arange(1, num_frames + 1, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 2, 3, 3)


@given(num_frames=st.integers(1, 70), chunk=st.integers(1, 20))
def test_every_frame_comes_once_and_only_the_last_chunk_is_filled(num_frames, chunk):
    cut = frames_to_chunks(numbered(num_frames), num_frames=chunk)
    assert cut.shape == (-(-num_frames // chunk), 3, chunk, 2, 3)
    assert cut.dtype == torch.uint8
    in_order = cut[:, 0, :, 0, 0].flatten().tolist()
    assert in_order[:num_frames] == list(range(1, num_frames + 1))
    assert set(in_order[num_frames:]) <= {0}
    assert len(in_order) - num_frames < chunk


def test_channels_rows_and_columns_stay_where_they_are(generator):
    frames = torch.randint(0, 256, (6, 4, 5, 3), generator=generator, dtype=torch.uint8)
    cut = frames_to_chunks(frames, num_frames=3)
    assert torch.equal(cut[1, 2, 1], frames[4, :, :, 2])


def test_one_frame_is_not_skipped():
    assert frames_to_chunks(numbered(1), num_frames=16).shape == (1, 3, 16, 2, 3)


@pytest.mark.parametrize(
    ("frames", "num_frames", "message"),
    [
        (torch.zeros((0, 2, 2, 3), dtype=torch.uint8), 16, "at least one frame"),
        (torch.zeros((2, 2, 2, 3), dtype=torch.uint8), 0, "at least one frame"),
        (torch.zeros((2, 3, 2, 2), dtype=torch.uint8), 16, r"\(T, H, W, 3\) uint8"),
        (torch.zeros((2, 2, 2, 3)), 16, "float32"),
    ],
)
def test_other_frames_are_refused(frames, num_frames, message):
    with pytest.raises(ValueError, match=message):
        frames_to_chunks(frames, num_frames=num_frames)


@given(height=st.integers(1, 3000), width=st.integers(1, 3000), size=st.integers(1, 300))
def test_the_square_lies_in_the_middle(height, width, size):
    scaled = short_side_size(height, width, size_pixels=size)
    top, left = center_offsets(*scaled, size_pixels=size)
    for start, length in ((top, scaled[0]), (left, scaled[1])):
        assert 0 <= length - size - 2 * start <= 1


def test_a_square_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="1 to 4, got 5"):
        center_offsets(4, 9, size_pixels=5)


def test_levels_are_normalised_as_unit_values_are(generator):
    clips = torch.randint(0, 256, (2, 3, 2, 4, 5), generator=generator, dtype=torch.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    expected = normalise(to_unit_float(clips), mean, std)
    # Both round a few times in float32.
    torch.testing.assert_close(normalise_levels(clips, mean, std), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        normalise_levels(to_unit_float(clips), mean, std), expected, rtol=1e-5, atol=1e-6
    )


def test_every_level_survives_the_scale_of_one():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 256).expand(3, 1, 1, 256)
    std = (1 / 255, 1 / 255, 1 / 255)
    for clips in (levels, to_unit_float(levels)):
        assert torch.equal(normalise_levels(clips, (0.0, 0.0, 0.0), std), levels.float())
