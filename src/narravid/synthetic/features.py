"""Features of the toy world in the published layout, computed from the frames of its real video files.

They stand for what large networks would extract: appearance once per second for the 2D features, movement 1.5
times per second for the 3D ones, and both together once per second for an aligner. Objects are told from the
scenery by their saturation, since scenery is grey.

FOLDER/2d/*.npy        (n, APPEARANCE_DIM) float16, 1 per second
FOLDER/3d/*.npy        (n, MOVEMENT_DIM) float16, 1.5 per second
FOLDER/seconds/*.npy   (n, APPEARANCE_DIM + MOVEMENT_DIM) float16, 1 per second
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np
import torch
import torch.nn.functional as F

from narravid.files import write_atomically
from narravid.progress import progress_bar
from narravid.video.decode import decode_video
from narravid.video.transforms import to_unit_float

__all__ = [
    "APPEARANCE_DIM",
    "APPEARANCE_FOLDER",
    "MOVEMENT_DIM",
    "MOVEMENT_FOLDER",
    "SECONDS_FOLDER",
    "appearance_features",
    "movement_features",
    "write_features",
]

APPEARANCE_FOLDER, MOVEMENT_FOLDER, SECONDS_FOLDER = "2d", "3d", "seconds"

FRAMES_PER_SECOND = 6
FRAMES_PER_MOVEMENT = 4
SHORT_SIDE_PIXELS = 48
GRID = (3, 4)
NUM_HUES = 12
NUM_ORIENTATIONS = 12
NUM_CELLS = GRID[0] * GRID[1]
NUM_FLOWS = 10

APPEARANCE_DIM = 3 * NUM_CELLS + NUM_HUES + NUM_ORIENTATIONS
MOVEMENT_DIM = NUM_CELLS + NUM_FLOWS


def write_features(videos: Sequence[Path], folder: Path, *, num_workers: int = 1) -> None:
    """Write the three feature files of each video, named after it; those that are there stay.

    Args:
        videos: Video files with different stems.
        folder: Where to; made when missing.
        num_workers: Processes that compute.

    Raises:
        DecodeError: If a video cannot be read.
    """
    missing = [path for path in videos if not _places(path, folder)[-1].exists()]
    for place in _places(Path("any"), folder):
        place.parent.mkdir(parents=True, exist_ok=True)
    jobs = (joblib.delayed(_write_one)(path, folder) for path in missing)
    parallel = joblib.Parallel(n_jobs=num_workers, return_as="generator_unordered", batch_size=4)
    with progress_bar("features of the toy world", len(missing), unit="videos") as bar:
        for _ in parallel(jobs):
            bar.advance()


def appearance_features(frames: torch.Tensor) -> torch.Tensor:
    """What single frames show: colours by place, hues and directions of outlines, each part of length 1.

    Args:
        frames: (T, 3, H, W) float32 in [0, 1].

    Returns:
        (T, APPEARANCE_DIM) float32.
    """
    saturation = _saturation(frames)
    colours = F.adaptive_avg_pool2d(frames * saturation[:, None], GRID).flatten(1)
    weights = saturation.flatten(1)
    hues = _histogram(_hue(frames).flatten(1), weights, num_bins=NUM_HUES)
    down, right = _gradients(saturation)
    strength = (down**2 + right**2).sqrt()
    directions = torch.atan2(down, right) / (2 * math.pi) % 1.0
    outlines = _histogram(directions.flatten(1), strength.flatten(1), num_bins=NUM_ORIENTATIONS)
    return torch.cat([F.normalize(part, dim=1) for part in (colours, hues, outlines)], dim=1)


def movement_features(frames: torch.Tensor) -> torch.Tensor:
    """What changes in short stretches: where, and in which way, each part of length 1.

    Args:
        frames: (S, T, 3, H, W) float32 in [0, 1], T >= 2 frames in each of S stretches.

    Returns:
        (S, MOVEMENT_DIM) float32, 0 or more: change by place, then movement to the right and left, down and
        up, outwards and inwards, with and against the clock, brighter and darker.
    """
    num_stretches, num_frames, _, height, width = frames.shape
    saturation = _saturation(frames.flatten(0, 1)).view(num_stretches, num_frames, height, width)
    before, after = saturation[:, :-1], saturation[:, 1:]
    change = after - before
    middle = (before + after) / 2
    down, right = (part.view_as(middle) for part in _gradients(middle.flatten(0, 1)))
    y, x = _from_centre(middle)
    # Where brightness moves with velocity v, its change is -v times its slope.
    flows = (
        torch.stack([right, down, x * right + y * down, x * down - y * right], dim=2) * -change[:, :, None]
    )
    slopes = (right**2 + down**2).sum(dim=(2, 3)).clamp_min(1e-6)
    sums = torch.cat([flows.sum(dim=(3, 4)) / slopes[..., None], _growth(before, after)[..., None]], dim=2)
    means = sums.mean(dim=1)
    directed = torch.stack([means.relu(), (-means).relu()], dim=2).flatten(1)
    places = F.adaptive_avg_pool2d(change.abs().mean(dim=1, keepdim=True), GRID).flatten(1)
    return torch.cat([F.normalize(places, dim=1), F.normalize(directed, dim=1)], dim=1)


def _write_one(path: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    clip = decode_video(path, fps=FRAMES_PER_SECOND, short_side_pixels=SHORT_SIDE_PIXELS)
    frames = to_unit_float(clip.frames.permute(0, 3, 1, 2))
    seconds = _stretches(frames, FRAMES_PER_SECOND)
    appearance = appearance_features(seconds[:, FRAMES_PER_SECOND // 2])
    movement = movement_features(_stretches(frames, FRAMES_PER_MOVEMENT))
    both = torch.cat([appearance, movement_features(seconds)], dim=1)
    for place, features in zip(_places(path, folder), (appearance, movement, both), strict=True):
        _write_array(place, features)


def _places(path: Path, folder: Path) -> list[Path]:
    names = (APPEARANCE_FOLDER, MOVEMENT_FOLDER, SECONDS_FOLDER)
    return [folder / name / f"{path.stem}.npy" for name in names]


def _write_array(path: Path, features: torch.Tensor) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, features.half().numpy(), allow_pickle=False)

    write_atomically(path, write)


def _stretches(frames: torch.Tensor, length: int) -> torch.Tensor:
    """(T, ...) to (T / length rounded up, length, ...); the last frame fills the last stretch up."""
    places = torch.arange(math.ceil(len(frames) / length) * length).clamp(max=len(frames) - 1)
    return frames[places].view(-1, length, *frames.shape[1:])


def _saturation(frames: torch.Tensor) -> torch.Tensor:
    """(T, 3, H, W) to (T, H, W): how colourful a pixel is, 0 for what noise alone may be."""
    return (frames.amax(dim=1) - frames.amin(dim=1) - 0.15).clamp(min=0)


def _hue(frames: torch.Tensor) -> torch.Tensor:
    """(T, 3, H, W) to (T, H, W) in [0, 1), the angle on the circle of colours."""
    red, green, blue = frames.unbind(dim=1)
    return torch.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue) / (2 * math.pi) % 1.0


def _histogram(values: torch.Tensor, weights: torch.Tensor, *, num_bins: int) -> torch.Tensor:
    """(T, N) values in [0, 1) of a circle, with weights, to (T, num_bins); each falls into two bins."""
    places = values * num_bins
    lower = places.floor()
    share = places - lower
    counts = weights.new_zeros(len(weights), num_bins)
    counts.scatter_add_(1, lower.long() % num_bins, weights * (1 - share))
    return counts.scatter_add_(1, (lower.long() + 1) % num_bins, weights * share)


def _gradients(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(T, H, W) to its slopes downwards and to the right."""
    down, right = torch.gradient(images, dim=(1, 2))
    return down, right


def _from_centre(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(S, T, H, W) to how far each pixel lies below and to the right of the middle of what is colourful."""
    height, width = images.shape[2:]
    mass = images.sum(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    y = torch.arange(height, dtype=images.dtype)[:, None]
    x = torch.arange(width, dtype=images.dtype)
    centre_y, centre_x = ((axis * images).sum(dim=(2, 3), keepdim=True) / mass for axis in (y, x))
    return (y - centre_y) / height, (x - centre_x) / height


def _growth(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """(S, T, H, W) twice to (S, T): by which share there is more colour after than before."""
    first, second = before.sum(dim=(2, 3)), after.sum(dim=(2, 3))
    return (second - first) / (first + second).clamp_min(1e-6)
