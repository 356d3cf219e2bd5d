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
from narravid.data.drawing import Frames, Replaced
from narravid.data.sources import ClipSource
from narravid.data.span_clips import SpanClips
from narravid.types import ClipSpec, Span
from narravid.video.transforms import Augmentation

__all__ = ["CaptionedClip", "CaptionedDataset", "CaptionedItem", "FoundCaptions", "instagram_clips"]

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


@dataclass(frozen=True, slots=True)
class CaptionedItem:
    """The clip drawn from one sample.

    Attributes:
        clips: (1, 3, T, H, W) uint8; a view of frames that lie with colours last in memory.
        tokens: (1, L) int64.
        index: Number of the sample that the clip is of: that of the substitute where one was replaced.
        video_id: Name of the video.
        start_seconds: Where the clip starts.
        num_padded_clips: 1 if it passes the end of the video and ends with black frames.
        replaced: (path, reason) of the bad videos that this one stands in for.
    """

    clips: torch.Tensor
    tokens: torch.Tensor
    index: int
    video_id: str
    start_seconds: float
    num_padded_clips: int = 0
    replaced: Replaced = ()


class CaptionedDataset(SpanClips[CaptionedItem, CaptionedBatch]):
    """Draws one clip of each captioned one; an item depends on (seed, epoch, index) only.

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
        if len(clips) == 0:
            raise ValueError("a dataset needs at least one clip, got none")
        super().__init__(source, spec=spec, zoom=zoom, augmentation=augmentation)
        self.clips = clips
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self.clips)

    def collate(self, clips: torch.Tensor, items: Sequence[CaptionedItem]) -> CaptionedBatch:
        """The batch of some items; see `ClipDataset.collate`."""
        return CaptionedBatch(
            clips=clips,
            tokens=torch.cat([item.tokens for item in items]),
            indices=torch.tensor([item.index for item in items]),
            video_ids=tuple(item.video_id for item in items),
            start_seconds=torch.tensor([item.start_seconds for item in items], dtype=torch.float64),
        )

    def _draw(
        self, index: int, generator: torch.Generator, *, frames: Frames, replaced: Replaced
    ) -> CaptionedItem:
        sample = self.clips[index]
        drawn = self._draw_clip(sample.path, sample.span, generator, frames=frames)
        return CaptionedItem(
            clips=torch.from_numpy(frames).permute(0, 4, 1, 2, 3),
            tokens=self._tokenizer([sample.text]),
            index=index,
            video_id=sample.path.stem,
            start_seconds=drawn.start_seconds,
            num_padded_clips=int(drawn.is_padded),
            replaced=replaced,
        )
