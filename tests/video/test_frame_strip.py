"""Strips of frames."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from narravid.video.frame_strip import frame_strip


def opened(strip: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(strip))
    assert image.format == "JPEG"
    return np.array(image)


def test_frames_stand_side_by_side_evenly_chosen():
    levels = torch.tensor([0, 40, 80, 120, 160, 200, 240], dtype=torch.uint8)
    frames = levels[:, None, None, None].expand(7, 24, 32, 3).contiguous()
    strip = opened(frame_strip(frames, num_shown=3, height_pixels=48))
    assert strip.shape == (48, 3 * 64 + 2 * 2, 3)
    middles = [int(strip[24, 32 + place * 66].mean()) for place in range(3)]
    assert np.abs(np.array(middles) - [0, 120, 240]).max() <= 4
    assert opened(frame_strip(frames[:2], num_shown=16, height_pixels=96)).shape == (96, 2 * 128 + 2, 3)


def test_very_wide_and_very_high_frames_have_strips_too():
    wide = torch.zeros(16, 2, 4000, 3, dtype=torch.uint8)
    assert opened(frame_strip(wide, num_shown=16, height_pixels=96)).shape == (96, 16 * 386 - 2, 3)
    assert opened(frame_strip(wide.transpose(1, 2), num_shown=2, height_pixels=96)).shape == (96, 4, 3)
