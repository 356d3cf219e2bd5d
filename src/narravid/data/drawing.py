"""What all data sets of clips share: an item follows from its key alone, and a bad video is replaced."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from narravid.data.sources import ClipSource
from narravid.errors import DecodeError, NarravidError
from narravid.types import ClipSpec

__all__ = [
    "ClipDataset",
    "DrawingStoppedError",
    "DrawnItem",
    "Frames",
    "ItemKey",
    "NoUsableVideoError",
    "Replaced",
]

MAX_REPLACEMENTS = 20
"""Bad videos in a row after which an item gives up: with this many, something other than videos is wrong."""

ItemKey = tuple[int, int, int]
"""(seed, epoch, index): everything that an item depends on."""

Frames = npt.NDArray[np.uint8]
"""Memory of the frames of an item, (K, T, H, W, 3)."""

Replaced = tuple[tuple[str, str], ...]
"""(path, reason) of bad videos that others stand in for."""


class DrawnItem(Protocol):
    """What a loader needs to know of an item of any data set."""

    @property
    def clips(self) -> torch.Tensor:
        """(K, 3, T, H, W) uint8."""

    @property
    def num_padded_clips(self) -> int:
        """Clips that pass the end of the video and end with black frames."""

    @property
    def replaced(self) -> Replaced:
        """The bad videos that this one stands in for."""


ItemT = TypeVar("ItemT", bound=DrawnItem)
BatchT = TypeVar("BatchT")


class NoUsableVideoError(NarravidError):
    """So many videos in a row cannot be used that something other than videos is wrong.

    Args:
        replaced: (path, reason) of the videos that were tried.
    """

    def __init__(self, replaced: Sequence[tuple[str, str]]) -> None:
        path, reason = replaced[-1]
        super().__init__(f"none of {len(replaced)} videos tried can be decoded; the last, {path}: {reason}")
        self.replaced = tuple(replaced)

    def __reduce__(self) -> tuple[type[NoUsableVideoError], tuple[object, ...]]:
        return type(self), (self.replaced,)


class DrawingStoppedError(Exception):
    """Nobody wants the item any more."""


class ClipDataset(ABC, Generic[ItemT, BatchT]):
    """Draws K clips from each of some videos, and puts items together to batches.

    A video that cannot be used is replaced by another one, drawn from the item's own generator, and named in
    the item. Several threads may draw items at once.

    Args:
        source: Where clips come from.
        spec: Frames, rate, size and crop of the clips.

    Attributes:
        spec: As given.
    """

    def __init__(self, source: ClipSource, *, spec: ClipSpec) -> None:
        self.spec = spec
        self._source = source

    @abstractmethod
    def __len__(self) -> int:
        """The videos, or clips of them, to draw from."""

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
        seed, epoch, index = key
        state = np.random.SeedSequence([seed, epoch, index]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]))
        if frames is None:
            frames = np.empty(self.frames_shape, np.uint8)
        replaced: list[tuple[str, str]] = []
        while is_wanted():
            try:
                return self._draw(index, generator, frames=frames, replaced=tuple(replaced))
            except DecodeError as error:
                replaced.append((error.path, error.reason))
            if len(self) == 1 or len(replaced) == MAX_REPLACEMENTS:
                raise NoUsableVideoError(replaced)
            step = int(torch.randint(1, len(self), (), generator=generator))
            index = (index + step) % len(self)
        raise DrawingStoppedError
