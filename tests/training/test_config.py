from __future__ import annotations

import math
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.training.config import Evaluation, TrainerConfig, TrainingData


def numbered(steps_per_epoch, given=None):
    def batches(epoch, start_batch):
        for index in range(start_batch, steps_per_epoch if given is None else given):
            yield (epoch, index)

    return TrainingData(batches, steps_per_epoch)


@given(steps_per_epoch=st.integers(1, 7), position=st.integers(0, 30), count=st.integers(0, 20))
def test_a_stream_from_any_position_is_the_rest_of_the_whole_stream(steps_per_epoch, position, count):
    data = numbered(steps_per_epoch)
    whole = list(islice(data.stream(0), position + count))
    assert list(islice(data.stream(position), count)) == whole[position:]
    assert whole == [divmod(number, steps_per_epoch) for number in range(position + count)]


def test_an_epoch_may_offer_more_batches_than_are_taken_but_not_fewer():
    assert list(islice(numbered(2, given=5).stream(0), 3)) == [(0, 0), (0, 1), (1, 0)]
    with pytest.raises(ValueError, match="epoch 0 gave 2 batches from batch 1 on, expected 4"):
        list(islice(numbered(5, given=3).stream(1), 4))


def test_counts_below_one_are_refused():
    with pytest.raises(ValueError, match="keep_checkpoints must be at least 1, got 0"):
        TrainerConfig(keep_checkpoints=0)
    with pytest.raises(ValueError, match="steps_per_epoch=0"):
        numbered(0)


@pytest.mark.parametrize(
    ("better", "value", "best", "expected"),
    [
        ("higher", 0.1, None, True),
        ("higher", math.nan, None, False),
        ("higher", math.nan, 0.1, False),
        ("higher", 0.2, 0.1, True),
        ("higher", 0.1, 0.1, False),
        ("lower", 0.1, 0.2, True),
        ("lower", 0.2, 0.1, False),
    ],
)
def test_what_counts_as_better(better, value, best, expected):
    assert Evaluation(dict, "R@1", better).is_improvement(value, best) is expected
