"""Whole videos (an agent's trajectories, say) against prompts: their pixels, and groups of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from narravid.video.frame_sampling import FrameSampling, video_frames
from narravid.video.resize import center_square, halve, resize
from narravid.video.transforms import to_channels_first, to_unit_float

__all__ = ["Deviation", "GroupScores", "TrajectoryResize", "group_scores", "prepare_trajectory"]

TrajectoryResize = Literal[
    "center_square", "published_half", "published_square", "published_square_unclamped"
]
"""How frames get their size: "center_square" keeps the aspect ratio and cuts off the ends of the longer side.
The published scripts halve the frames or stretch them to a square (both S3D, held in [0, 1]), or stretch
without holding the range (ViCLIP); all bicubic without antialiasing."""

Deviation = Literal["population", "sample"]
"""Divisor of the variance: n, or n - 1 as in the published script, which gets it from PyTorch's default."""


def prepare_trajectory(
    frames: torch.Tensor,
    num_frames: int,
    *,
    sampling: FrameSampling = "even",
    resize_to: TrajectoryResize = "center_square",
    size_pixels: int = 224,
) -> torch.Tensor:
    """A whole video as one clip for a pixel model, which applies its own mean and standard deviation.

    ViCLIP's published script normalises before it stretches. Scaling is linear and keeps constants, so that
    normalising the result of "published_square_unclamped" gives the same numbers up to rounding.

    Args:
        frames: (L, H, W, 3) uint8 RGB, all frames of the video.
        num_frames: T, how many of them the model sees: 32 for S3D, 8 for ViCLIP.
        sampling: Which of them; see `video_frames`.
        resize_to: How they get their size.
        size_pixels: Height and width, except for "published_half".

    Returns:
        (1, 3, T, H', W') float32, in [0, 1] but for the overshoot of "published_square_unclamped".

    Raises:
        ValueError: If the frames are not (L, H, W, 3) uint8 with at least one frame, or as for `video_frames`
            and the functions of `video/resize`.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != torch.uint8 or 0 in frames.shape:
        raise ValueError(
            f"frames must be (L, H, W, 3) uint8 and not empty, got {tuple(frames.shape)} {frames.dtype}"
        )
    chosen = frames[video_frames(len(frames), num_frames, sampling=sampling)]
    clip = to_unit_float(to_channels_first(chosen))[None]
    if resize_to == "center_square":
        return center_square(clip, size_pixels)
    if resize_to == "published_half":
        return halve(clip)
    if resize_to not in ("published_square", "published_square_unclamped"):
        raise ValueError(f"resize_to is unknown: {resize_to!r}")
    square = resize(clip, (size_pixels, size_pixels), interpolation="bicubic")
    return square.clamp(0, 1) if resize_to == "published_square" else square


@dataclass(frozen=True, slots=True)
class GroupScores:
    """Scores of groups of videos with groups of prompts.

    Attributes:
        mean: (Gv, Gp) float64, mean over all pairs of a video and a prompt of the two groups.
        std: (Gv, Gp) float64, their standard deviation; 0 for a single pair.
    """

    mean: torch.Tensor
    std: torch.Tensor


def group_scores(
    similarity: torch.Tensor,
    video_group_sizes: Sequence[int],
    prompt_group_sizes: Sequence[int],
    *,
    normalise: bool = False,
    deviation: Deviation = "population",
) -> GroupScores:
    """Mean and deviation of a similarity matrix over groups of trajectories and of paraphrases.

    Args:
        similarity: (V, P) floating, videos by prompts, groups side by side.
        video_group_sizes: Gv sizes, at least 1 each, with the sum V.
        prompt_group_sizes: Gp sizes, at least 1 each, with the sum P.
        normalise: First centre each prompt's column on its mean over all videos and divide by its deviation,
            so that prompts with a wide range do not outweigh the others. A column of equal scores becomes 0.
        deviation: For the columns and for the groups. "sample" is what the published script computes, except
            that a single score has deviation 0 here and NaN there.

    Returns:
        The two tables.

    Raises:
        ValueError: If the sizes do not fit the matrix, or a score is NaN or infinite.

    Example:
        >>> scores = torch.tensor([[1.0, 3.0, 0.0], [1.0, 3.0, 4.0]])
        >>> group_scores(scores, (1, 1), (2, 1)).mean
        tensor([[2., 0.],
                [2., 4.]], dtype=torch.float64)
        >>> group_scores(scores, (2,), (2, 1), normalise=True).std
        tensor([[0., 1.]], dtype=torch.float64)
    """
    if similarity.ndim != 2 or not similarity.is_floating_point():
        raise ValueError(
            f"similarity must be (V, P) floating, got {tuple(similarity.shape)} {similarity.dtype}"
        )
    if deviation not in ("population", "sample"):
        raise ValueError(f"deviation must be 'population' or 'sample', got {deviation!r}")
    num_videos, num_prompts = similarity.shape
    _check_sizes("video_group_sizes", video_group_sizes, num_videos)
    _check_sizes("prompt_group_sizes", prompt_group_sizes, num_prompts)
    bad = (~similarity.isfinite()).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(f"similarity[{row}, {column}] must be finite, got {float(similarity[row, column])}")
    scores = similarity.detach().double()
    if normalise:
        columns = [_standardised(column, deviation) for column in scores.unbind(dim=1)]
        scores = torch.stack(columns, dim=1)
    blocks = [
        [block.flatten() for block in torch.split(rows, list(prompt_group_sizes), dim=1)]
        for rows in torch.split(scores, list(video_group_sizes))
    ]
    return GroupScores(
        mean=torch.stack([torch.stack([block.mean() for block in row]) for row in blocks]),
        std=torch.stack([torch.stack([_deviation(block, deviation) for block in row]) for row in blocks]),
    )


def _standardised(column: torch.Tensor, deviation: Deviation) -> torch.Tensor:
    spread = _deviation(column, deviation)
    return torch.zeros_like(column) if spread == 0 else (column - column.mean()) / spread


def _deviation(values: torch.Tensor, deviation: Deviation) -> torch.Tensor:
    # Equal values are recognised by comparing: their mean is rounded, so that a computed deviation of theirs
    # may be a little above 0, by which a column must not be divided.
    lowest, highest = torch.aminmax(values)
    if lowest == highest:
        return values.new_zeros(())
    return values.std(correction=1 if deviation == "sample" else 0)


def _check_sizes(name: str, sizes: Sequence[int], total: int) -> None:
    if len(sizes) == 0 or min(sizes) < 1 or sum(sizes) != total:
        raise ValueError(f"{name} must be at least 1 each with the sum {total}, got {tuple(sizes)}")
