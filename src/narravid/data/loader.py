"""Batches of narrated clips in an order that depends on nothing but seed and epoch.

The loader is also where bad videos are counted, because only here all workers meet: few are replaced and
reported, many stop the run.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from narravid.data.narrated import ItemKey, NarratedDataset, NarratedItem
from narravid.errors import NarravidError
from narravid.types import NarratedBatch

__all__ = ["LoadingReport", "narrated_loader", "num_batches"]

MAX_BAD_SHARE = 0.05
"""Share of the items that bad videos may take before the run stops."""

MIN_ITEMS_TO_JUDGE = 1000
"""In long epochs the share is not judged on fewer items than this."""

_log = logging.getLogger(__name__)


@dataclass
class LoadingReport:
    """What became of the items: give one to `narrated_loader` in each epoch to count over a whole run.

    Attributes:
        num_items: Items loaded.
        num_clips: Clips loaded.
        num_padded_clips: Clips that passed the end of their video and were filled with black frames.
        reasons: How often each reason led to a replaced video.
        paths: The bad videos with the reason found last.
    """

    num_items: int = 0
    num_clips: int = 0
    num_padded_clips: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    paths: dict[str, str] = field(default_factory=dict)

    @property
    def num_replaced(self) -> int:
        """Draws of a bad video."""
        return self.reasons.total()

    def add(self, item: NarratedItem) -> None:
        """Count one item; a video found bad for the first time is logged as a warning."""
        self.num_items += 1
        self.num_clips += len(item.clips)
        self.num_padded_clips += item.num_padded_clips
        for path, reason in item.replaced:
            if path not in self.paths:
                _log.warning("replaced by another video: %s: %s", path, reason)
            self.paths[path] = reason
            self.reasons[reason] += 1

    def summary(self) -> str:
        """One line for the end of a run."""
        parts = [f"drew {self.num_clips} clips in {self.num_items} visits to videos"]
        if self.num_padded_clips:
            parts.append(f"{self.num_padded_clips} clips padded at the end of their video")
        if self.reasons:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in self.reasons.most_common())
            parts.append(f"{len(self.paths)} bad videos replaced ({reasons})")
        return "; ".join(parts)


def num_batches(dataset: NarratedDataset, batch_size: int) -> int:
    """Batches in one epoch; the last, incomplete one is dropped.

    Raises:
        ValueError: If the videos do not fill one batch.
    """
    if not 1 <= batch_size <= len(dataset):
        raise ValueError(
            f"batch_size must be between 1 and the number of videos, {len(dataset)}, got {batch_size}"
        )
    return len(dataset) // batch_size


def narrated_loader(
    dataset: NarratedDataset,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start_batch: int = 0,
    num_workers: int = 0,
    report: LoadingReport | None = None,
) -> Iterator[NarratedBatch]:
    """The batches of one epoch.

    Args:
        dataset: The corpus.
        batch_size: Videos per batch; the clips are `clips_per_video` times as many.
        seed: Seed of the run.
        epoch: Which epoch; each has its own order and draws.
        start_batch: Skip the batches before this one, without decoding them.
        num_workers: Processes that decode; they change the speed only. They start from a clean process, so a
            script needs the usual `if __name__ == "__main__"`.
        report: Counts what was replaced and padded.

    Yields:
        Batches with clips of (B, 3, T, H, W) uint8, colours last in memory, B = batch_size * clips_per_video,
        the clips of a video side by side.

    Raises:
        ValueError: If `batch_size` or `start_batch` does not fit the corpus.
        NarravidError: If more than 5 % of the items met a bad video.
    """
    total = num_batches(dataset, batch_size)
    if not 0 <= start_batch <= total:
        raise ValueError(f"start_batch must be in [0, {total}], got {start_batch}")
    order = np.random.default_rng([seed, epoch]).permutation(len(dataset))[: total * batch_size]
    keys = [(seed, epoch, index) for index in order.tolist()][start_batch * batch_size :]
    batches = [keys[first : first + batch_size] for first in range(0, len(keys), batch_size)]
    # of the whole epoch: one bad video in the last batches must not stop a resumed run that went on unresumed
    num_to_judge = min(len(order), MIN_ITEMS_TO_JUDGE)
    return _batches(dataset, batches, num_to_judge, num_workers, report or LoadingReport())


def _batches(
    dataset: NarratedDataset,
    batches: list[list[ItemKey]],
    num_to_judge: int,
    num_workers: int,
    report: LoadingReport,
) -> Iterator[NarratedBatch]:
    # A clean process holds no container, lock or thread of this one, as a forked one would.
    context = multiprocessing.get_context("forkserver") if num_workers else None
    loader: DataLoader[NarratedItem | NarravidError] = DataLoader(
        _ErrorsAsItems(dataset),
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=list,
        multiprocessing_context=context,
        generator=torch.Generator(),  # its own, so that loading leaves the global random state alone
    )
    num_before, num_replaced_before = report.num_items, report.num_replaced
    for loaded in loader:
        items = [_raise_if_error(item) for item in loaded]
        for item in items:
            report.add(item)
        _check_share(
            report.num_replaced - num_replaced_before,
            max(report.num_items - num_before, num_to_judge),
            report,
        )
        yield _collate(items)


class _ErrorsAsItems(Dataset[NarratedItem | NarravidError]):
    """Hands errors over as items: raised in a worker they would arrive as its printed traceback."""

    def __init__(self, dataset: NarratedDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, key: ItemKey) -> NarratedItem | NarravidError:
        try:
            return self._dataset[key]
        except NarravidError as error:
            return error


def _raise_if_error(item: NarratedItem | NarravidError) -> NarratedItem:
    if isinstance(item, NarravidError):
        raise item
    return item


def _check_share(num_replaced: int, num_items: int, report: LoadingReport) -> None:
    if num_replaced > MAX_BAD_SHARE * num_items:
        raise NarravidError(
            f"{num_replaced} bad videos met in {num_items} items, more than {MAX_BAD_SHARE:.0%}: "
            f"{report.summary()}; the last is {list(report.paths)[-1]}"
        )


def _collate(items: list[NarratedItem]) -> NarratedBatch:
    # NumPy copies on one thread; waking torch's threads for so little costs more than it saves
    parts = [item.clips.permute(0, 2, 3, 4, 1).numpy() for item in items]
    frames = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), np.uint8)
    np.concatenate(parts, out=frames)
    return NarratedBatch(
        clips=torch.from_numpy(frames).permute(0, 4, 1, 2, 3),
        tokens=torch.cat([item.tokens for item in items]),
        video_ids=tuple(item.video_id for item in items for _ in range(len(item.clips))),
        start_seconds=torch.cat([item.start_seconds for item in items]),
    )
