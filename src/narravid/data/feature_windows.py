"""Long windows of videos as features with the sentences spoken in them, for temporal alignment networks.

Han et al., Temporal Alignment Networks for Long-term Video, CVPR 2022, arXiv 2204.02968, and the released
loader: a window starts with a sentence and keeps those that follow, with their times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from narravid.batches import WindowBatch
from narravid.data.drawing import Replaced
from narravid.data.feature_corpus import FeaturedVideo
from narravid.data.feature_drawing import FeatureDataset
from narravid.data.feature_files import FeatureTracks
from narravid.data.featured import feature_window
from narravid.text.sentence_windows import WindowRule, draw_sentence_window
from narravid.text.words import PADDING_ID, WordTokenizer

__all__ = ["WindowItem", "WindowSampling", "WindowsDataset"]


@dataclass(frozen=True, slots=True)
class WindowSampling:
    """How windows are drawn.

    Attributes:
        window_seconds: T, length of a window.
        rule: What becomes of odd sentences and of videos without a window: as in the released loader
            (published: a sentence of no use ends the window, and a video with too little talk gives its
            beginning with one unknown sentence), or so that an odd sentence costs itself alone (complete).

    Raises:
        ValueError: If the length is below 1 or the rule is unknown.
    """

    window_seconds: int = 64
    rule: WindowRule = "published"

    def __post_init__(self) -> None:
        if self.window_seconds < 1:
            raise ValueError(f"window_seconds must be at least 1, got {self.window_seconds}")
        if self.rule not in ("published", "complete"):
            raise ValueError(f"rule must be 'published' or 'complete', got {self.rule!r}")


@dataclass(frozen=True, slots=True)
class WindowItem:
    """A window of one video.

    Attributes:
        features: (T, F) float32.
        feature_mask: (T,) bool, False past the end of the video.
        tokens: (N, L) int64.
        positives: (N, T) bool, the seconds of each sentence.
        text_positions: (N, 2) float32 in [0, 1], start and end of each sentence as shares of the video.
        video_id: Name of the video.
        replaced: (path, reason) of the bad videos that this one stands in for.
    """

    features: torch.Tensor
    feature_mask: torch.Tensor
    tokens: torch.Tensor
    positives: torch.Tensor
    text_positions: torch.Tensor
    video_id: str
    replaced: Replaced = ()

    num_padded_clips: ClassVar[int] = 0

    @property
    def num_clips(self) -> int:
        """One window."""
        return 1


class WindowsDataset(FeatureDataset[FeaturedVideo, WindowItem, WindowBatch]):
    """Draws a window of a video with the sentences in it.

    Args:
        videos: The corpus; sentences as their captions.
        tracks: Their features: one extractor, one feature per second.
        tokenizer: Turns sentences into word ids; unknown words are kept in place as published.
        sampling: How windows are drawn.

    Raises:
        ValueError: If there are no videos.
    """

    def __init__(
        self,
        videos: Sequence[FeaturedVideo],
        tracks: FeatureTracks,
        *,
        tokenizer: WordTokenizer,
        sampling: WindowSampling,
    ) -> None:
        super().__init__(videos, tracks, tokenizer=tokenizer)
        self.sampling = sampling

    def collate(self, items: Sequence[WindowItem]) -> WindowBatch:
        """The windows of all items, with places for as many sentences as the fullest has."""
        num_places = max(1, *(len(item.tokens) for item in items))
        num_texts = torch.tensor([len(item.tokens) for item in items])
        return WindowBatch(
            features=torch.stack([item.features for item in items]),
            feature_mask=torch.stack([item.feature_mask for item in items]),
            tokens=_stack_padded([item.tokens for item in items], num_places),
            text_mask=torch.arange(num_places) < num_texts[:, None],
            positives=_stack_padded([item.positives for item in items], num_places),
            text_positions=_stack_padded([item.text_positions for item in items], num_places),
            video_ids=tuple(item.video_id for item in items),
        )

    def _draw(self, index: int, generator: torch.Generator, replaced: Replaced) -> WindowItem:
        video, num_seconds = self.samples[index], self.sampling.window_seconds
        [track] = self._tracks.read(video.name)
        length = len(track.steps)
        window = draw_sentence_window(
            video.track,
            length,
            generator=generator,
            window_seconds=num_seconds,
            rule=self.sampling.rule,
            is_known=self._is_known,
        )
        features = feature_window(track, window.span.start_seconds, num_steps=num_seconds)
        times = torch.tensor(
            [(text.span.start_seconds, text.span.end_seconds) for text in window.sentences]
        ).view(-1, 2)
        seconds = torch.arange(num_seconds)
        return WindowItem(
            features.steps,
            features.mask,
            tokens=self._tokenizer([text.text for text in window.sentences]),
            positives=(times[:, :1] <= seconds) & (seconds < times[:, 1:]),
            text_positions=((times + window.span.start_seconds) / length).clamp(0, 1),
            video_id=video.video_id,
            replaced=replaced,
        )

    def _is_known(self, sentence: str) -> bool:
        return bool((self._tokenizer([sentence]) != PADDING_ID).any())


def _stack_padded(rows: Sequence[torch.Tensor], num_rows: int) -> torch.Tensor:
    """(B, num_rows, ...) with zeros where a tensor has fewer rows."""
    stacked = rows[0].new_zeros(len(rows), num_rows, *rows[0].shape[1:])
    for number, tensor in enumerate(rows):
        stacked[number, : len(tensor)] = tensor
    return stacked
