"""Batches of clips in an order that depends on nothing but seed and epoch.

Items are drawn by threads, each of which waits for a decoding process of its own where the source has watched
ones; they write the frames to their places in the batch, so that nothing is pickled or put together again.

The loader is also where bad videos are counted, because only here all items come by in order: few are
replaced and reported, many stop the run.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch

from narravid.bad_items import MAX_BAD_SHARE, BadItems
from narravid.data.drawing import ClipDataset, DrawnItem, Frames, ItemKey, ItemT, NoUsableVideoError
from narravid.data.order import BatchOrder, rank_share

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["LoadingReport", "clip_loader"]

BatchT = TypeVar("BatchT", bound="DataclassInstance")

BATCHES_AHEAD = 2
"""Batches that are loaded while one is worked on."""

_COUNTS = ("num_items", "num_clips", "num_padded_clips")

_log = logging.getLogger(__name__)


@dataclass
class LoadingReport:
    """What became of the items: give one to `clip_loader` in each epoch to count over a whole run.

    It is the `DataRecord` of a training run.

    Attributes:
        num_items: Items loaded.
        num_clips: Clips loaded.
        num_padded_clips: Clips that passed the end of their video and were filled with black frames.
        bad: The videos that were replaced; what is in it before, such as videos without a usable transcript,
            stays.
        max_bad_share: Share of the items of an epoch that may meet a bad video before the run stops.
        table: Where `write` puts the bad videos; None for nowhere.
    """

    num_items: int = 0
    num_clips: int = 0
    num_padded_clips: int = 0
    bad: BadItems = field(default_factory=BadItems)
    max_bad_share: float = MAX_BAD_SHARE
    table: Path | None = None
    _found: Counter[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._found = Counter(self.bad.times)

    def add(self, item: DrawnItem) -> None:
        """Count an item, but for the videos that it replaces."""
        self.num_items += 1
        self.num_clips += len(item.clips)
        self.num_padded_clips += item.num_padded_clips

    def add_replaced(self, path: str, reason: str) -> None:
        """Count the draw of a bad video; one found bad for the first time is logged as a warning."""
        if self.bad.add(path, reason):
            _log.warning("replaced by another video: %s: %s", path, reason)

    def write(self, others: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write the table of the bad videos.

        Args:
            others: States of the reports of other processes; what they met is added. What was bad before
                loading began, every process has found, and it counts once.
        """
        if self.table is None:
            return
        bad = BadItems(dict(self.bad.reasons), Counter(self.bad.times))
        for state in others:
            for path, (reason, times) in state["bad"].items():
                bad.reasons.setdefault(path, reason)
                bad.times[path] += int(times) - self._found[path]
        bad.write(self.table)

    def state_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        bad = {path: (reason, self.bad.times[path]) for path, reason in self.bad.reasons.items()}
        return {**{name: getattr(self, name) for name in _COUNTS}, "bad": bad}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to kept counts; bad videos that are not among those kept stay."""
        for name in _COUNTS:
            setattr(self, name, int(state[name]))
        for path, (reason, times) in state["bad"].items():
            self.bad.reasons[path] = reason
            self.bad.times[path] = int(times)

    def summary(self) -> str:
        """One line for the end of a run."""
        parts = [f"drew {self.num_clips} clips in {self.num_items} visits to videos"]
        if self.num_padded_clips:
            parts.append(f"{self.num_padded_clips} clips padded at the end of their video")
        if self.bad:
            parts.append(f"{len(self.bad)} bad videos left out or replaced ({self.bad.summary()})")
        return "; ".join(parts)


def clip_loader(
    dataset: ClipDataset[ItemT, BatchT],
    order: BatchOrder,
    *,
    epoch: int,
    start_batch: int = 0,
    num_workers: int = 0,
    pin_memory: bool = False,
    report: LoadingReport | None = None,
) -> Iterator[BatchT]:
    """The batches of one epoch.

    A loader with workers that is left early closes what the source of its dataset has started: load from one
    of them at a time.

    Args:
        dataset: What to draw from.
        order: Which videos come when; the clips are `clips_per_video` times as many.
        epoch: Which epoch; each has its own order and draws.
        start_batch: Skip the batches before this one, without decoding them.
        num_workers: Threads that load ahead; they change the speed only. With 0, batches are loaded when
            asked for.
        pin_memory: Put the clips into page-locked memory, which a GPU reads faster and while it computes;
            without effect where there is no CUDA device.
        report: Counts what was replaced and padded.

    Yields:
        Batches with clips of (B, 3, T, H, W) uint8, colours last in memory, B = batch_size * clips_per_video,
        the clips of a video side by side; of several processes each has its share of the batch.

    Raises:
        ValueError: At once, if the order is not one of this corpus, there is no such batch, or `num_workers`
            is negative.
        TooManyBadItemsError: If more of the items met a bad video than `report` allows, 5 % without one.
        NoUsableVideoError: If an item finds no video that can be decoded.
    """
    if order.num_items != len(dataset):
        raise ValueError(f"the order is one of {order.num_items} videos, the dataset has {len(dataset)}")
    if num_workers < 0:
        raise ValueError(f"num_workers must not be negative, got {num_workers}")
    batches = (
        [(order.seed, epoch, index) for index in indexes] for indexes in order.batches(epoch, start_batch)
    )
    pinned = pin_memory and torch.cuda.is_available()
    loads = (_BatchLoad(dataset, keys, pinned=pinned) for keys in batches)
    # Of the corpus, not of what is left of the epoch: one bad video in its last batches must not stop a run
    # that was resumed there, nor one in a small archive whose last, incomplete batch is left out.
    num_expected = len(rank_share(order.num_items, rank=order.rank, world_size=order.world_size))
    judged = _Judged(report or LoadingReport(), num_expected)
    if num_workers == 0:
        return (judged.batch(load, (load.draw(place) for place in load.places)) for load in loads)
    return _load_ahead(dataset, loads, judged, num_workers=num_workers)


class _BatchLoad(Generic[ItemT, BatchT]):
    """One batch that is being loaded, with the memory of all its clips, (B, T, H, W, 3) uint8."""

    def __init__(self, dataset: ClipDataset[ItemT, BatchT], keys: Sequence[ItemKey], *, pinned: bool) -> None:
        self.places = range(len(keys))
        self.is_wanted = True
        self._dataset = dataset
        self._keys = keys
        self._pinned = pinned
        num_clips, *rest = dataset.frames_shape
        self._frames = torch.empty((len(keys) * num_clips, *rest), dtype=torch.uint8, pin_memory=pinned)

    def draw(self, place: int) -> ItemT:
        """Load the item at a place of the batch, into its part of the batch's memory."""
        num_clips = self._dataset.frames_shape[0]
        frames: Frames = self._frames[place * num_clips : (place + 1) * num_clips].numpy()
        return self._dataset.draw(self._keys[place], frames=frames, is_wanted=lambda: self.is_wanted)

    def collate(self, items: Sequence[ItemT]) -> BatchT:
        """The batch of these items, whose frames are in place already."""
        batch = self._dataset.collate(self._frames.permute(0, 4, 1, 2, 3), items)
        return _pinned(batch) if self._pinned else batch


def _pinned(batch: BatchT) -> BatchT:
    """The same batch with all its tensors in page-locked memory; those that are there already stay."""
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
    return dataclasses.replace(batch, **{name: tensor.pin_memory() for name, tensor in tensors.items()})


class _Judged:
    """Counts the items of an epoch in their order, and stops it when too many met a bad video."""

    def __init__(self, report: LoadingReport, num_expected: int) -> None:
        self._report = report
        self._num_expected = num_expected
        self._num_items = 0
        self._bad = BadItems()

    def batch(self, load: _BatchLoad[ItemT, BatchT], items: Iterator[ItemT]) -> BatchT:
        """Count the items of a batch and put it together."""
        loaded: list[ItemT] = []
        try:
            for item in items:
                self._report.add(item)
                self._count(item.replaced)
                loaded.append(item)
        except NoUsableVideoError as error:
            self._count(error.replaced)
            raise
        share = self._report.max_bad_share
        self._bad.check_share(self._num_items, num_expected=self._num_expected, max_share=share)
        return load.collate(loaded)

    def _count(self, replaced: Sequence[tuple[str, str]]) -> None:
        self._num_items += 1
        for path, reason in replaced:
            self._report.add_replaced(path, reason)
        # Only the video whose turn it was: were the bad ones counted that stood in for it, an archive would
        # have a larger share of them than it has.
        for path, reason in replaced[:1]:
            self._bad.add(path, reason)


def _load_ahead(
    dataset: ClipDataset[ItemT, BatchT],
    loads: Iterator[_BatchLoad[ItemT, BatchT]],
    judged: _Judged,
    *,
    num_workers: int,
) -> Iterator[BatchT]:
    """Batches in their order, each with the items of those behind it under way."""
    under_way: deque[tuple[_BatchLoad[ItemT, BatchT], list[Future[ItemT]]]] = deque()
    pool = _single_threaded_pool(num_workers)
    try:
        for load in loads:
            under_way.append((load, [pool.submit(load.draw, place) for place in load.places]))
            if len(under_way) > BATCHES_AHEAD:
                yield judged.batch(under_way[0][0], (future.result() for future in under_way[0][1]))
                under_way.popleft()
        while under_way:
            yield judged.batch(under_way[0][0], (future.result() for future in under_way[0][1]))
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
