"""Which item comes when: pure arithmetic of seed, epoch and position, the same for any number of processes.

The order of an epoch is one permutation of all items, cut into global batches. Each process takes its stretch
of each of them, so that all processes together see what a single one would see, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BatchOrder", "rank_share"]


def rank_share(num_items: int, *, rank: int, world_size: int) -> range:
    """The stretch of a list that one of several processes takes.

    The stretches lie one behind the other by rank, none overlaps another, and together they are the whole
    list: for evaluation, where nothing may be dropped or doubled, as for the clips of a global batch. The
    first ones are longer by one where the list does not divide evenly.

    Args:
        num_items: Length of the list.
        rank: Number of the process, from 0.
        world_size: How many processes there are.

    Returns:
        The positions; empty for the last processes of a list that is shorter than there are processes.

    Raises:
        ValueError: If there is no such process, or `num_items` is negative.

    >>> [list(rank_share(5, rank=rank, world_size=3)) for rank in range(3)]
    [[0, 1], [2, 3], [4]]
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be in [0, {world_size}), got {rank}")
    if num_items < 0:
        raise ValueError(f"num_items must not be negative, got {num_items}")
    least, num_longer = divmod(num_items, world_size)
    start = rank * least + min(rank, num_longer)
    return range(start, start + least + (rank < num_longer))


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """The order in which a process visits the items of a data set, epoch after epoch.

    Attributes:
        num_items: Items in the data set.
        batch_size: Items in a global batch, those of all processes together.
        seed: Seed of the run.
        rank: Number of this process.
        world_size: Processes that share each batch.

    Raises:
        ValueError: If the items do not fill one batch, or a batch does not give each process an item.
    """

    num_items: int
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= self.num_items:
            raise ValueError(
                f"batch_size must be between 1 and the number of videos, {self.num_items},"
                f" got {self.batch_size}"
            )
        if not 0 <= self.rank < self.world_size <= self.batch_size:
            raise ValueError(
                f"rank must be below world_size, which a batch of {self.batch_size} must give an item each,"
                f" got rank {self.rank} of {self.world_size}"
            )

    @property
    def num_batches(self) -> int:
        """Batches in an epoch; the last, incomplete one is dropped: its items come in other epochs."""
        return self.num_items // self.batch_size

    def epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        """The global batches of an epoch.

        Args:
            epoch: Which one; each has its own order.

        Returns:
            (num_batches, batch_size) int64, every index at most once.
        """
        order = np.random.default_rng([self.seed, epoch]).permutation(self.num_items)
        return order[: self.num_batches * self.batch_size].reshape(self.num_batches, self.batch_size)

    def batches(self, epoch: int, start_batch: int = 0) -> Iterator[list[int]]:
        """What this process visits in each batch of an epoch.

        Args:
            epoch: Which one.
            start_batch: The first batch, to go on in the middle of an epoch.

        Yields:
            The indexes of this process's items of a batch, in their order.

        Raises:
            ValueError: At once, if there is no such batch.
        """
        if not 0 <= start_batch <= self.num_batches:
            raise ValueError(f"start_batch must be in [0, {self.num_batches}], got {start_batch}")
        share = rank_share(self.batch_size, rank=self.rank, world_size=self.world_size)
        mine = self.epoch(epoch)[start_batch:, share.start : share.stop]
        return (indexes.tolist() for indexes in mine)
