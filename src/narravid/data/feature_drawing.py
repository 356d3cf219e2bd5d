"""What all data sets of extracted features share: drawing by key, replacing what is bad, loading batches."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch

from narravid.bad_items import BadItems
from narravid.data.drawing import MAX_REPLACEMENTS, ItemKey, NoUsableVideoError, Replaced
from narravid.data.loader import LoadingReport
from narravid.data.order import BatchOrder, rank_share
from narravid.errors import DecodeError

__all__ = ["FeatureDataset", "FeatureItem", "feature_loader"]

BATCHES_AHEAD = 2
"""Batches that are loaded while one is worked on."""

_log = logging.getLogger(__name__)


class FeatureItem(Protocol):
    """What the loader needs to know of an item."""

    @property
    def num_clips(self) -> int:
        """Clips, or windows, in it."""

    @property
    def replaced(self) -> Replaced:
        """(path, reason) of the bad videos that it stands in for."""


ItemT = TypeVar("ItemT", bound=FeatureItem)
BatchT = TypeVar("BatchT")


class FeatureDataset(ABC, Generic[ItemT, BatchT]):
    """Draws from the features of videos; an item depends on (seed, epoch, index) only.

    A video whose features cannot be used is replaced by another one, drawn from the item's own generator, and
    named in the item. Several threads may draw items at once.
    """

    @abstractmethod
    def __len__(self) -> int:
        """What there is to draw from."""

    @abstractmethod
    def collate(self, items: Sequence[ItemT]) -> BatchT:
        """Put items together to a batch."""

    @abstractmethod
    def _draw(self, index: int, generator: torch.Generator, *, replaced: Replaced) -> ItemT:
        """Draw from the video of an index; `DecodeError` has it replaced."""

    def __getitem__(self, key: ItemKey) -> ItemT:
        """The item of an index in an epoch.

        Args:
            key: (seed, epoch, index), none negative, index below the length.

        Returns:
            What was drawn; the same key always gives the same.

        Raises:
            NoUsableVideoError: If no video that is tried can be used.
        """
        seed, epoch, index = key
        state = np.random.SeedSequence([seed, epoch, index]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]))
        replaced: list[tuple[str, str]] = []
        while True:
            try:
                return self._draw(index, generator, replaced=tuple(replaced))
            except DecodeError as error:
                replaced.append((error.path, error.reason))
            if len(self) == 1 or len(replaced) == MAX_REPLACEMENTS:
                raise NoUsableVideoError(replaced)
            index = (index + int(torch.randint(1, len(self), (), generator=generator))) % len(self)


def feature_loader(
    dataset: FeatureDataset[ItemT, BatchT],
    order: BatchOrder,
    *,
    epoch: int,
    start_batch: int = 0,
    num_workers: int = 0,
    report: LoadingReport | None = None,
) -> Iterator[BatchT]:
    """The batches of one epoch.

    Args:
        dataset: What to draw from.
        order: Which items come when.
        epoch: Which epoch; each has its own order and draws.
        start_batch: Skip the batches before this one, without reading their files.
        num_workers: Threads that read ahead; they change the speed only.
        report: Counts what was loaded and what was replaced.

    Yields:
        The batches; of several processes each has its share.

    Raises:
        ValueError: At once, if the order is not one of this data set or there is no such batch.
        TooManyBadItemsError: If more of the items met a bad video than `report` allows.
        NoUsableVideoError: If an item finds no video that can be used.
    """
    if order.num_items != len(dataset):
        raise ValueError(f"the order is one of {order.num_items} items, the dataset has {len(dataset)}")
    batches = (
        [(order.seed, epoch, index) for index in indexes] for indexes in order.batches(epoch, start_batch)
    )
    num_expected = len(rank_share(order.num_items, rank=order.rank, world_size=order.world_size))
    counter = _Counter(report or LoadingReport(), num_expected)
    if num_workers == 0:
        return (dataset.collate(counter.counted(dataset[key] for key in keys)) for keys in batches)
    return _load_ahead(dataset, batches, counter, num_workers=num_workers)


class _Counter:
    """Counts the items of an epoch in their order, and stops it when too many met a bad video."""

    def __init__(self, report: LoadingReport, num_expected: int) -> None:
        self._report = report
        self._num_expected = num_expected
        self._num_items = 0
        self._bad = BadItems()

    def counted(self, items: Iterator[ItemT]) -> list[ItemT]:
        """The items of a batch."""
        loaded = []
        try:
            for item in items:
                self._report.num_items += 1
                self._report.num_clips += item.num_clips
                self._count(item.replaced)
                loaded.append(item)
        except NoUsableVideoError as error:
            self._count(error.replaced)
            raise
        share = self._report.max_bad_share
        self._bad.check_share(self._num_items, num_expected=self._num_expected, max_share=share)
        return loaded

    def _count(self, replaced: Replaced) -> None:
        self._num_items += 1
        for path, reason in replaced:
            self._report.add_replaced(path, reason)
        for path, reason in replaced[:1]:  # only the one whose turn it was counts towards the share
            self._bad.add(path, reason)


def _load_ahead(
    dataset: FeatureDataset[ItemT, BatchT],
    batches: Iterator[list[ItemKey]],
    counter: _Counter,
    *,
    num_workers: int,
) -> Iterator[BatchT]:
    """Batches in their order, each with the items of those behind it under way."""
    under_way: deque[list[Future[ItemT]]] = deque()
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="narravid-features")
    try:
        for keys in batches:
            under_way.append([pool.submit(dataset.__getitem__, key) for key in keys])
            if len(under_way) > BATCHES_AHEAD:
                futures = under_way.popleft()
                yield dataset.collate(counter.counted(future.result() for future in futures))
        while under_way:
            futures = under_way.popleft()
            yield dataset.collate(counter.counted(future.result() for future in futures))
    finally:
        pool.shutdown(cancel_futures=True)
