"""Steps placed at random: closed form against all placements and against what ties give."""

from __future__ import annotations

import doctest

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narravid.metrics import place_steps, placement_chance
from narravid.metrics.placement_chance import random_placements


def test_doctests_hold():
    results = doctest.testmod(placement_chance)
    assert results.attempted >= 1
    assert results.failed == 0


@given(num_steps=st.integers(1, 6), more_seconds=st.integers(0, 12))
def test_it_is_what_scores_that_are_all_alike_give(num_steps, more_seconds):
    shares = random_placements(num_steps + more_seconds, num_steps)
    assert shares.dtype == torch.float64
    torch.testing.assert_close(shares, place_steps(torch.zeros(num_steps + more_seconds, num_steps)))


def test_a_long_video_is_no_trouble():
    shares = random_placements(3000, 11)
    torch.testing.assert_close(shares.sum(dim=0), torch.ones(11).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(shares, shares.flip(0, 1))


@pytest.mark.parametrize(("num_seconds", "num_steps"), [(3, 4), (3, 0)])
def test_numbers_out_of_range_are_refused(num_seconds, num_steps):
    with pytest.raises(ValueError, match="num_steps must be from 1 to num_seconds"):
        random_placements(num_seconds, num_steps)
