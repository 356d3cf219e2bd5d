"""Cutting whole videos into clips for feature extraction, as the 3-D extractor of HowTo100M does it.

Miech et al., ICCV 2019, arXiv 1906.03327, and its extraction program: frames at 24 per second, the shorter
side 112 pixels, the centre square, clips of 16 frames without overlap, a mean subtracted on the scale 0 to
255.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from narravid.video.transforms import MAX_LEVEL, normalise, to_unit_float

__all__ = ["center_offsets", "frames_to_chunks", "normalise_levels"]


def center_offsets(height: int, width: int, *, size_pixels: int) -> tuple[int, int]:
    """Top and left of the centre square of a picture; an odd pixel is left over below and on the right.

    Args:
        height: Pixels.
        width: Pixels.
        size_pixels: Side of the square, at most the shorter side.

    Returns:
        First row and first column.

    Raises:
        ValueError: If the square does not fit.

    >>> center_offsets(112, 199, size_pixels=112)
    (0, 43)
    """
    if not 1 <= size_pixels <= min(height, width):
        raise ValueError(f"size_pixels must be 1 to {min(height, width)}, got {size_pixels}")
    return (height - size_pixels) // 2, (width - size_pixels) // 2


def frames_to_chunks(frames: torch.Tensor, *, num_frames: int) -> torch.Tensor:
    """Cut the decoded frames of a video into clips that do not overlap; the last is filled with black frames.

    Black is 0 before any mean is subtracted, as published: for the network such a frame is minus the mean.

    Args:
        frames: (T, H, W, 3) uint8, T at least 1.
        num_frames: Frames per clip.

    Returns:
        (ceil(T / num_frames), 3, num_frames, H, W) uint8; a view of `frames` where nothing is filled up.

    Raises:
        ValueError: If the shape or dtype does not fit or there is no frame.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != torch.uint8:
        raise ValueError(f"frames must be (T, H, W, 3) uint8, got {tuple(frames.shape)} {frames.dtype}")
    if len(frames) == 0 or num_frames < 1:
        raise ValueError(
            f"at least one frame and one frame per clip are needed, got {len(frames)} and {num_frames}"
        )
    missing = -len(frames) % num_frames
    if missing:
        frames = torch.cat([frames, frames.new_zeros((missing, *frames.shape[1:]))])
    return frames.reshape(-1, num_frames, *frames.shape[1:]).permute(0, 4, 1, 2, 3)


def normalise_levels(clips: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(x - mean) / std as `transforms.normalise`, computed on the scale 0 to 255.

    For networks whose weights were made for that scale: there a whole number less the mean loses no digits to
    a detour over [0, 1].

    Args:
        clips: (..., C, T, H, W), uint8 in [0, 255] or floating in [0, 1].
        mean: C numbers, for values in [0, 1].
        std: C positive numbers, for values in [0, 1].

    Returns:
        The same shape, float32.

    Raises:
        ValueError: If the dtype or the number of channels does not fit.
    """
    levels = clips.to(torch.float32) if clips.dtype == torch.uint8 else to_unit_float(clips) * MAX_LEVEL
    return normalise(levels, [value * MAX_LEVEL for value in mean], [value * MAX_LEVEL for value in std])
