"""What all data sets share: an item follows from its key alone, and a video that is bad is replaced."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch

from narravid.errors import DecodeError, NarravidError

__all__ = [
    "BatchLoad",
    "BatchT",
    "DrawingStoppedError",
    "DrawnDataset",
    "DrawnItem",
    "ItemKey",
    "ItemT",
    "NoUsableVideoError",
    "Replaced",
]

MAX_REPLACEMENTS = 20
"""Bad videos in a row after which an item gives up: with this many, something other than videos is wrong."""

ItemKey = tuple[int, int, int]
"""(seed, epoch, index): everything that an item depends on."""

Replaced = tuple[tuple[str, str], ...]
"""(path, reason) of bad videos that others stand in for."""


class DrawnItem(Protocol):
    """What a loader needs to know of an item of any data set."""

    @property
    def num_clips(self) -> int:
        """Clips, or windows, in it."""

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


class BatchLoad(ABC, Generic[ItemT, BatchT]):
    """One batch that is being loaded, its items by several threads.

    Args:
        keys: What to draw, in the order of the batch.
        pinned: Whether the batch is to lie in page-locked memory.

    Attributes:
        keys: As given.
        is_pinned: As given.
        is_wanted: Set to False where nobody waits for the batch any more.
    """

    def __init__(self, keys: Sequence[ItemKey], *, pinned: bool) -> None:
        self.keys = keys
        self.is_pinned = pinned
        self.is_wanted = True

    @abstractmethod
    def draw(self, place: int) -> ItemT:
        """Load the item at a place of the batch."""

    @abstractmethod
    def collate(self, items: Sequence[ItemT]) -> BatchT:
        """The batch of all its items."""


class DrawnDataset(ABC, Generic[ItemT, BatchT]):
    """Items that depend on (seed, epoch, index) only.

    A video that cannot be used is replaced by another one, drawn from the item's own generator, and named in
    the item. Several threads may draw items at once.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Items to draw from."""

    @abstractmethod
    def load(self, keys: Sequence[ItemKey], *, pinned: bool) -> BatchLoad[ItemT, BatchT]:
        """Begin to load a batch.

        Args:
            keys: Its items.
            pinned: Whether to put its tensors into page-locked memory.
        """

    def close(self) -> None:
        """End what was started to read items; those that are being drawn in other threads then fail."""

    def _draw_usable(
        self,
        key: ItemKey,
        draw: Callable[[int, torch.Generator, Replaced], ItemT],
        *,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> ItemT:
        """What `draw` makes of the first index that can be used.

        Args:
            key: (seed, epoch, index), none negative, index below the length.
            draw: Called with index, generator and what was replaced; `DecodeError` has it called again with
                another index.
            is_wanted: Asked before each index that is tried.

        Raises:
            NoUsableVideoError: If no video that is tried can be used.
            DrawingStoppedError: If the item is not wanted any more.
        """
        seed, epoch, index = key
        state = np.random.SeedSequence([seed, epoch, index]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]))
        replaced: list[tuple[str, str]] = []
        while is_wanted():
            try:
                return draw(index, generator, tuple(replaced))
            except DecodeError as error:
                replaced.append((error.path, error.reason))
            if len(self) == 1 or len(replaced) == MAX_REPLACEMENTS:
                raise NoUsableVideoError(replaced)
            step = int(torch.randint(1, len(self), (), generator=generator))
            index = (index + step) % len(self)
        raise DrawingStoppedError
