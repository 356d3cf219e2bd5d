"""The clips with caption candidates that are drawn from them for training.

Sampling follows MIL-NCE (Miech et al. 2020, arXiv 1912.06430): a random caption, its P nearest captions as
candidates, and a clip at a random place of the caption's span, which is widened when it is short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from narravid.batches import NarratedBatch
from narravid.data.corpus import NarratedVideo
from narravid.data.drawing import ClipDataset, Frames, Replaced
from narravid.data.sources import ClipSource
from narravid.errors import DecodeError
from narravid.text.captions import nearest_captions
from narravid.text.words import WordTokenizer
from narravid.types import ClipSpec, Span
from narravid.video.sampling import draw_clip_start, whole_second_span, widen_span
from narravid.video.transforms import Augmentation, to_channels_first

__all__ = ["ClipSampling", "NarratedDataset", "NarratedItem"]


@dataclass(frozen=True, slots=True)
class ClipSampling:
    """How clips and captions are drawn.

    Attributes:
        clips_per_video: K, clips of one video in a batch; they are each other's negatives.
        num_candidates: P, captions offered to each clip.
        min_caption_seconds: Shorter captions are widened around their centre to this.
        whole_seconds: Draw whole seconds as starts, as published; otherwise any time.
    """

    clips_per_video: int = 1
    num_candidates: int = 4
    min_caption_seconds: float = 5.0
    whole_seconds: bool = True

    def __post_init__(self) -> None:
        if self.clips_per_video < 1 or self.num_candidates < 1:
            raise ValueError(
                "clips_per_video and num_candidates must be at least 1, got "
                f"{self.clips_per_video} and {self.num_candidates}"
            )
        if not (math.isfinite(self.min_caption_seconds) and self.min_caption_seconds >= 0):
            raise ValueError(f"min_caption_seconds must not be negative, got {self.min_caption_seconds}")


@dataclass(frozen=True, slots=True)
class NarratedItem:
    """The clips drawn from one video.

    Attributes:
        clips: (K, 3, T, H, W) uint8; a view of frames that lie with colours last in memory.
        tokens: (K, P, L) int64.
        video_id: Name of the video.
        start_seconds: (K,) float64.
        num_padded_clips: Clips that pass the end of the video and end with black frames.
        replaced: (path, reason) of the bad videos that this one stands in for.
    """

    clips: torch.Tensor
    tokens: torch.Tensor
    video_id: str
    start_seconds: torch.Tensor
    num_padded_clips: int = 0
    replaced: Replaced = ()


class NarratedDataset(ClipDataset[NarratedItem, NarratedBatch]):
    """Draws K clips with P caption candidates from a video; an item depends on (seed, epoch, index) only.

    A video that cannot be decoded or has no captions is replaced by another one, drawn from the item's own
    generator, and named in the item. Several threads may draw items at once.

    Args:
        videos: The corpus.
        source: Where clips come from.
        spec: Frames, rate, size and crop of the clips.
        tokenizer: Turns captions into word ids.
        sampling: How clips and captions are drawn.
        augmentation: Changes to each clip, None for none.

    Raises:
        ValueError: If there are no videos.
    """

    def __init__(
        self,
        videos: Sequence[NarratedVideo],
        source: ClipSource,
        *,
        spec: ClipSpec,
        tokenizer: WordTokenizer,
        sampling: ClipSampling,
        augmentation: Augmentation | None = None,
    ) -> None:
        if len(videos) == 0:
            raise ValueError("a dataset needs at least one video, got none")
        super().__init__(source, spec=spec)
        self.videos = videos
        self.sampling = sampling
        self._tokenizer = tokenizer
        self._augmentation = augmentation

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def clips_per_video(self) -> int:
        """K, clips in an item."""
        return self.sampling.clips_per_video

    def collate(self, clips: torch.Tensor, items: Sequence[NarratedItem]) -> NarratedBatch:
        """The batch of some items, those of a video side by side; see `ClipDataset.collate`."""
        return NarratedBatch(
            clips=clips,
            tokens=torch.cat([item.tokens for item in items]),
            video_ids=tuple(item.video_id for item in items for _ in range(len(item.clips))),
            start_seconds=torch.cat([item.start_seconds for item in items]),
        )

    def _draw(
        self, index: int, generator: torch.Generator, *, frames: Frames, replaced: Replaced
    ) -> NarratedItem:
        video = self.videos[index]
        if len(video.track) == 0:
            raise DecodeError(video.path, "it has no captions")
        sampling, spec = self.sampling, self.spec
        last_start = max(0.0, self._source.duration_seconds(video.path) - spec.duration_seconds)
        starts: list[float] = []
        candidates: list[int] = []
        num_padded_clips = 0
        for number, caption in enumerate(self._draw_captions(len(video.track), generator)):
            start_seconds = self._draw_start(video.track[caption].span, last_start, generator)
            clip = self._source.read(video.path, start_seconds, spec, generator=generator)
            pixels = to_channels_first(clip.frames)
            if self._augmentation is not None:
                pixels = self._augmentation.apply(pixels, generator)
            # NumPy copies on one thread; waking torch's threads for so little costs more than it saves
            frames[number] = pixels.permute(1, 2, 3, 0).numpy()
            starts.append(start_seconds)
            candidates += nearest_captions(video.track, caption, sampling.num_candidates)
            num_padded_clips += not bool(clip.mask[-1])
        # only what was drawn is turned into ids: those of all captions of a large corpus take tens of GB
        tokens = self._tokenizer([video.track[caption].text for caption in candidates])
        return NarratedItem(
            clips=torch.from_numpy(frames).permute(0, 4, 1, 2, 3),
            tokens=tokens.view(sampling.clips_per_video, sampling.num_candidates, -1),
            video_id=video.video_id,
            start_seconds=torch.tensor(starts, dtype=torch.float64),
            num_padded_clips=num_padded_clips,
            replaced=replaced,
        )

    def _draw_captions(self, num_captions: int, generator: torch.Generator) -> list[int]:
        """K captions, none twice before all have been taken."""
        drawn: list[int] = []
        while len(drawn) < self.sampling.clips_per_video:
            drawn += torch.randperm(num_captions, generator=generator).tolist()
        return drawn[: self.sampling.clips_per_video]

    def _draw_start(self, span: Span, last_start: float, generator: torch.Generator) -> float:
        """A start in the widened span, moved forward where the clip would pass the end of the video."""
        clip_seconds = self.spec.duration_seconds
        wide = widen_span(span, self.sampling.min_caption_seconds)
        if self.sampling.whole_seconds:
            second = draw_clip_start(whole_second_span(wide), clip_seconds, generator=generator)
            return float(min(second, math.floor(last_start)))
        room = max(0.0, wide.duration_seconds - clip_seconds)
        start = wide.start_seconds + room * float(torch.rand((), generator=generator, dtype=torch.float64))
        return min(start, last_start)
