"""The alias sampler: its tables are exact, its draws follow them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narravid.losses import AliasSampler


def shares(sampler):
    """What the tables give each index: the column it keeps and what other columns hand to it."""
    size = len(sampler.probabilities)
    given_away = torch.zeros(size, dtype=torch.float64).index_add(0, sampler._alias, 1 - sampler._keep)
    return (sampler._keep + given_away) / size


@given(weights=st.lists(st.floats(0, 1e6) | st.sampled_from([0.0, 1e-300]), min_size=1, max_size=40))
def test_the_tables_hold_the_probabilities(weights):
    weights = torch.tensor(weights, dtype=torch.float64)
    if not weights.sum() > 0:
        weights[-1] = 1.0
    sampler = AliasSampler(weights)
    torch.testing.assert_close(shares(sampler), weights / weights.sum(), rtol=1e-9, atol=1e-12)
    assert (shares(sampler)[weights == 0] == 0).all()


def test_draws_follow_the_weights(generator):
    weights = torch.tensor([1.0, 0.0, 3.0, 6.0])
    drawn = AliasSampler(weights).draw((200, 500), generator=generator)
    assert drawn.shape == (200, 500)
    assert drawn.dtype == torch.int64
    counted = drawn.flatten().bincount(minlength=4) / 100_000
    # Four standard deviations of a share near one half among 100,000 draws.
    torch.testing.assert_close(counted, weights / 10, rtol=0, atol=0.0064)
    assert counted[1] == 0


def test_the_same_seed_draws_the_same():
    sampler = AliasSampler(torch.tensor([0.2, 0.5, 0.3]))
    first, second = (sampler.draw((50,), generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "weights",
    [
        torch.zeros(0),
        torch.ones(2, 2),
        torch.ones(3, dtype=torch.int64),
        torch.zeros(3),
        torch.tensor([1.0, -0.5]),
        torch.tensor([1.0, math.nan]),
        torch.tensor([1.0, math.inf]),
    ],
)
def test_what_is_no_distribution_is_refused(weights):
    with pytest.raises(ValueError, match="^weights must be"):
        AliasSampler(weights)
