"""Rank correlation of rewards and returns: against hand and scipy, intervals, ties, what has no order."""

from __future__ import annotations

import runpy
import sys

import numpy as np
import pytest
from scipy import stats

from narravid.evaluation import reward_diagnostics
from narravid.evaluation.reward_diagnostics import diagnose, rank_correlation


def test_a_correlation_by_hand():
    # Ranks 1 2 3 4 5 against 2 1 4 3 5: 1 - 6 · (1 + 1 + 1 + 1) / (5 · 24) = 0.8
    found = rank_correlation([0.1, 0.2, 0.3, 0.4, 0.5], [20, 10, 40, 30, 50])
    assert found.correlation == pytest.approx(0.8)
    assert found.num_episodes == 5
    assert found.remark == "an interval needs at least 10 episodes"
    # Ranks 1.5 1.5 3 against 1 2 3: covariance 1.5, spreads 1.5 and 2, so that it is sqrt(3) / 2.
    tied = rank_correlation([7, 7, 9], [1, 2, 3])
    assert tied.correlation == pytest.approx(np.sqrt(3) / 2)
    assert "2 share their reward with another" in tied.remark


@pytest.mark.parametrize("levels", [3, 10_000])
def test_correlations_and_resamples_are_those_of_scipy(levels):
    rng = np.random.default_rng(levels)
    returns = rng.integers(levels, size=30)
    rewards = np.round(returns + rng.normal(0, levels / 3, 30))
    found = rank_correlation(rewards, returns, num_resamples=200, seed=5, confidence=0.8)
    assert found.correlation == pytest.approx(stats.spearmanr(rewards, returns).statistic)
    drawn = np.random.default_rng(5).integers(30, size=(200, 30))
    resampled = [stats.spearmanr(rewards[own], returns[own]).statistic for own in drawn]
    assert (found.low, found.high) == pytest.approx(np.quantile(resampled, [0.1, 0.9]))


def test_an_interval_narrows_with_episodes_and_is_repeatable(monkeypatch):
    rng = np.random.default_rng(0)
    returns = rng.normal(size=200)
    rewards = returns + rng.normal(size=200)
    few = rank_correlation(rewards[:20], returns[:20])
    many = rank_correlation(rewards, returns)
    assert few.low < few.correlation < few.high
    assert many.high - many.low < 0.5 * (few.high - few.low)
    assert rank_correlation(rewards, returns) == many
    assert rank_correlation(rewards, returns, seed=1).low != many.low
    monkeypatch.setattr("narravid.evaluation.reward_diagnostics.NUMBERS_AT_ONCE", 4000)
    assert rank_correlation(rewards, returns) == many


@pytest.mark.parametrize(
    ("rewards", "returns", "reason"),
    [
        ([1, 1, 1, 1], [1, 2, 3, 4], "all rewards are equal, so that they have no order"),
        ([1, 2, 3, 4], [5, 5, 5, 5], "all true returns are equal, so that they have no order"),
        ([0, 0, 0], [5, 5, 5], "all rewards and all true returns are equal"),
        ([1, 2], [1, 2], "it needs at least 3 episodes"),
        ([], [], "it needs at least 3 episodes"),
    ],
)
def test_where_there_is_no_order_the_reason_is_given(rewards, returns, reason):
    found = rank_correlation(rewards, returns)
    assert (found.correlation, found.low, found.high) == (None, None, None)
    assert reason in found.remark
    assert f"no rank correlation over {len(rewards)} episodes ({found.remark})" == str(found)


def test_nearly_equal_values_give_a_number_without_an_interval():
    # A resample has an order only if it has one of the first two and another, twice in different places.
    returns = [0.0] * 30
    returns[0] = 1.0
    found = rank_correlation([float(number) for number in range(30)], returns)
    assert found.correlation is not None
    share = 1 - (29 / 30) ** 30
    assert (found.low is None) == (share < 0.5)
    lonely = rank_correlation([1.0, *[0.0] * 29], [1.0, *[0.0] * 28, 2.0], num_resamples=100, seed=3)
    assert lonely.correlation is not None
    assert "29 share their reward with another" in lonely.remark


def test_results_can_be_read():
    up = list(range(10))
    line = str(rank_correlation(up, up[::-1]))
    assert line == "rank correlation -1.00 [-1.00, -1.00] over 10 episodes"


def test_few_episodes_give_no_interval():
    # All resamples of three in order are in order or have none: an interval would be certain of everything.
    for num_episodes, has_interval in ((3, False), (9, False), (10, True)):
        found = rank_correlation(range(num_episodes), range(num_episodes))
        assert found.correlation == 1
        assert (found.low is not None, found.high is not None) == (has_interval, has_interval)
        assert ("an interval needs at least 10 episodes" in found.remark) != has_interval


def test_rewards_that_differ_by_rounding_have_no_order():
    flat = rank_correlation([0.5, 0.5 + 1e-9, 0.5 - 1e-9, 0.5 + 2e-9], [1, 2, 3, 4])
    assert flat.correlation is None
    assert "all rewards are equal" in flat.remark
    # Ranks 1.5 1.5 3 against 1 2 3, as by hand above; true returns are taken as they are.
    tied = rank_correlation([0.5 + 1e-9, 0.5, 0.75], [1e-9, 2e-9, 3e-9])
    assert tied.correlation == pytest.approx(np.sqrt(3) / 2)
    assert "2 share their reward with another" in tied.remark


def test_scipy_is_not_imported_before_it_is_needed(monkeypatch):
    for name in ("scipy", "scipy.stats"):
        monkeypatch.setitem(sys.modules, name, None)
    found = runpy.run_path(reward_diagnostics.__file__)["rank_correlation"]
    assert found([1, 2], [1, 2]).correlation is None
    with pytest.raises(ImportError, match="scipy"):
        found([1, 2, 3], [1, 2, 3])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1, 2, 3], [1, 2]), {}, "3 rewards need as many true returns, got 2"),
        (([1, float("nan"), 3], [1, 2, 3]), {}, r"rewards\[1\] must be finite, got nan"),
        (([1, 2, 3], [1, 2, float("inf")]), {}, r"true_returns\[2\] must be finite, got inf"),
        (([[1, 2, 3]], [1, 2, 3]), {}, r"one number for each episode, got the shape \(1, 3\)"),
        (([1, 2, 3], [1, 2, 3]), {"num_resamples": 0}, "num_resamples must be at least 1"),
        (([1, 2, 3], [1, 2, 3]), {"confidence": 1.0}, "confidence between 0 and 1"),
    ],
)
def test_wrong_numbers_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        rank_correlation(*arguments, **options)


def test_diagnostics_keep_what_they_judge():
    found = diagnose("opens the drawer", [0.1, 0.3, 0.2], [1, 5, 2], seed=4)
    assert found.name == "opens the drawer"
    np.testing.assert_array_equal(found.rewards, [0.1, 0.3, 0.2])
    np.testing.assert_array_equal(found.true_returns, [1, 5, 2])
    assert found.correlation == rank_correlation([0.1, 0.3, 0.2], [1, 5, 2], seed=4)
