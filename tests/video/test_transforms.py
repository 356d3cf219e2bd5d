"""Pixels between decoder and network."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from narravid.video.transforms import (
    Augmentation,
    horizontal_flip,
    normalise,
    random_crop,
    random_shift,
    scale_brightness,
    to_channels_first,
    to_levels,
    to_unit_float,
)


def clip(seed=0, shape=(3, 2, 8, 10)):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_every_level_keeps_its_place():
    levels = torch.arange(256, dtype=torch.uint8)
    unit = to_unit_float(levels)
    assert unit.dtype == torch.float32
    assert torch.equal(unit, torch.arange(256, dtype=torch.float32) / 255)
    assert (unit[0], unit[-1]) == (0, 1)
    assert torch.equal(levels, torch.arange(256, dtype=torch.uint8))


def test_levels_come_back_rounded_and_held_at_the_ends():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_levels(to_unit_float(levels)), levels)
    outside = torch.tensor([-0.2, 0.4 / 255, 0.6 / 255, 254.4 / 255, 1.3])
    assert to_levels(outside).tolist() == [0, 0, 1, 254, 255]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_are_left_in_their_range(dtype):
    values = torch.tensor([0.0, 0.25, 1.0], dtype=dtype)
    assert torch.equal(to_unit_float(values), torch.tensor([0.0, 0.25, 1.0]))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool])
def test_other_numbers_are_refused(dtype):
    with pytest.raises(ValueError, match="clips must be uint8"):
        to_unit_float(torch.zeros(2, dtype=dtype))


def test_normalise():
    clips = torch.rand(2, 3, 4, 5, 6)
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    result = normalise(clips, mean, std)
    for channel in range(3):
        expected = (clips[:, channel] - mean[channel]) / std[channel]
        assert torch.allclose(result[:, channel], expected)
    assert torch.equal(normalise(clips[0], mean, std), result[0])
    assert normalise(clips, (0.0,) * 3, (1.0,) * 3) is clips
    assert torch.equal(normalise(clips, (0.0,) * 3, (2.0,) * 3), clips / 2)
    assert torch.equal(normalise(clips, (0.5,) * 3, (1.0,) * 3), clips - 0.5)


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 4, 4, 4), (3, 2, 3, 4, 4)])
def test_normalise_checks_the_channels(shape):
    with pytest.raises(ValueError, match="C = 3 means and"):
        normalise(torch.zeros(shape), (0.1, 0.1, 0.1), (1.0,) * (3 if shape[0] != 3 else 2))


def test_channels_first():
    frames = torch.arange(2 * 4 * 5 * 3).view(2, 4, 5, 3)
    result = to_channels_first(frames)
    assert result.shape == (3, 2, 4, 5)
    assert all(torch.equal(result[channel], frames[..., channel]) for channel in range(3))
    assert result.data_ptr() == frames.data_ptr()
    assert to_channels_first(frames[None]).shape == (1, 3, 2, 4, 5)
    with pytest.raises(ValueError, match=r"frames must be \(\.\.\., T, H, W, C\)"):
        to_channels_first(frames[0])


def test_flip(generator):
    pixels = clip()
    assert torch.equal(horizontal_flip(pixels, 1.0, generator=generator), pixels.flip(3))
    assert horizontal_flip(pixels, 0.0, generator=generator) is pixels
    flips = sum(horizontal_flip(pixels, 0.3, generator=generator) is not pixels for _ in range(1000))
    assert 230 < flips < 370  # 300 expected, standard deviation 14.5: nearly five of them


@given(seed=st.integers(0, 10_000), shift=st.integers(0, 7))
@settings(deadline=None)
def test_shift_moves_all_frames_and_repeats_the_edges(seed, shift):
    pixels = clip()
    moved = random_shift(pixels, shift, generator=torch.Generator().manual_seed(seed))
    padded = torch.nn.functional.pad(pixels.float(), (7, 7, 7, 7), mode="replicate").to(torch.uint8)
    places = [
        (down, across)
        for down in range(-shift, shift + 1)
        for across in range(-shift, shift + 1)
        if torch.equal(moved, padded[..., 7 + down : 15 + down, 7 + across : 17 + across])
    ]
    assert len(places) >= 1


def test_every_shift_occurs(generator):
    column = torch.arange(8, dtype=torch.uint8).view(1, 1, 8, 1).expand(1, 1, 8, 8)
    seen = {int(random_shift(column, 2, generator=generator)[0, 0, 4, 0]) for _ in range(200)}
    assert seen == {2, 3, 4, 5, 6}
    row = column.transpose(2, 3)
    seen = {int(random_shift(row, 2, generator=generator)[0, 0, 0, 4]) for _ in range(200)}
    assert seen == {2, 3, 4, 5, 6}
    with pytest.raises(ValueError, match="shift_pixels must be 0 to 7, got 8"):
        random_shift(column, 8, generator=generator)


def test_every_crop_occurs(generator):
    pixels = torch.arange(4 * 5, dtype=torch.uint8).view(1, 1, 4, 5)
    seen = {int(random_crop(pixels, 3, generator=generator)[0, 0, 0, 0]) for _ in range(300)}
    assert seen == {0, 1, 2, 5, 6, 7}
    square = random_crop(pixels, 3, generator=generator)
    corner = int(square[0, 0, 0, 0])
    assert square[0, 0].tolist() == [[corner + 5 * row + column for column in range(3)] for row in range(3)]
    assert torch.equal(random_crop(pixels[..., :4], 4, generator=generator), pixels[..., :4])
    for size in (0, 5):
        with pytest.raises(ValueError, match="size_pixels must be 1 to 4"):
            random_crop(pixels, size, generator=generator)


def test_brightness():
    levels = torch.tensor([0, 1, 100, 200, 255], dtype=torch.uint8)
    assert scale_brightness(levels, 1.5).tolist() == [0, 2, 150, 255, 255]
    assert scale_brightness(levels, 0.0).tolist() == [0] * 5
    assert torch.equal(scale_brightness(levels, 1.0), levels)
    with pytest.raises(ValueError, match="uint8"):
        scale_brightness(levels.float(), 1.0)


def test_augmentation_is_a_function_of_the_generator():
    pixels = clip(shape=(3, 4, 16, 16))
    before = pixels.clone()
    augmentation = Augmentation(flip_probability=0.5, brightness=0.4, shift_pixels=3)
    results = [augmentation.apply(pixels, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert torch.equal(pixels, before)
    assert all(result.shape == pixels.shape and result.dtype == torch.uint8 for result in results)


def test_brightness_of_an_augmentation_stays_in_its_range(generator):
    grey = torch.full((3, 1, 4, 4), 100, dtype=torch.uint8)
    augmentation = Augmentation(flip_probability=0.0, brightness=0.3)
    levels = [int(augmentation.apply(grey, generator)[0, 0, 0, 0]) for _ in range(400)]
    assert min(levels) in range(70, 75)
    assert max(levels) in range(126, 131)


def test_no_augmentation_gives_the_clip_itself(generator):
    pixels = clip()
    assert Augmentation(flip_probability=0.0).apply(pixels, generator) is pixels


@pytest.mark.parametrize(
    "options",
    [{"flip_probability": 1.1}, {"flip_probability": -0.1}, {"brightness": 1.1}, {"shift_pixels": -1}],
)
def test_augmentation_checks_its_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Augmentation(**options)
