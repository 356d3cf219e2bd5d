"""Clips with one caption each: the data of CPD's pre-training.

Li & Wang, Learning Spatiotemporal Features via Video and Text Pair Discrimination, arXiv 2001.05691.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from narravid.batches import CaptionedBatch
from narravid.data.annotations.instagram import read_instagram
from narravid.data.annotations.subsets import Subset
from narravid.data.annotations.video_places import locate_videos
from narravid.data.sources import ClipSource
from narravid.data.span_clips import SpanClips, SpanItem
from narravid.types import ClipSpec, Span
from narravid.video.transforms import Augmentation

__all__ = ["CaptionedClip", "CaptionedDataset", "FoundCaptions", "instagram_clips"]

SentenceTokenizer = Callable[[Sequence[str]], torch.Tensor]
"""N sentences to (N, L) int64 ids, 0 = padding."""


@dataclass(frozen=True, slots=True)
class CaptionedClip:
    """A video, or a part of it, and what it is about.

    Attributes:
        path: The video.
        text: Its caption.
        span: The part; None for the whole video.
    """

    path: Path
    text: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class FoundCaptions:
    """The clips of a list whose videos are there.

    Attributes:
        samples: Those, in the order of the list.
        missing: (path, reason) of the videos that are not there.
    """

    samples: tuple[CaptionedClip, ...]
    missing: tuple[tuple[str, str], ...] = ()


def instagram_clips(annotations: Path, root: Path, *, subset: Subset = "train") -> FoundCaptions:
    """One part of Instagram-300k.

    Args:
        annotations: Its JSON file.
        root: Folder of the videos, `trimmed_resize_ID.mp4`.
        subset: Which part.

    Raises:
        AnnotationError: If the file has a fault.
    """
    videos = [video for video in read_instagram(annotations) if video.subset == subset]
    places = locate_videos(root, videos)
    clips = tuple(
        CaptionedClip(path, video.caption)
        for video, path in zip(videos, places.paths, strict=True)
        if path is not None
    )
    return FoundCaptions(clips, tuple((str(root / gone.place), gone.reason) for gone in places.missing))


class CaptionedDataset(SpanClips[CaptionedClip, CaptionedBatch]):
    """Draws one clip of each captioned one; see `SpanClips`.

    Args:
        clips: The samples.
        source: Where clips come from.
        spec: Frames, rate, size and crop of the clips.
        tokenizer: Turns captions into ids.
        zoom: As for `SpanClips`.
        augmentation: Changes to each clip, None for none.

    Raises:
        ValueError: If there are no clips, or as for `SpanClips`.
    """

    def __init__(
        self,
        clips: Sequence[CaptionedClip],
        source: ClipSource,
        *,
        spec: ClipSpec,
        tokenizer: SentenceTokenizer,
        zoom: tuple[float, float] | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(clips, source, spec=spec, zoom=zoom, augmentation=augmentation)
        self._tokenizer = tokenizer

    def collate(self, clips: torch.Tensor, items: Sequence[SpanItem]) -> CaptionedBatch:
        """The batch of some items; see `ClipDataset.collate`."""
        return CaptionedBatch(
            clips=clips,
            tokens=self._tokenizer([self.samples[item.index].text for item in items]),
            indices=torch.tensor([item.index for item in items]),
            video_ids=tuple(item.video_id for item in items),
            start_seconds=torch.tensor([item.start_seconds for item in items], dtype=torch.float64),
        )
