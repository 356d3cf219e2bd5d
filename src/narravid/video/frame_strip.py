"""Frames of a video side by side in one picture."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

__all__ = ["frame_strip"]

GAP_PIXELS = 2
MAX_ASPECT = 4
"""Frames that are wider than so many times their height are shown narrower: a JPEG has 65,535 columns."""


def frame_strip(frames: torch.Tensor, *, num_shown: int = 4, height_pixels: int = 72) -> bytes:
    """A few frames of a clip side by side.

    Args:
        frames: (T, H, W, 3) uint8.
        num_shown: How many frames, evenly spaced; fewer when the clip is shorter.
        height_pixels: Height of the strip.

    Returns:
        A JPEG.
    """
    count = min(num_shown, frames.shape[0])
    indices = np.linspace(0, frames.shape[0] - 1, count).round().astype(int)
    height, width = frames.shape[1:3]
    shown_width = min(max(1, round(width * height_pixels / height)), MAX_ASPECT * height_pixels)
    strip = Image.new("RGB", (count * (shown_width + GAP_PIXELS) - GAP_PIXELS, height_pixels), "white")
    for place, index in enumerate(indices):
        picture = Image.fromarray(frames[int(index)].numpy()).resize((shown_width, height_pixels))
        strip.paste(picture, (place * (shown_width + GAP_PIXELS), 0))
    buffer = io.BytesIO()
    strip.save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()
