"""Clips as extracted features with their captions: drawn from narrated videos, or given as pairs.

Training on narration follows Miech et al., HowTo100M, ICCV 2019, arXiv 1906.03327, section 4, and the
released loader: some captions of a video are drawn, each is merged with its neighbours until it is long,
and the clip is what it then spans.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from narravid.batches import FeatureBatch
from narravid.data.drawing import Replaced
from narravid.data.feature_corpus import FeaturedVideo
from narravid.data.feature_drawing import FeatureDataset
from narravid.data.feature_files import FeatureTracks
from narravid.data.featured import FeatureTrack, OutsideFeatures, clip_features
from narravid.text.caption_merging import draw_merged_captions
from narravid.text.captions import Repetition
from narravid.text.words import WordTokenizer
from narravid.types import Span

__all__ = [
    "FeatureClips",
    "FeaturePair",
    "FeaturePairsDataset",
    "MergedSampling",
    "NarratedFeaturesDataset",
    "pair_features",
]


@dataclass(frozen=True, slots=True)
class MergedSampling:
    """How clips and captions are drawn from a narrated video.

    Attributes:
        pairs_per_video: Clips with their captions that a video gives to a batch (published: n_pair).
        min_seconds: Captions are merged with their neighbours until they last so long.
        min_words: And until they have so many words.
        repetition: Whether a caption may be drawn twice: always, as published, or only where a video has too
            few.
        when_outside: What a clip behind the end of the features gives: the nearest one, or zeros (published).

    Raises:
        ValueError: If a number is out of range.
    """

    pairs_per_video: int = 64
    min_seconds: float = 5.0
    min_words: int = 0
    repetition: Repetition = "always"
    when_outside: OutsideFeatures = "nearest"

    def __post_init__(self) -> None:
        if self.pairs_per_video < 1 or self.min_words < 0:
            raise ValueError(
                "pairs_per_video must be at least 1 and min_words 0, got "
                f"{self.pairs_per_video} and {self.min_words}"
            )
        if not (math.isfinite(self.min_seconds) and self.min_seconds >= 0):
            raise ValueError(f"min_seconds must be at least 0, got {self.min_seconds}")


@dataclass(frozen=True, slots=True)
class FeatureClips:
    """The clips drawn from one video.

    Attributes:
        features: (K, F) float32.
        tokens: (K, 1, L) int64.
        video_id: Name of the video.
        replaced: (path, reason) of the bad videos that this one stands in for.
    """

    features: torch.Tensor
    tokens: torch.Tensor
    video_id: str
    replaced: Replaced = ()

    num_padded_clips: ClassVar[int] = 0

    @property
    def num_clips(self) -> int:
        """K."""
        return len(self.features)


def _collate(items: Sequence[FeatureClips]) -> FeatureBatch:
    return FeatureBatch(
        features=torch.cat([item.features for item in items]),
        tokens=torch.cat([item.tokens for item in items]),
        video_ids=tuple(item.video_id for item in items for _ in range(item.num_clips)),
    )


class NarratedFeaturesDataset(FeatureDataset[FeaturedVideo, FeatureClips, FeatureBatch]):
    """Draws K clips with their merged captions from the features of a narrated video.

    Args:
        videos: The corpus.
        tracks: Their features.
        tokenizer: Turns captions into word ids.
        sampling: How clips and captions are drawn.

    Raises:
        ValueError: If there are no videos.
    """

    def __init__(
        self,
        videos: Sequence[FeaturedVideo],
        tracks: FeatureTracks,
        *,
        tokenizer: WordTokenizer,
        sampling: MergedSampling,
    ) -> None:
        super().__init__(videos, tracks, tokenizer=tokenizer)
        self.sampling = sampling

    def collate(self, items: Sequence[FeatureClips]) -> FeatureBatch:
        """The clips of all items, those of a video side by side."""
        return _collate(items)

    def _draw(self, index: int, generator: torch.Generator, replaced: Replaced) -> FeatureClips:
        video, sampling = self.samples[index], self.sampling
        tracks = self._tracks.read(video.name)
        captions = draw_merged_captions(
            video.track,
            sampling.pairs_per_video,
            min_seconds=sampling.min_seconds,
            min_words=sampling.min_words,
            generator=generator,
            repetition=sampling.repetition,
        )
        spans = [caption.span for caption in captions]
        features = clip_features(tracks, spans, when_outside=sampling.when_outside).features
        tokens = self._tokenizer([caption.text for caption in captions])
        return FeatureClips(features, tokens[:, None], video.video_id, replaced)


@dataclass(frozen=True, slots=True)
class FeaturePair:
    """A clip as features, and a sentence that describes it.

    Attributes:
        name: Name of the clip or its video among the features.
        text: The sentence.
        span: The part of the video; None for all of it.
    """

    name: str
    text: str
    span: Span | None = None


def pair_features(tracks: Sequence[FeatureTrack], span: Span | None) -> torch.Tensor:
    """(F,) float32, the features of a clip: the largest over the span, or over the whole video."""
    if span is None:
        span = Span(0.0, max(len(track.steps) / track.steps_per_second for track in tracks))
    return clip_features(tracks, [span]).features[0]


class FeaturePairsDataset(FeatureDataset[FeaturePair, FeatureClips, FeatureBatch]):
    """Gives clips of benchmarks with one sentence each, for fine-tuning; see `FeatureDataset`."""

    def collate(self, items: Sequence[FeatureClips]) -> FeatureBatch:
        """The pairs of all items."""
        return _collate(items)

    def _draw(self, index: int, generator: torch.Generator, replaced: Replaced) -> FeatureClips:
        pair = self.samples[index]
        features = pair_features(self._tracks.read(pair.name), pair.span)
        return FeatureClips(features[None], self._tokenizer([pair.text])[:, None], pair.name, replaced)
