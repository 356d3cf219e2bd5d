"""A source without files: its pixels say where a clip and each of its pixels come from."""

from __future__ import annotations

from pathlib import Path

import torch

from narravid.errors import DecodeError
from narravid.types import Clip, ClipSpec, Span


class PlacedClips:
    """Red says which video, green the start in quarters of a second, blue the column of a picture.

    Pictures are `size_pixels` wide, as the largest square of any source is.
    """

    def __init__(self, seconds: float = 20.0, *, bad: tuple[str, ...] = ()) -> None:
        self.seconds = seconds
        self.bad = bad
        self.sizes: list[int] = []
        self.is_open = True

    def read(
        self, path: Path, start_seconds: float, spec: ClipSpec, *, generator: torch.Generator | None = None
    ) -> Clip:
        if path.stem in self.bad:
            raise DecodeError(path, "made to fail")
        self.sizes.append(spec.size_pixels)
        frames = torch.zeros((spec.num_frames, spec.size_pixels, spec.size_pixels, 3), dtype=torch.uint8)
        frames[..., 0] = int(path.stem.removeprefix("v"))
        frames[..., 1] = int(start_seconds * 4)
        frames[..., 2] = torch.arange(spec.size_pixels)
        mask = start_seconds + torch.arange(spec.num_frames) / spec.fps < self.seconds
        return Clip(frames, mask, Span(start_seconds, start_seconds + spec.duration_seconds))

    def duration_seconds(self, path: Path) -> float:
        if path.stem in self.bad:
            raise DecodeError(path, "made to fail")
        return self.seconds

    def close(self) -> None:
        self.is_open = False
