"""The clips with caption candidates that are drawn from narrated videos for training.

Sampling follows MIL-NCE (Miech et al. 2020, arXiv 1912.06430) unless told otherwise: a random caption, its
P nearest captions as candidates, and a clip at a random place of the caption's span, which is widened when it
is short. VT-TWINS (Ko et al. 2022, arXiv 2203.16784) takes captions that follow each other; training on the
automatically aligned HTM-AA (Han et al. 2022, arXiv 2204.02968) places clips around one second of a caption.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from narravid.batches import NarratedBatch
from narravid.config import check_choices
from narravid.data.clip_drawing import ClipDataset, Frames
from narravid.data.corpus import NarratedVideo
from narravid.data.drawing import Replaced
from narravid.data.sources import ClipSource
from narravid.errors import DecodeError
from narravid.text.captions import CaptionTrack, draw_consecutive_captions, nearest_captions
from narravid.types import ClipSpec, Span
from narravid.video.durations import DurationLimits
from narravid.video.sampling import (
    aligned_start_range,
    draw_aligned_start,
    draw_clip_start,
    whole_second_span,
    widen_span,
)
from narravid.video.transforms import Augmentation, to_channels_first

__all__ = ["ClipSampling", "NarratedDataset", "NarratedItem", "Tokenizer"]


class Tokenizer(Protocol):
    """Turns sentences into the ids that a model reads."""

    def __call__(self, sentences: Sequence[str], /) -> torch.Tensor:
        """N sentences to (N, L) int64, 0 = padding."""


@dataclass(frozen=True, slots=True)
class ClipSampling:
    """How clips and captions are drawn.

    Attributes:
        clips_per_video: K, clips of one video in a batch; they are each other's negatives.
        num_candidates: P, captions offered to each clip.
        captions: Which captions of a video are drawn: any, none twice before all are taken; or K that follow
            each other, the last repeated where a video has fewer.
        place: Where the clip of a caption lies: inside its span; or around the middle of it, so that the clip
            starts a whole second within [middle - clip length, middle], as for HTM-AA.
        min_caption_seconds: For a place inside the span, shorter captions are widened around their middle to
            this.
        whole_seconds: For a place inside the span, draw whole seconds as starts, as published; otherwise any
            time.
        longer_than_seconds: Videos that are not longer are replaced by others.
        shorter_than_seconds: Videos that are not shorter are replaced by others; None for no limit.
    """

    clips_per_video: int = 1
    num_candidates: int = 4
    captions: Literal["any", "consecutive"] = "any"
    place: Literal["inside", "around_middle"] = "inside"
    min_caption_seconds: float = 5.0
    whole_seconds: bool = True
    longer_than_seconds: float = 0.0
    shorter_than_seconds: float | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        if self.clips_per_video < 1 or self.num_candidates < 1:
            raise ValueError(
                "clips_per_video and num_candidates must be at least 1, got "
                f"{self.clips_per_video} and {self.num_candidates}"
            )
        if not (math.isfinite(self.min_caption_seconds) and self.min_caption_seconds >= 0):
            raise ValueError(f"min_caption_seconds must not be negative, got {self.min_caption_seconds}")
        _ = self.duration_limits

    @property
    def duration_limits(self) -> DurationLimits:
        """How long a video must be.

        Raises:
            ValueError: If no length lies between the limits.
        """
        most = math.inf if self.shorter_than_seconds is None else self.shorter_than_seconds
        return DurationLimits(self.longer_than_seconds, most)


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

    @property
    def num_clips(self) -> int:
        """K."""
        return len(self.clips)


class NarratedDataset(ClipDataset[NarratedItem, NarratedBatch]):
    """Draws K clips with P caption candidates from a video; an item depends on (seed, epoch, index) only.

    A video that cannot be decoded, has no captions or is too short or long is replaced by another one, drawn
    from the item's own generator, and named in the item. Several threads may draw items at once.

    Args:
        videos: The corpus.
        source: Where clips come from.
        spec: Frames, rate, size and crop of the clips.
        tokenizer: Turns captions into ids.
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
        tokenizer: Tokenizer,
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
        sampling, spec = self.sampling, self.spec
        duration_seconds = self._usable_duration(video)
        starts: list[float] = []
        candidates: list[int] = []
        num_padded_clips = 0
        for number, caption in enumerate(self._draw_captions(video, duration_seconds, generator)):
            start_seconds = self._draw_start(video.track[caption].span, duration_seconds, generator)
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

    def _usable_duration(self, video: NarratedVideo) -> float:
        """Length of a video in seconds, once it is certain that it may be used."""
        if len(video.track) == 0:
            raise DecodeError(video.path, "it has no captions")
        duration_seconds = self._source.duration_seconds(video.path)
        limits = self.sampling.duration_limits
        if duration_seconds not in limits:
            raise DecodeError(
                video.path,
                f"it lasts {duration_seconds:.1f} s, and videos are to last more than"
                f" {limits.longer_than_seconds:g} s and less than {limits.shorter_than_seconds:g} s",
            )
        return duration_seconds

    def _draw_captions(
        self, video: NarratedVideo, duration_seconds: float, generator: torch.Generator
    ) -> list[int]:
        """K captions: any, none twice before all have been taken, or K in a row."""
        num_clips, track = self.sampling.clips_per_video, video.track
        usable = list(range(len(track)))
        if self.sampling.place == "around_middle":
            usable = [index for index in usable if self._has_room(track[index].span, duration_seconds)]
            if not usable:
                raise DecodeError(video.path, f"all captions lie beyond its end, {duration_seconds:.1f} s")
        if self.sampling.captions == "consecutive":
            kept = CaptionTrack(tuple(track[index] for index in usable))
            return [
                usable[place] for place in draw_consecutive_captions(kept, num_clips, generator=generator)
            ]
        drawn: list[int] = []
        while len(drawn) < num_clips:
            drawn += [usable[place] for place in torch.randperm(len(usable), generator=generator).tolist()]
        return drawn[:num_clips]

    def _has_room(self, span: Span, duration_seconds: float) -> bool:
        """Whether a clip around the middle of a caption can start inside the video."""
        lowest, highest = aligned_start_range(
            span.center_seconds, self.spec.duration_seconds, duration_seconds=duration_seconds
        )
        return lowest <= highest

    def _draw_start(self, span: Span, duration_seconds: float, generator: torch.Generator) -> float:
        """Where the clip of a caption starts, moved forward where it would pass the end of the video."""
        clip_seconds = self.spec.duration_seconds
        last_start = max(0.0, duration_seconds - clip_seconds)
        if self.sampling.place == "around_middle":
            second = draw_aligned_start(
                span.center_seconds, clip_seconds, duration_seconds=duration_seconds, generator=generator
            )
            return float(min(second, math.floor(last_start)))
        wide = widen_span(span, self.sampling.min_caption_seconds)
        if self.sampling.whole_seconds:
            second = draw_clip_start(whole_second_span(wide), clip_seconds, generator=generator)
            return float(min(second, math.floor(last_start)))
        room = max(0.0, wide.duration_seconds - clip_seconds)
        start = wide.start_seconds + room * float(torch.rand((), generator=generator, dtype=torch.float64))
        return min(start, last_start)
