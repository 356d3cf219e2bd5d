"""Batches in an order that depends on nothing but seed and epoch.

Items are drawn by threads, each of which waits for a decoding process of its own where the source has watched
ones; they write the frames of clips to their places in the batch, so that nothing is pickled or put together
again.

The loader is also where bad videos are counted, because only here all items come by in order: few are
replaced and reported, many stop the run.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import torch

from narravid.data.drawing import BatchLoad, BatchT, DrawnDataset, ItemT
from narravid.data.loading_report import EpochCount, LoadingReport
from narravid.data.order import BatchOrder, rank_share

__all__ = ["load_batches"]

BATCHES_AHEAD = 2
"""Batches that are loaded while one is worked on."""


def load_batches(
    dataset: DrawnDataset[ItemT, BatchT],
    order: BatchOrder,
    *,
    epoch: int,
    start_batch: int = 0,
    num_workers: int = 0,
    pin_memory: bool = False,
    report: LoadingReport | None = None,
) -> Iterator[BatchT]:
    """The batches of one epoch.

    A loader with workers that is left early closes what its dataset has started: load from one of them at a
    time.

    Args:
        dataset: What to draw from.
        order: Which items come when.
        epoch: Which epoch; each has its own order and draws.
        start_batch: Skip the batches before this one, without reading their files.
        num_workers: Threads that load ahead; they change the speed only. With 0, batches are loaded when
            asked for.
        pin_memory: Put batches into page-locked memory, which a GPU reads faster and while it computes;
            without effect where there is no CUDA device.
        report: Counts what was replaced and padded.

    Yields:
        Batches, of which each of several processes has its share. The clips of an item lie side by side;
        those of pixels are (B, 3, T, H, W) uint8, colours last in memory.

    Raises:
        ValueError: At once, if the order is not one of this data set, there is no such batch, or
            `num_workers` is negative.
        TooManyBadItemsError: If more of the items met a bad video than `report` allows, 5 % without one.
        NoUsableVideoError: If an item finds no video that can be used.
    """
    if order.num_items != len(dataset):
        raise ValueError(f"the order is one of {order.num_items} items, the dataset has {len(dataset)}")
    if num_workers < 0:
        raise ValueError(f"num_workers must not be negative, got {num_workers}")
    batches = (
        [(order.seed, epoch, index) for index in indexes] for indexes in order.batches(epoch, start_batch)
    )
    pinned = pin_memory and torch.cuda.is_available()
    loads = (dataset.load(keys, pinned=pinned) for keys in batches)
    # Of the corpus, not of what is left of the epoch: one bad video in its last batches must not stop a run
    # that was resumed there, nor one in a small archive whose last, incomplete batch is left out.
    num_expected = len(rank_share(order.num_items, rank=order.rank, world_size=order.world_size))
    count = EpochCount(report or LoadingReport(), num_expected)
    if num_workers == 0:
        return (_finish(load, map(load.draw, range(len(load.keys))), count) for load in loads)
    return _load_ahead(dataset, loads, count, num_workers=num_workers)


def _pinned(batch: BatchT) -> BatchT:
    """The same batch with all its tensors in page-locked memory; those that are there already stay."""
    whole: Any = batch  # a dataclass, as all batches are
    values = {field.name: getattr(whole, field.name) for field in dataclasses.fields(whole)}
    tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
    pinned: BatchT = dataclasses.replace(
        whole, **{name: tensor.pin_memory() for name, tensor in tensors.items()}
    )
    return pinned


def _load_ahead(
    dataset: DrawnDataset[ItemT, BatchT],
    loads: Iterator[BatchLoad[ItemT, BatchT]],
    count: EpochCount,
    *,
    num_workers: int,
) -> Iterator[BatchT]:
    """Batches in their order, each with the items of those behind it under way."""
    under_way: deque[tuple[BatchLoad[ItemT, BatchT], list[Future[ItemT]]]] = deque()
    pool = _single_threaded_pool(num_workers)
    try:
        for load in loads:
            under_way.append((load, [pool.submit(load.draw, place) for place in range(len(load.keys))]))
            if len(under_way) > BATCHES_AHEAD:
                load, futures = under_way[0]
                yield _finish(load, (future.result() for future in futures), count)
                under_way.popleft()
        while under_way:
            load, futures = under_way[0]
            yield _finish(load, (future.result() for future in futures), count)
            under_way.popleft()
    finally:
        for load, _ in under_way:
            load.is_wanted = False
        pool.shutdown(wait=False, cancel_futures=True)
        if not all(future.done() for _, futures in under_way for future in futures):
            dataset.close()  # threads that wait for a decoding process see it end
            pool.shutdown()
            dataset.close()  # and one that had just asked for a new process leaves it idle
        pool.shutdown()


def _finish(load: BatchLoad[ItemT, BatchT], items: Iterable[ItemT], count: EpochCount) -> BatchT:
    batch = load.collate(count.take(items))
    return _pinned(batch) if load.is_pinned else batch


def _single_threaded_pool(num_workers: int) -> ThreadPoolExecutor:
    """Threads whose own tensor operations stay on one core each, so that they do not crowd out training."""
    num_threads = torch.get_num_threads()
    all_started = threading.Barrier(num_workers + 1)

    def start() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # or the first operation of this thread would go by what others set since
        with suppress(threading.BrokenBarrierError):
            all_started.wait()

    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="narravid-loader", initializer=start)
    try:
        for _ in range(num_workers):
            pool.submit(int)  # threads start when there is work
        all_started.wait()
    finally:
        all_started.abort()  # lets go of those that wait for one that was never started
        # What a thread sets holds for itself, but also for all threads that start later, until this call.
        torch.set_num_threads(num_threads)
    return pool
