"""Scaling and cropping frames to the square a network wants, with PyTorch alone.

Clips are (..., H, W) floating tensors: the leading axes (batch, channels, frames) in any order, all frames
treated alike. uint8 pixels go through `transforms.to_unit_float` first.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F

__all__ = [
    "Interpolation",
    "center_square",
    "draw_short_side_pixels",
    "halve",
    "resize",
    "resize_short_side",
    "short_side_size",
    "uniform_crop",
    "uniform_crop_offset",
]

Interpolation = Literal["bilinear", "bicubic"]
"""How pixels between pixels are made; corners are not aligned, so a pixel is an area."""


def resize(
    clips: torch.Tensor,
    size_pixels: tuple[int, int],
    *,
    interpolation: Interpolation = "bilinear",
    antialias: bool = False,
) -> torch.Tensor:
    """Scale every frame to a height and a width, whatever that does to the aspect ratio.

    Args:
        clips: (..., H, W) floating.
        size_pixels: New height and width.
        interpolation: "bicubic" may overshoot the range of its input; clamp where that matters.
        antialias: Widen the filter when scaling down, so that fine patterns do not alias; the published
            programs do without.

    Returns:
        (..., height, width), same dtype; `clips` itself when it has that size already.

    Raises:
        ValueError: If the clips are not floating or have no pixels, the size is below 1, or the interpolation
            is unknown.
    """
    _check_clips(clips)
    if min(size_pixels) < 1:
        raise ValueError(f"size_pixels must be at least 1 x 1, got {size_pixels}")
    if interpolation not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolation must be 'bilinear' or 'bicubic', got {interpolation!r}")
    if tuple(clips.shape[-2:]) == tuple(size_pixels):
        return clips
    planes = clips.reshape(-1, 1, *clips.shape[-2:])
    scaled = F.interpolate(
        planes, size=size_pixels, mode=interpolation, align_corners=False, antialias=antialias
    )
    return scaled.view(*clips.shape[:-2], *size_pixels)


def short_side_size(height: int, width: int, *, size_pixels: int) -> tuple[int, int]:
    """Size of a picture scaled so that its shorter side has a given length; the longer one is rounded down.

    Args:
        height: Pixels.
        width: Pixels.
        size_pixels: Length of the shorter side afterwards.

    Returns:
        Height and width in pixels.

    Raises:
        ValueError: If a length is below 1.

    >>> short_side_size(1080, 1920, size_pixels=112)
    (112, 199)
    """
    if min(height, width, size_pixels) < 1:
        raise ValueError(f"lengths must be at least 1 pixel, got {height}, {width} and {size_pixels}")
    if height <= width:
        return size_pixels, width * size_pixels // height
    return height * size_pixels // width, size_pixels


def resize_short_side(
    clips: torch.Tensor,
    short_side_pixels: int,
    *,
    interpolation: Interpolation = "bilinear",
    antialias: bool = False,
) -> torch.Tensor:
    """Scale every frame so that its shorter side has a length; the longer one keeps the ratio, rounded down.

    With the default interpolation as in CPD (Li & Wang 2020, arXiv 2001.05691, released loader).

    Args:
        clips: (..., H, W) floating.
        short_side_pixels: New length of the shorter side.
        interpolation: As for `resize`.
        antialias: As for `resize`.

    Returns:
        (..., height, width), same dtype.

    Raises:
        ValueError: As for `resize`.
    """
    _check_clips(clips)
    height, width = clips.shape[-2:]
    size_pixels = short_side_size(height, width, size_pixels=short_side_pixels)
    return resize(clips, size_pixels, interpolation=interpolation, antialias=antialias)


def draw_short_side_pixels(min_pixels: int, max_pixels: int, *, generator: torch.Generator) -> int:
    """Draw the length of the shorter side for a random scale: uniform in [min, max], rounded to pixels.

    So the two ends are half as likely as the lengths between. CPD trains at 256 to 340 pixels before a crop
    of 224, 128 to 170 before one of 112 (Li & Wang 2020, arXiv 2001.05691, released loader).

    Args:
        min_pixels: Shortest, at least 1.
        max_pixels: Longest, included.
        generator: Source of the draw; one number is taken whatever the range.

    Returns:
        A length in pixels.
    """
    if not 1 <= min_pixels <= max_pixels:
        raise ValueError(f"1 <= min_pixels <= max_pixels must hold, got {min_pixels} and {max_pixels}")
    share = float(torch.rand((), generator=generator, dtype=torch.float64))
    return round(min_pixels + (max_pixels - min_pixels) * share)


def uniform_crop_offset(size_pixels: tuple[int, int], crop_pixels: int, *, position: int) -> tuple[int, int]:
    """Upper left corner of one of the three crops over which a test averages (Li & Wang 2020, CPD).

    The crops lie at the beginning, in the middle and at the end of the longer side (the width of a square),
    in the middle of the other; an odd rest is left over on the right or below the middle.

    Args:
        size_pixels: Height and width of the frames.
        crop_pixels: Side of the square crop.
        position: 0 for left or top, 1 for the middle, 2 for right or bottom.

    Returns:
        (rows from the top, columns from the left).

    Raises:
        ValueError: If the crop is larger than the frames, or there is no such position.

    >>> [uniform_crop_offset((112, 149), 112, position=position) for position in (0, 1, 2)]
    [(0, 0), (0, 19), (0, 37)]
    """
    height, width = size_pixels
    if not 1 <= crop_pixels <= min(height, width):
        raise ValueError(f"crop_pixels must be 1 to {min(height, width)}, got {crop_pixels}")
    if position not in (0, 1, 2):
        raise ValueError(f"position must be 0, 1 or 2, got {position}")
    rows, columns = height - crop_pixels, width - crop_pixels
    down, across = math.ceil(rows / 2), math.ceil(columns / 2)
    if height > width:
        return (0, down, rows)[position], across
    return down, (0, across, columns)[position]


def uniform_crop(clips: torch.Tensor, crop_pixels: int, *, position: int = 1) -> torch.Tensor:
    """Cut the square of `uniform_crop_offset` out of every frame, by default the middle one.

    Args:
        clips: (..., H, W), any dtype.
        crop_pixels: Side of the square.
        position: 0, 1 or 2.

    Returns:
        (..., crop_pixels, crop_pixels), a view.

    Raises:
        ValueError: As for `uniform_crop_offset`.
    """
    height, width = clips.shape[-2:]
    top, left = uniform_crop_offset((height, width), crop_pixels, position=position)
    return clips[..., top : top + crop_pixels, left : left + crop_pixels]


def center_square(clips: torch.Tensor, size_pixels: int) -> torch.Tensor:
    """Scale the shorter side to a length and keep the square in the middle: the aspect ratio stays.

    Bicubic with antialiasing, held in [0, 1] afterwards.

    Args:
        clips: (..., H, W) floating in [0, 1].
        size_pixels: Side of the square.

    Returns:
        (..., size_pixels, size_pixels), same dtype, in [0, 1].

    Raises:
        ValueError: As for `resize`.
    """
    scaled = resize_short_side(clips, size_pixels, interpolation="bicubic", antialias=True)
    return uniform_crop(scaled, size_pixels).clamp(0, 1)


def halve(clips: torch.Tensor) -> torch.Tensor:
    """Scale both sides by one half, bicubic, held in [0, 1]: the first published S3D trajectory script.

    Args:
        clips: (..., H, W) floating in [0, 1], H and W multiples of 4, because the space-to-depth stem of S3D
            needs even sides.

    Returns:
        (..., H / 2, W / 2), same dtype, in [0, 1].

    Raises:
        ValueError: If half of a side would be odd, or the clips are not floating.
    """
    _check_clips(clips)
    height, width = clips.shape[-2:]
    if height % 4 or width % 4:
        raise ValueError(
            "halving needs sides that are multiples of 4, so that the halves are even, "
            f"got {height} x {width} pixels; scale to a square instead"
        )
    return resize(clips, (height // 2, width // 2), interpolation="bicubic").clamp(0, 1)


def _check_clips(clips: torch.Tensor) -> None:
    if clips.ndim < 2 or 0 in clips.shape[-2:] or not clips.is_floating_point():
        raise ValueError(
            f"clips must be (..., H, W) floating and not empty, got {tuple(clips.shape)} {clips.dtype}"
        )
