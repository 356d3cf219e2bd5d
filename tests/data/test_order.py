"""The order of the items: one for any number of processes, reachable from any position."""

from __future__ import annotations

from itertools import chain, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.data.order import BatchOrder, rank_share
from narravid.training.config import TrainingData

SEEDS = st.integers(0, 2**40)
EPOCHS = st.integers(0, 1000)


@st.composite
def sizes(draw) -> tuple[int, int, int]:
    """(num_items, batch_size, world_size) that go together; the last may or may not divide the second."""
    num_items = draw(st.integers(1, 200))
    batch_size = draw(st.integers(1, num_items))
    return num_items, batch_size, draw(st.integers(1, batch_size))


def orders(num_items: int, batch_size: int, *, seed: int, world_size: int) -> list[BatchOrder]:
    return [
        BatchOrder(num_items, batch_size, seed, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]


@given(sizes(), SEEDS, EPOCHS)
def test_the_processes_together_see_the_batches_of_a_single_one(size, seed, epoch):
    num_items, batch_size, world_size = size
    alone = list(BatchOrder(num_items, batch_size, seed).batches(epoch))
    several = orders(num_items, batch_size, seed=seed, world_size=world_size)
    together = zip(*(order.batches(epoch) for order in several), strict=True)
    assert [list(chain(*parts)) for parts in together] == alone


@given(sizes(), SEEDS, EPOCHS)
def test_an_epoch_visits_each_item_at_most_once_in_whole_batches(size, seed, epoch):
    num_items, batch_size, _ = size
    order = BatchOrder(num_items, batch_size, seed)
    batches = list(order.batches(epoch))
    assert len(batches) == order.num_batches == num_items // batch_size
    assert {len(batch) for batch in batches} == {batch_size}
    visited = list(chain(*batches))
    assert len(set(visited)) == len(visited) == num_items - num_items % batch_size
    assert set(visited) <= set(range(num_items))


@given(sizes(), SEEDS, st.data())
def test_every_position_of_a_run_leads_to_the_same_batches(size, seed, data):
    order = BatchOrder(size[0], size[1], seed)
    run = TrainingData(order.batches, order.num_batches)  # type: ignore[type-var]  # lists in place of tensors
    num_steps = 3 * order.num_batches
    position = data.draw(st.integers(0, num_steps))
    whole = list(islice(run.stream(0), num_steps))
    assert list(islice(run.stream(position), num_steps - position)) == whole[position:]


def test_epochs_and_seeds_have_orders_of_their_own():
    drawn = [
        tuple(BatchOrder(50, 50, seed).epoch(epoch)[0].tolist()) for seed in range(4) for epoch in range(20)
    ]
    assert len(set(drawn)) == 80
    assert all(sorted(order) == list(range(50)) for order in drawn)


def test_the_order_is_the_one_that_runs_were_begun_with():
    expected = np.random.default_rng([3, 7]).permutation(10)[:8].reshape(2, 4)
    np.testing.assert_array_equal(BatchOrder(10, 4, 3).epoch(7), expected)


def test_an_item_left_out_of_one_epoch_comes_in_another():
    order = BatchOrder(7, 3, 1)
    visited = {index for epoch in range(20) for batch in order.batches(epoch) for index in batch}
    assert visited == set(range(7))


@given(st.integers(0, 500), st.integers(1, 40))
def test_shares_cover_everything_once_in_order_and_evenly(num_items, world_size):
    shares = [rank_share(num_items, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert [item for share in shares for item in share] == list(range(num_items))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("rank", "world_size"), [(-1, 2), (2, 2), (0, 0)])
def test_a_process_that_is_none_is_refused(rank, world_size):
    with pytest.raises(ValueError, match="rank must be in"):
        rank_share(5, rank=rank, world_size=world_size)
    with pytest.raises(ValueError, match="rank must be below world_size"):
        BatchOrder(5, 5, 0, rank=rank, world_size=world_size)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="num_items must not be negative, got -1"):
        rank_share(-1, rank=0, world_size=1)
    with pytest.raises(ValueError, match="a batch of 3 must give an item each, got rank 0 of 4"):
        BatchOrder(5, 3, 0, rank=0, world_size=4)
    for batch_size in (0, 6):
        with pytest.raises(ValueError, match=f"between 1 and the number of videos, 5, got {batch_size}"):
            BatchOrder(5, batch_size, 0)
    for start_batch in (-1, 3):
        with pytest.raises(ValueError, match=r"start_batch must be in \[0, 2\]"):
            BatchOrder(5, 2, 0).batches(0, start_batch)
