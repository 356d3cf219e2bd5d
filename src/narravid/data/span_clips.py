"""One clip from a random place of a video, or of a part of it: what captioned and labelled clips share.

The scale of the picture is drawn as CPD does (Li & Wang 2020, arXiv 2001.05691): before a square of 224
pixels is cut out, the shorter side is scaled to a length of 256 to 340.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from narravid.data.drawing import BatchT, ClipDataset, Frames, ItemT
from narravid.data.sources import ClipSource, MemoryClips
from narravid.errors import DecodeError
from narravid.types import ClipSpec, Span
from narravid.video.resize import draw_short_side_pixels
from narravid.video.transforms import Augmentation, random_crop, to_channels_first

__all__ = ["PUBLISHED_ZOOM", "DrawnClip", "SpanClips", "check_zoom"]

PUBLISHED_ZOOM = (8 / 7, 85 / 56)
"""Shorter side over the side of the square: 256 to 340 pixels for 224, 128 to 170 for 112."""


@dataclass(frozen=True, slots=True)
class DrawnClip:
    """Where a clip was drawn.

    Attributes:
        start_seconds: Its start in the video.
        is_padded: Whether it passes the end of the video and ends with black frames.
    """

    start_seconds: float
    is_padded: bool


class SpanClips(ClipDataset[ItemT, BatchT]):
    """Draws one clip of each video, or of a span of it, every start in it alike.

    A clip longer than its span starts with it, or so much earlier that it ends with the video.

    Args:
        source: Where clips come from.
        spec: Frames, rate, size and crop of the clips.
        zoom: Least and greatest length of the shorter side before the square is cut out, as multiples of
            the square's; at least 1. None takes the largest square of the picture. With a zoom the largest
            square is placed first, and the one to keep is drawn inside it.
        augmentation: Changes to each clip, None for none.

    Raises:
        ValueError: If the zoom is out of range, or the source holds pictures of one size and it needs many.
    """

    def __init__(
        self,
        source: ClipSource,
        *,
        spec: ClipSpec,
        zoom: tuple[float, float] | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(source, spec=spec)
        if zoom is not None:
            check_zoom(zoom)
            if isinstance(source, MemoryClips):
                raise ValueError(
                    "videos held in memory have one size: read them from the files, or set no zoom"
                )
        self._zoom = zoom
        self._augmentation = augmentation

    def _draw_clip(
        self, path: Path, span: Span | None, generator: torch.Generator, *, frames: Frames
    ) -> DrawnClip:
        """Draw a clip into `frames`; a span that the video does not reach is a `DecodeError`."""
        duration_seconds = self._source.duration_seconds(path)
        start_seconds = self._draw_start(path, span, duration_seconds, generator)
        clip = self._source.read(path, start_seconds, self._draw_spec(generator), generator=generator)
        pixels = to_channels_first(clip.frames)
        if self._zoom is not None:
            pixels = random_crop(pixels, self.spec.size_pixels, generator=generator)
        if self._augmentation is not None:
            pixels = self._augmentation.apply(pixels, generator)
        frames[0] = pixels.permute(1, 2, 3, 0).numpy()
        return DrawnClip(start_seconds, is_padded=not bool(clip.mask[-1]))

    def _draw_start(
        self, path: Path, span: Span | None, duration_seconds: float, generator: torch.Generator
    ) -> float:
        begin, end = (0.0, duration_seconds) if span is None else (span.start_seconds, span.end_seconds)
        if begin >= duration_seconds:
            raise DecodeError(
                path, f"its span starts at {begin:g} s, at or past its end ({duration_seconds:g} s)"
            )
        clip_seconds = self.spec.duration_seconds
        room = max(0.0, min(end, duration_seconds) - begin - clip_seconds)
        drawn = begin + room * float(torch.rand((), generator=generator, dtype=torch.float64))
        return min(drawn, max(0.0, duration_seconds - clip_seconds))

    def _draw_spec(self, generator: torch.Generator) -> ClipSpec:
        """What to ask of the source: the largest square, at the scale that is drawn."""
        if self._zoom is None:
            return self.spec
        least, greatest = (round(self.spec.size_pixels * factor) for factor in self._zoom)
        return replace(self.spec, size_pixels=draw_short_side_pixels(least, greatest, generator=generator))


def check_zoom(zoom: tuple[float, float]) -> None:
    """Refuse a zoom that is none.

    Raises:
        ValueError: If 1 <= least <= greatest does not hold.
    """
    least, greatest = zoom
    if not (1 <= least <= greatest and math.isfinite(greatest)):
        raise ValueError(f"zoom must be two numbers with 1 <= least <= greatest, got {least} and {greatest}")
