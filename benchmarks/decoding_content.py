"""Videos to measure decoding with: textures that move, as hard to code as filmed ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narravid.video.encode import write_video

__all__ = ["write_moving_textures"]

NUM_PATCHES = 8
GRAIN_LEVELS = 2  # of 255


def texture(height: int, width: int, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Noise of several scales, coarse ones stronger, as in natural pictures."""
    total = np.zeros((height, width, 3), dtype=np.float32)
    for block, weight in ((64, 90), (16, 40), (4, 10)):
        rows, columns = -(-height // block), -(-width // block)
        noise = generator.uniform(-weight, weight, (rows, columns, 3)).astype(np.float32)
        total += noise.repeat(block, axis=0).repeat(block, axis=1)[:height, :width]
    return np.clip(128 + total, 0, 255).astype(np.uint8)


def moving_textures(width: int, height: int, num_frames: int) -> Iterator[npt.NDArray[np.uint8]]:
    """A camera that pans over a texture, patches that cross it, and film grain."""
    generator = np.random.default_rng(0)
    ground = texture(2 * height, 2 * width, generator)
    side = height // 4
    patches = [texture(side, side, generator) for _ in range(NUM_PATCHES)]
    speeds = generator.uniform(-0.012, 0.012, (NUM_PATCHES, 2))
    places = generator.uniform(0, 1, (NUM_PATCHES, 2))
    grain = generator.integers(0, GRAIN_LEVELS + 1, (height + 64, width + 64, 1), dtype=np.uint8)
    for number in range(num_frames):
        angle = number / 240
        top = int((1 + np.sin(angle)) * height / 2)
        left = int((1 + np.cos(0.7 * angle)) * width / 2)
        frame = ground[top : top + height, left : left + width].copy()
        for patch, place, speed in zip(patches, places, speeds, strict=True):
            row, column = (
                int(abs((position + 1) % 2 - 1) * (length - side))
                for position, length in zip(place + number * speed, (height, width), strict=True)
            )
            frame[row : row + side, column : column + side] = patch
        across, down = generator.integers(0, 64, 2)
        frame //= 2
        frame += 40
        frame += grain[down : down + height, across : across + width]
        yield frame


def write_moving_textures(path: Path, width: int, height: int, *, seconds: float) -> None:
    """Write such a video: h264 at 30 fps, a key frame every 250 frames, B-frames."""
    frames = moving_textures(width, height, round(30 * seconds))
    write_video(path, frames, fps=30, preset="medium", keyframe_seconds=250 / 30)
