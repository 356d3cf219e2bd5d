"""What all data sets of extracted features share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch

from narravid.data.drawing import BatchLoad, BatchT, DrawnDataset, ItemKey, ItemT, Replaced

__all__ = ["FeatureDataset"]


class FeatureDataset(DrawnDataset[ItemT, BatchT]):
    """Draws from the features of videos."""

    @abstractmethod
    def collate(self, items: Sequence[ItemT]) -> BatchT:
        """Put items together to a batch."""

    @abstractmethod
    def _draw(self, index: int, generator: torch.Generator, replaced: Replaced) -> ItemT:
        """Draw from the video of an index; `DecodeError` has it replaced."""

    def load(self, keys: Sequence[ItemKey], *, pinned: bool) -> BatchLoad[ItemT, BatchT]:
        """Begin to load a batch; see `DrawnDataset.load`."""
        return _FeatureBatchLoad(self, keys)

    def __getitem__(self, key: ItemKey) -> ItemT:
        """The item of an index in an epoch.

        Args:
            key: (seed, epoch, index), none negative, index below the length.

        Returns:
            What was drawn; the same key always gives the same.

        Raises:
            NoUsableVideoError: If no video that is tried can be used.
        """
        return self._draw_usable(key, self._draw)


class _FeatureBatchLoad(BatchLoad[ItemT, BatchT]):
    def __init__(self, dataset: FeatureDataset[ItemT, Any], keys: Sequence[ItemKey]) -> None:
        super().__init__(keys)
        self._dataset = dataset

    def draw(self, place: int) -> ItemT:
        """The item at a place of the batch."""
        return self._dataset[self.keys[place]]

    def collate(self, items: Sequence[ItemT]) -> BatchT:
        """The batch of these items."""
        batch: BatchT = self._dataset.collate(items)
        return batch
