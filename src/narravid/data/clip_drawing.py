"""What all data sets of clips share: frames go straight into the memory of their batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from narravid.data.drawing import BatchLoad, BatchT, DrawnDataset, ItemKey, ItemT, Replaced
from narravid.data.sources import ClipSource
from narravid.types import ClipSpec

__all__ = ["ClipDataset", "Frames"]

Frames = npt.NDArray[np.uint8]
"""Memory of the frames of an item, (K, T, H, W, 3)."""


class ClipDataset(DrawnDataset[ItemT, BatchT]):
    """Draws K clips from each of some videos, and puts items together to batches.

    Args:
        source: Where clips come from.
        spec: Frames, rate, size and crop of the clips.

    Attributes:
        spec: As given.
    """

    def __init__(self, source: ClipSource, *, spec: ClipSpec) -> None:
        self.spec = spec
        self._source = source

    @property
    def clips_per_video(self) -> int:
        """K, clips in an item."""
        return 1

    @property
    def frames_shape(self) -> tuple[int, int, int, int, int]:
        """Shape of the frames of an item, (K, T, H, W, 3)."""
        size = self.spec.size_pixels
        return self.clips_per_video, self.spec.num_frames, size, size, 3

    @abstractmethod
    def collate(self, clips: torch.Tensor, items: Sequence[ItemT]) -> BatchT:
        """Put items together.

        Args:
            clips: (B, 3, T, H, W) uint8, the clips of all items in their order.
            items: The items.

        Returns:
            Their batch.
        """

    @abstractmethod
    def _draw(self, index: int, generator: torch.Generator, *, frames: Frames, replaced: Replaced) -> ItemT:
        """Draw from the video of an index; `DecodeError` has it replaced."""

    def close(self) -> None:
        """End what the source has started; items that are being drawn in other threads then fail."""
        self._source.close()

    def load(self, keys: Sequence[ItemKey], *, pinned: bool) -> BatchLoad[ItemT, BatchT]:
        """Begin to load a batch; see `DrawnDataset.load`."""
        return _ClipBatchLoad(self, keys, pinned=pinned)

    def __getitem__(self, key: ItemKey) -> ItemT:
        """The item of a video in an epoch; see `draw`."""
        return self.draw(key)

    def draw(
        self,
        key: ItemKey,
        *,
        frames: Frames | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> ItemT:
        """The item of a video in an epoch.

        Args:
            key: (seed, epoch, index), none negative, index below the number of videos.
            frames: Where to put the frames, of shape `frames_shape`; None takes new memory.
            is_wanted: Asked before each video that is tried.

        Returns:
            What was drawn; the same key always gives the same.

        Raises:
            NoUsableVideoError: If no video that is tried can be used.
            DrawingStoppedError: If the item is not wanted any more.
        """
        memory = np.empty(self.frames_shape, np.uint8) if frames is None else frames

        def draw(index: int, generator: torch.Generator, replaced: Replaced) -> ItemT:
            return self._draw(index, generator, frames=memory, replaced=replaced)

        return self._draw_usable(key, draw, is_wanted=is_wanted)


class _ClipBatchLoad(BatchLoad[ItemT, BatchT]):
    """A batch with the memory of all its clips, (B, T, H, W, 3) uint8."""

    def __init__(self, dataset: ClipDataset[ItemT, Any], keys: Sequence[ItemKey], *, pinned: bool) -> None:
        super().__init__(keys, pinned=pinned)
        self._dataset = dataset
        num_clips, *rest = dataset.frames_shape
        self._frames = torch.empty((len(keys) * num_clips, *rest), dtype=torch.uint8, pin_memory=pinned)

    def draw(self, place: int) -> ItemT:
        """Load the item at a place of the batch, into its part of the batch's memory."""
        num_clips = self._dataset.clips_per_video
        frames: Frames = self._frames[place * num_clips : (place + 1) * num_clips].numpy()
        return self._dataset.draw(self.keys[place], frames=frames, is_wanted=lambda: self.is_wanted)

    def collate(self, items: Sequence[ItemT]) -> BatchT:
        """The batch of these items, whose frames are in place already."""
        batch: BatchT = self._dataset.collate(self._frames.permute(0, 4, 1, 2, 3), items)
        return batch
