"""What all data sets of extracted features share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch

from narravid.data.drawing import BatchLoad, BatchT, DrawnDataset, ItemKey, ItemT, Replaced
from narravid.data.feature_files import FeatureTracks
from narravid.text.words import WordTokenizer

__all__ = ["FeatureDataset"]

SampleT = TypeVar("SampleT")


class FeatureDataset(DrawnDataset[ItemT, BatchT], Generic[SampleT, ItemT, BatchT]):
    """Draws from the features of videos.

    Args:
        samples: What to draw from.
        tracks: Their features.
        tokenizer: Turns sentences into word ids.

    Attributes:
        samples: As given.

    Raises:
        ValueError: If there are no samples.
    """

    def __init__(
        self, samples: Sequence[SampleT], tracks: FeatureTracks, *, tokenizer: WordTokenizer
    ) -> None:
        if not samples:
            raise ValueError("a dataset needs at least one sample, got none")
        self.samples = samples
        self._tracks = tracks
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self.samples)

    @abstractmethod
    def collate(self, items: Sequence[ItemT]) -> BatchT:
        """Put items together to a batch."""

    @abstractmethod
    def _draw(self, index: int, generator: torch.Generator, replaced: Replaced) -> ItemT:
        """Draw from the video of an index; `DecodeError` has it replaced."""

    def load(self, keys: Sequence[ItemKey], *, pinned: bool) -> BatchLoad[ItemT, BatchT]:
        """Begin to load a batch; see `DrawnDataset.load`."""
        return _FeatureBatchLoad(self, keys, pinned=pinned)

    def __getitem__(self, key: ItemKey) -> ItemT:
        """The item of an index in an epoch.

        Args:
            key: (seed, epoch, index), none negative, index below the length.

        Returns:
            What was drawn; the same key always gives the same.

        Raises:
            NoUsableVideoError: If no video that is tried can be used.
        """
        return self.draw(key)

    def draw(self, key: ItemKey, *, is_wanted: Callable[[], bool] = lambda: True) -> ItemT:
        """The item of an index in an epoch.

        Args:
            key: As for `__getitem__`.
            is_wanted: Asked before each video that is tried.

        Raises:
            NoUsableVideoError: If no video that is tried can be used.
            DrawingStoppedError: If the item is not wanted any more.
        """
        return self._draw_usable(key, self._draw, is_wanted=is_wanted)


class _FeatureBatchLoad(BatchLoad[ItemT, BatchT]):
    def __init__(
        self, dataset: FeatureDataset[Any, ItemT, Any], keys: Sequence[ItemKey], *, pinned: bool
    ) -> None:
        super().__init__(keys, pinned=pinned)
        self._dataset = dataset

    def draw(self, place: int) -> ItemT:
        """The item at a place of the batch."""
        return self._dataset.draw(self.keys[place], is_wanted=lambda: self.is_wanted)

    def collate(self, items: Sequence[ItemT]) -> BatchT:
        """The batch of these items."""
        batch: BatchT = self._dataset.collate(items)
        return batch
