"""Which frames of a video are taken, where the published programs count frames instead of seconds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

__all__ = [
    "FrameSampling",
    "crop_frames",
    "crop_start_frame",
    "crop_views",
    "draw_crop_start_frame",
    "video_frames",
    "window_start_frames",
]

FrameSampling = Literal["even", "published"]
"""How n of L frames are taken: evenly from the first to the last, or every floor(L / n)-th, the first n."""


def window_start_frames(num_video_frames: int, clip_frames: int, num_windows: int) -> list[int]:
    """First frames of the windows over which a linear probe averages.

    Equally spaced from the first frame to the last place where a window fits, rounded down (Miech et al.
    2020, arXiv 1912.06430, released evaluation on UCF101 and HMDB51).

    Args:
        num_video_frames: Frames of the video.
        clip_frames: Frames of a window.
        num_windows: How many windows; one alone starts with the video.

    Returns:
        `num_windows` frame numbers, ascending; all 0 when the video is shorter than a window, which then
        needs padding at its end.

    >>> window_start_frames(77, 16, 4)
    [0, 20, 40, 61]
    """
    _check_at_least_one("num_video_frames", num_video_frames)
    _check_at_least_one("clip_frames", clip_frames)
    _check_at_least_one("num_windows", num_windows)
    last = max(0, num_video_frames - clip_frames)
    gaps = max(1, num_windows - 1)
    return [last * number // gaps for number in range(num_windows)]


def crop_start_frame(num_video_frames: int, clip_frames: float, *, crop_number: int, num_crops: int) -> float:
    """Start of one of the temporal crops over which a test averages scores.

    room · number / crops, where room is how far a crop can move (Li & Wang 2020, arXiv 2001.05691, released
    test). The last crop therefore stays 1 / crops of the room short of the end of the video, as published.

    Args:
        num_video_frames: Frames of the video.
        clip_frames: Frames that a crop covers; a fraction where the frame rate is not the training's.
        crop_number: Which crop, counted from 0.
        num_crops: How many crops there are.

    Returns:
        The start in frames, in general not a whole number; 0 when the video is shorter than a crop.

    >>> crop_start_frame(100, 32, crop_number=5, num_crops=10)
    34.0
    """
    _check_at_least_one("num_crops", num_crops)
    if not 0 <= crop_number < num_crops:
        raise ValueError(f"crop_number must be 0 to {num_crops - 1}, got {crop_number}")
    return _room_frames(num_video_frames, clip_frames) * crop_number / num_crops


def crop_views(num_crops: int = 10, num_positions: int = 3) -> list[tuple[int, int]]:
    """The views of a video over which a test averages scores: every temporal crop at every place.

    Args:
        num_crops: Temporal crops; see `crop_start_frame`.
        num_positions: Places of the square in the frame; see `resize.uniform_crop_offset`.

    Returns:
        (number of the crop, position), the position changing fastest, in the order of the released test of
        CPD (Li & Wang 2020, arXiv 2001.05691).

    >>> crop_views(2, 3)
    [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    """
    _check_at_least_one("num_crops", num_crops)
    _check_at_least_one("num_positions", num_positions)
    return [(number, position) for number in range(num_crops) for position in range(num_positions)]


def draw_crop_start_frame(num_video_frames: int, clip_frames: float, *, generator: torch.Generator) -> float:
    """Draw the start of a temporal crop for training, uniformly over all places where it fits.

    Args:
        num_video_frames: Frames of the video.
        clip_frames: Frames that the crop covers.
        generator: Source of the draw; one number is taken whatever the room.

    Returns:
        The start in frames; 0 when the video is shorter than the crop.
    """
    import torch  # not above: decoding processes, which take frames by number, do without it

    share = float(torch.rand((), generator=generator, dtype=torch.float64))
    return _room_frames(num_video_frames, clip_frames) * share


def crop_frames(
    start_frame: float, clip_frames: float, *, num_frames: int, num_video_frames: int
) -> list[int]:
    """The frames of a temporal crop.

    Equally spaced from the first to the last frame that the crop covers, held inside the video and rounded
    down; a video shorter than the crop repeats its last frame (Li & Wang 2020, arXiv 2001.05691). Where the
    released program can seek, it first moves the start up to a whole frame: give it `math.ceil(start)`.

    Args:
        start_frame: Where the crop starts, at least 0; see `crop_start_frame`.
        clip_frames: Frames that the crop covers: frames taken times stride.
        num_frames: How many frames are taken, T; one alone is the first.
        num_video_frames: Frames of the video.

    Returns:
        `num_frames` frame numbers in [0, num_video_frames), ascending.

    >>> crop_frames(34.0, 32, num_frames=8, num_video_frames=100)
    [34, 38, 42, 47, 51, 56, 60, 65]
    """
    if not (math.isfinite(start_frame) and start_frame >= 0):
        raise ValueError(f"start_frame must be at least 0, got {start_frame}")
    _check_clip_frames(clip_frames)
    _check_at_least_one("num_frames", num_frames)
    _check_at_least_one("num_video_frames", num_video_frames)
    gaps = max(1, num_frames - 1)
    places = [start_frame + (clip_frames - 1) * number / gaps for number in range(num_frames)]
    return [math.floor(min(place, num_video_frames - 1)) for place in places]


def video_frames(num_video_frames: int, num_frames: int, *, sampling: FrameSampling = "even") -> list[int]:
    """Frames that stand for a whole video, as the trajectory evaluator takes them.

    Args:
        num_video_frames: Frames of the video, L.
        num_frames: How many are taken, n; one alone is the first.
        sampling: "even" spreads them from the first frame to the last, each at the nearest frame, and repeats
            frames of a video with fewer than n; "published" takes every floor(L / n)-th frame and the first n
            of these, which leaves out up to nearly half of the video.

    Returns:
        `num_frames` frame numbers, ascending.

    Raises:
        ValueError: If a number is below 1, or the published rule meets a video of fewer than n frames.

    >>> video_frames(63, 4)
    [0, 21, 41, 62]
    >>> video_frames(63, 4, sampling="published")
    [0, 15, 30, 45]
    """
    _check_at_least_one("num_video_frames", num_video_frames)
    _check_at_least_one("num_frames", num_frames)
    if sampling == "even":
        gaps = max(1, num_frames - 1)
        last = num_video_frames - 1
        return [(2 * last * number + gaps) // (2 * gaps) for number in range(num_frames)]
    if sampling != "published":
        raise ValueError(f"sampling must be 'even' or 'published', got {sampling!r}")
    step = num_video_frames // num_frames
    if step == 0:
        raise ValueError(
            f"the published rule cannot take {num_frames} frames of a video of {num_video_frames}; "
            "sampling='even' repeats frames"
        )
    return [number * step for number in range(num_frames)]


def _room_frames(num_video_frames: int, clip_frames: float) -> float:
    _check_at_least_one("num_video_frames", num_video_frames)
    _check_clip_frames(clip_frames)
    return max(0.0, num_video_frames - clip_frames)


def _check_clip_frames(clip_frames: float) -> None:
    if not (math.isfinite(clip_frames) and clip_frames >= 1):
        raise ValueError(f"clip_frames must be at least 1, got {clip_frames}")


def _check_at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
