"""Scaling and cropping: sizes, aspect, what stays where, ranges, and every refusal."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from narravid.video import resize as resize_module
from narravid.video.resize import (
    center_square,
    draw_short_side_pixels,
    halve,
    resize,
    resize_short_side,
    short_side_size,
    uniform_crop,
    uniform_crop_offset,
)

sides = st.integers(1, 60)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(3))


def test_doctests_hold():
    results = doctest.testmod(resize_module)
    assert results.attempted >= 1
    assert results.failed == 0


# ---------------------------------------------------------------- scaling


@given(height=sides, width=sides, new_height=sides, new_width=sides)
def test_a_flat_picture_stays_flat(height, width, new_height, new_width):
    flat = torch.full((3, 2, height, width), 0.4)
    for interpolation in ("bilinear", "bicubic"):
        scaled = resize(flat, (new_height, new_width), interpolation=interpolation)
        assert scaled.shape == (3, 2, new_height, new_width)
        torch.testing.assert_close(scaled, torch.full_like(scaled, 0.4))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_frames_are_scaled_one_by_one(interpolation):
    clips = noise(2, 3, 4, 9, 12)
    scaled = resize(clips, (5, 20), interpolation=interpolation)
    for sample in range(2):
        for channel in range(3):
            for frame in range(4):
                alone = resize(clips[sample, channel, frame], (5, 20), interpolation=interpolation)
                assert torch.equal(scaled[sample, channel, frame], alone)


@given(height=st.integers(2, 20), width=st.integers(2, 20))
def test_scaling_commutes_with_mirroring_and_turning(height, width):
    picture = noise(height, width)
    scaled = resize(picture, (7, 11), interpolation="bicubic")
    # 1e-6: the weights of mirrored places are rounded differently.
    mirrored = resize(picture.flip(1), (7, 11), interpolation="bicubic")
    torch.testing.assert_close(mirrored, scaled.flip(1), rtol=0, atol=2e-6)
    turned = resize(picture.T, (11, 7), interpolation="bicubic")
    torch.testing.assert_close(turned, scaled.T, rtol=0, atol=2e-6)


def test_doubling_bilinearly_by_hand():
    row = torch.tensor([[0.0, 1.0]])
    assert resize(row, (1, 4)).tolist() == [[0.0, 0.25, 0.75, 1.0]]


@pytest.mark.parametrize(
    ("interpolation", "filter_"),
    [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)],
)
def test_antialiasing_is_that_of_pillow(interpolation, filter_):
    picture = noise(60, 90)
    expected = np.asarray(Image.fromarray(picture.numpy()).resize((30, 20), filter_))
    scaled = resize(picture, (20, 30), interpolation=interpolation, antialias=True)
    # Both are float32 sums of up to 20 x 20 weighted pixels; the same cubic, a = -0.5.
    np.testing.assert_allclose(scaled, expected, atol=1e-5)
    plain = resize(picture, (20, 30), interpolation=interpolation)
    assert (plain - scaled).abs().max() > 0.05


def test_the_right_size_is_left_alone():
    clip = noise(3, 2, 8, 6)
    assert resize(clip, (8, 6)) is clip


@given(height=sides, width=sides, short_side=sides)
def test_the_short_side_gets_its_length_and_the_ratio_stays(height, width, short_side):
    scaled = resize_short_side(torch.zeros(height, width), short_side)
    new_height, new_width = scaled.shape
    assert min(new_height, new_width) == short_side
    longer, ratio = max(new_height, new_width), max(height, width) / min(height, width)
    assert ratio * short_side - 1 < longer <= ratio * short_side + 1e-9
    if height != width:
        assert (height < width) == (new_height < new_width) or new_height == new_width


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_stays(dtype):
    assert resize(noise(4, 4).to(dtype), (3, 3)).dtype == dtype
    assert center_square(noise(4, 6).to(dtype), 3).dtype == dtype


def test_scales_are_drawn_uniformly_and_rounded(generator):
    draws = [draw_short_side_pixels(5, 8, generator=generator) for _ in range(3000)]
    counts = [draws.count(value) for value in (5, 6, 7, 8)]
    assert sum(counts) == 3000
    # Binomial with p = 1/6 and 1/3: standard deviations 20.4 and 25.8; 5 of them.
    assert all(abs(counts[place] - 500) < 102 for place in (0, 3))
    assert all(abs(counts[place] - 1000) < 129 for place in (1, 2))
    assert draw_short_side_pixels(7, 7, generator=generator) == 7


# ---------------------------------------------------------------- crops


@given(height=sides, width=sides, data=st.data())
def test_crops_lie_inside_at_both_ends_and_in_the_middle(height, width, data):
    crop = data.draw(st.integers(1, min(height, width)))
    corners = [uniform_crop_offset((height, width), crop, position=position) for position in range(3)]
    along = [corner[0 if height > width else 1] for corner in corners]
    across = {corner[1 if height > width else 0] for corner in corners}
    rest = max(height, width) - crop
    assert along == [0, (rest + 1) // 2, rest]
    assert across == {(min(height, width) - crop + 1) // 2}


def test_a_crop_is_a_view_of_the_place():
    clip = torch.arange(2 * 3 * 5, dtype=torch.uint8).view(2, 3, 5)
    assert uniform_crop(clip, 3)[0].tolist() == [[1, 2, 3], [6, 7, 8], [11, 12, 13]]
    assert torch.equal(uniform_crop(clip, 3, position=0), clip[..., :3])
    assert torch.equal(uniform_crop(clip, 3, position=2), clip[..., 2:])
    turned = clip.transpose(1, 2)
    assert torch.equal(uniform_crop(turned, 3, position=2), turned[..., 2:, :])
    assert uniform_crop(clip, 3, position=0).data_ptr() == clip.data_ptr()


# ---------------------------------------------------------------- whole preparations


@given(height=st.integers(2, 50), width=st.integers(2, 50), size=st.integers(1, 40))
def test_the_middle_square_keeps_the_range(height, width, size):
    black_and_white = (noise(3, 1, height, width) > 0.5).float()
    square = center_square(black_and_white, size)
    assert square.shape == (3, 1, size, size)
    assert square.min() >= 0
    assert square.max() <= 1


def test_the_middle_square_keeps_the_aspect():
    wide = torch.zeros(1, 20, 40)
    wide[..., 10:30] = 1.0
    assert center_square(wide, 10)[..., 1:-1].min() > 0.9
    assert torch.equal(center_square(wide, 20), torch.ones(1, 20, 20))


def test_halving_keeps_the_range_and_needs_multiples_of_four():
    black_and_white = (noise(3, 8, 12) > 0.5).float()
    halved = halve(black_and_white)
    assert halved.shape == (3, 4, 6)
    assert halved.min() >= 0
    assert halved.max() <= 1
    by_factor = torch.nn.functional.interpolate(
        black_and_white[None], scale_factor=0.5, mode="bicubic", align_corners=False
    )
    torch.testing.assert_close(halved, by_factor[0].clamp(0, 1))
    for height, width in ((8, 10), (6, 8), (7, 8)):
        with pytest.raises(ValueError, match=f"multiples of 4.*got {height} x {width} pixels"):
            halve(torch.zeros(height, width))


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "clips", [torch.zeros(4, 4, dtype=torch.uint8), torch.zeros(4), torch.zeros(3, 0, 4)]
)
def test_only_floating_pictures_are_scaled(clips):
    for function in (
        lambda: resize(clips, (2, 2)),
        lambda: resize_short_side(clips, 2),
        lambda: center_square(clips, 2),
        lambda: halve(clips),
    ):
        with pytest.raises(ValueError, match=r"^clips must be \(\.\.\., H, W\) floating and not empty"):
            function()


def test_sizes_must_be_positive():
    with pytest.raises(ValueError, match=r"^size_pixels must be at least 1 x 1, got \(0, 4\)$"):
        resize(torch.zeros(4, 4), (0, 4))
    with pytest.raises(ValueError, match="^lengths must be at least 1 pixel, got 4, 4 and 0$"):
        resize_short_side(torch.zeros(4, 4), 0)


def test_the_interpolation_must_be_known():
    with pytest.raises(ValueError, match="interpolation must be 'bilinear' or 'bicubic', got 'nearest'"):
        resize(torch.zeros(4, 4), (2, 2), interpolation="nearest")


@pytest.mark.parametrize("crop", [0, 4])
def test_crops_must_fit(crop):
    with pytest.raises(ValueError, match=f"^crop_pixels must be 1 to 3, got {crop}$"):
        uniform_crop(torch.zeros(3, 5), crop)


@pytest.mark.parametrize("position", [-1, 3])
def test_positions_are_three(position):
    with pytest.raises(ValueError, match=f"^position must be 0, 1 or 2, got {position}$"):
        uniform_crop(torch.zeros(3, 5), 2, position=position)


@pytest.mark.parametrize(("low", "high"), [(0, 4), (5, 4)])
def test_a_range_of_scales_must_be_one(low, high, generator):
    with pytest.raises(ValueError, match="1 <= min_pixels <= max_pixels must hold"):
        draw_short_side_pixels(low, high, generator=generator)


@given(height=st.integers(1, 3000), width=st.integers(1, 3000), size=st.integers(1, 300))
def test_a_size_by_its_shorter_side_keeps_the_aspect(height, width, size):
    scaled = short_side_size(height, width, size_pixels=size)
    assert min(scaled) == size
    assert short_side_size(width, height, size_pixels=size) == scaled[::-1]
    exact = max(height, width) * size / min(height, width)
    assert 0 <= exact - max(scaled) < 1


@pytest.mark.parametrize("lengths", [(0, 5, 5), (5, 0, 5), (5, 5, 0)])
def test_lengths_below_one_are_refused(lengths):
    height, width, size = lengths
    with pytest.raises(ValueError, match="at least 1"):
        short_side_size(height, width, size_pixels=size)
