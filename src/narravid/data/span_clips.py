"""One clip from a random place of a video, or of a part of it: what captioned and labelled clips share.

The scale of the picture is drawn as CPD does (Li & Wang 2020, arXiv 2001.05691): before a square of 224
pixels is cut out, the shorter side is scaled to a length of 256 to 340.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch

from narravid.data.clip_drawing import ClipDataset, Frames
from narravid.data.drawing import BatchT, Replaced
from narravid.data.sources import ClipSource, MemoryClips
from narravid.errors import DecodeError
from narravid.types import ClipSpec, Span
from narravid.video.resize import draw_short_side_pixels
from narravid.video.transforms import Augmentation, random_crop, to_channels_first

__all__ = ["PUBLISHED_ZOOM", "SpanClips", "SpanItem", "check_zoom"]

PUBLISHED_ZOOM = (8 / 7, 85 / 56)
"""Shorter side over the side of the square: 256 to 340 pixels for 224, 128 to 170 for 112."""


class Sample(Protocol):
    """A video, or a part of it."""

    @property
    def path(self) -> Path:
        """The video."""

    @property
    def span(self) -> Span | None:
        """The part; None for the whole video."""


SampleT = TypeVar("SampleT", bound=Sample)


@dataclass(frozen=True, slots=True)
class SpanItem:
    """The clip drawn from one sample.

    Attributes:
        clips: (1, 3, T, H, W) uint8; a view of frames that lie with colours last in memory.
        index: Number of the sample that the clip is of: that of the substitute where one was replaced.
        video_id: Name of the video.
        start_seconds: Where the clip starts.
        num_padded_clips: 1 if it passes the end of the video and ends with black frames.
        replaced: (path, reason) of the bad videos that this one stands in for.
    """

    clips: torch.Tensor
    index: int
    video_id: str
    start_seconds: float
    num_padded_clips: int
    replaced: Replaced

    @property
    def num_clips(self) -> int:
        """One."""
        return 1


class SpanClips(ClipDataset[SpanItem, BatchT], Generic[SampleT, BatchT]):
    """Draws one clip of each video, or of a span of it, every start in it alike.

    An item depends on (seed, epoch, index) only.

    A clip longer than its span starts with it, or so much earlier that it ends with the video.

    Args:
        samples: The videos, or parts of them.
        source: Where clips come from.
        spec: Frames, rate, size and crop of the clips.
        zoom: Least and greatest length of the shorter side before the square is cut out, as multiples of
            the square's; at least 1. None takes the largest square of the picture. With a zoom the largest
            square is placed first, and the one to keep is drawn inside it.
        augmentation: Changes to each clip, None for none.

    Attributes:
        samples: As given.

    Raises:
        ValueError: If there are no samples, the zoom is out of range, or the source holds pictures of one
            size and it needs many.
    """

    def __init__(
        self,
        samples: Sequence[SampleT],
        source: ClipSource,
        *,
        spec: ClipSpec,
        zoom: tuple[float, float] | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        if len(samples) == 0:
            raise ValueError("a dataset needs at least one clip, got none")
        super().__init__(source, spec=spec)
        self.samples = samples
        if zoom is not None:
            check_zoom(zoom)
            if isinstance(source, MemoryClips):
                raise ValueError(
                    "videos held in memory have one size: read them from the files, or set no zoom"
                )
        self._zoom = zoom
        self._augmentation = augmentation

    def __len__(self) -> int:
        return len(self.samples)

    def _draw(
        self, index: int, generator: torch.Generator, *, frames: Frames, replaced: Replaced
    ) -> SpanItem:
        """Draw a clip into `frames`; a span that the video does not reach is a `DecodeError`."""
        path, span = self.samples[index].path, self.samples[index].span
        start_seconds = self._draw_start(path, span, self._source.duration_seconds(path), generator)
        clip = self._source.read(path, start_seconds, self._draw_spec(generator), generator=generator)
        pixels = to_channels_first(clip.frames)
        if self._zoom is not None:
            pixels = random_crop(pixels, self.spec.size_pixels, generator=generator)
        if self._augmentation is not None:
            pixels = self._augmentation.apply(pixels, generator)
        frames[0] = pixels.permute(1, 2, 3, 0).numpy()
        return SpanItem(
            clips=torch.from_numpy(frames).permute(0, 4, 1, 2, 3),
            index=index,
            video_id=path.stem,
            start_seconds=start_seconds,
            num_padded_clips=int(not bool(clip.mask[-1])),
            replaced=replaced,
        )

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
