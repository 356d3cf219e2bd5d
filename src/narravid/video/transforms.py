"""Pixels on their way from the decoder to a network: range, layout, normalisation, augmentation.

Clips are (C, T, H, W), batches (B, C, T, H, W). Augmentations draw once per clip, so that all its frames move
together, and take their randomness from a generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

__all__ = [
    "Augmentation",
    "horizontal_flip",
    "normalise",
    "random_crop",
    "random_shift",
    "scale_brightness",
    "to_channels_first",
    "to_levels",
    "to_unit_float",
]

MAX_LEVEL = 255


def to_unit_float(clips: torch.Tensor) -> torch.Tensor:
    """Pixels as float32 in [0, 1].

    Args:
        clips: Any shape; uint8 in [0, 255], or floating in [0, 1] already.

    Returns:
        The same shape, float32 in [0, 1].

    Raises:
        ValueError: If the dtype is neither uint8 nor floating.
    """
    if clips.dtype == torch.uint8:
        return clips.to(torch.float32).div_(255)
    if not clips.is_floating_point():
        raise ValueError(f"clips must be uint8 in [0, 255] or floating in [0, 1], got {clips.dtype}")
    return clips.to(torch.float32)


def to_levels(clips: torch.Tensor) -> torch.Tensor:
    """Pixels in [0, 1] back to whole levels: rounded, values outside held at the ends.

    Args:
        clips: Any shape, floating.

    Returns:
        The same shape, uint8 in [0, 255].
    """
    return (clips * MAX_LEVEL).round().clamp(0, MAX_LEVEL).to(torch.uint8)


def normalise(clips: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(x - mean) / std per channel.

    Args:
        clips: (..., C, T, H, W) floating in [0, 1].
        mean: C numbers.
        std: C positive numbers.

    Returns:
        The same shape; `clips` itself when there is nothing to do.

    Raises:
        ValueError: If the number of channels does not fit.
    """
    if clips.ndim < 4 or not clips.shape[-4] == len(mean) == len(std):
        raise ValueError(
            f"clips must be (..., C, T, H, W) with C = {len(mean)} means and {len(std)} stds, "
            f"got {tuple(clips.shape)}"
        )
    if not any(mean) and all(value == 1 for value in std):
        return clips
    shape = (len(mean), 1, 1, 1)
    means = torch.tensor(mean, dtype=clips.dtype, device=clips.device).view(shape)
    stds = torch.tensor(std, dtype=clips.dtype, device=clips.device).view(shape)
    return (clips - means) / stds


def to_channels_first(frames: torch.Tensor) -> torch.Tensor:
    """Decoded frames (..., T, H, W, C) to the networks' layout (..., C, T, H, W); a view, not a copy."""
    if frames.ndim < 4:
        raise ValueError(f"frames must be (..., T, H, W, C), got {tuple(frames.shape)}")
    return frames.movedim(-1, -4)


def horizontal_flip(clip: torch.Tensor, probability: float, *, generator: torch.Generator) -> torch.Tensor:
    """Mirror the clip left to right with a probability.

    Args:
        clip: (..., W), any dtype.
        probability: In [0, 1].
        generator: Source of the draw; one number is taken whatever the probability.

    Returns:
        The clip or its mirror image.
    """
    return clip.flip(-1) if _uniform(generator) < probability else clip


def random_shift(clip: torch.Tensor, shift_pixels: int, *, generator: torch.Generator) -> torch.Tensor:
    """Move the picture by up to `shift_pixels` in each direction; the border repeats its edge pixels.

    Args:
        clip: (C, T, H, W).
        shift_pixels: Largest shift, at least 0 and below H and W.
        generator: Source of the two draws.

    Returns:
        The same shape and dtype.
    """
    height, width = clip.shape[-2:]
    if not 0 <= shift_pixels < min(height, width):
        raise ValueError(f"shift_pixels must be 0 to {min(height, width) - 1}, got {shift_pixels}")
    if shift_pixels == 0:
        return clip
    down, across = torch.randint(-shift_pixels, shift_pixels + 1, (2,), generator=generator).tolist()
    rows = (torch.arange(height, device=clip.device) + down).clamp_(0, height - 1)
    columns = (torch.arange(width, device=clip.device) + across).clamp_(0, width - 1)
    return clip.index_select(-2, rows).index_select(-1, columns)


def random_crop(clip: torch.Tensor, size_pixels: int, *, generator: torch.Generator) -> torch.Tensor:
    """Cut a square out of the frames at one random place; every place is equally likely, borders included.

    Args:
        clip: (..., H, W) with H and W at least `size_pixels`.
        size_pixels: Side of the square.
        generator: Source of the two draws.

    Returns:
        (..., size_pixels, size_pixels), a view.

    Raises:
        ValueError: If the frames are smaller than the square.
    """
    height, width = clip.shape[-2:]
    if not 1 <= size_pixels <= min(height, width):
        raise ValueError(f"size_pixels must be 1 to {min(height, width)}, got {size_pixels}")
    top = int(torch.randint(height - size_pixels + 1, (), generator=generator))
    left = int(torch.randint(width - size_pixels + 1, (), generator=generator))
    return clip[..., top : top + size_pixels, left : left + size_pixels]


def scale_brightness(clip: torch.Tensor, factor: float) -> torch.Tensor:
    """Multiply uint8 pixels by a factor, rounded and held in [0, 255].

    Args:
        clip: Any shape, uint8.
        factor: At least 0; 1 changes nothing.

    Returns:
        The same shape, uint8.
    """
    if clip.dtype != torch.uint8:
        raise ValueError(f"brightness is scaled on uint8 pixels, got {clip.dtype}")
    return clip.to(torch.float32).mul_(factor).round_().clamp_(0, MAX_LEVEL).to(torch.uint8)


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator, dtype=torch.float64))


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes that leave the meaning of a clip alone.

    Attributes:
        flip_probability: How often a clip is mirrored left to right, 0 to 1; 0 where left and right matter.
        brightness: Brightness is scaled by a factor between 1 - brightness and 1 + brightness.
        shift_pixels: The picture is moved by up to so many pixels.
    """

    flip_probability: float = 0.5
    brightness: float = 0.0
    shift_pixels: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.flip_probability <= 1:
            raise ValueError(f"flip_probability must be 0 to 1, got {self.flip_probability}")
        if not 0 <= self.brightness <= 1:
            raise ValueError(f"brightness must be 0 to 1, got {self.brightness}")
        if self.shift_pixels < 0:
            raise ValueError(f"shift_pixels must be at least 0, got {self.shift_pixels}")

    def apply(self, clip: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """A changed copy, or the clip itself where nothing changes.

        Args:
            clip: (C, T, H, W) uint8; never written to.
            generator: Source of all draws.

        Returns:
            The same shape and dtype.
        """
        clip = random_shift(clip, self.shift_pixels, generator=generator)
        clip = horizontal_flip(clip, self.flip_probability, generator=generator)
        if self.brightness:
            factor = 1 + self.brightness * (2 * _uniform(generator) - 1)
            clip = scale_brightness(clip, factor)
        return clip
