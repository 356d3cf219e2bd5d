"""Bootstrap against a loop that draws items one by one, its properties, how often intervals are right."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.metrics import bootstrap, roc_auc
from narravid.metrics.bootstrap import Outcomes, bootstrap_interval, paired_bootstrap, statistic
from narravid.metrics.outcomes import statistics_of_counts

UNITS = ("a", "b", "b", "c", "d", "d", "d", "e")
VALUES = np.array([3.0, 1.0, 1.0, 7.0, 2.0, 9.0, 4.0, 5.0])


def every_kind() -> dict[str, Outcomes]:
    return {
        "mean": Outcomes("mean", VALUES, UNITS),
        "ratio": Outcomes("mean", VALUES, UNITS, weights=np.array([1.0, 2, 0, 3, 1, 1, 2, 5])),
        "groups": Outcomes("mean", VALUES, UNITS, groups=tuple("yyxxxxyy")),
        "median": Outcomes("median", VALUES, UNITS),
        "area": Outcomes("roc_auc", VALUES, UNITS, labels=np.array([1, 0, 1, 1, 0, 0, 1, 0], bool)),
    }


def naive(outcomes: Outcomes, items: list[int]) -> float:
    """The number of a list of items, of which some may come twice, without any counting."""
    values = [outcomes.values[item] for item in items]
    if outcomes.statistic == "median":
        return float(np.median(values))
    if outcomes.statistic == "roc_auc":
        pairs = [
            1.0
            if outcomes.values[one] > outcomes.values[two]
            else 0.5 * (outcomes.values[one] == outcomes.values[two])
            for one, two in product(items, items)
            if outcomes.labels[one] and not outcomes.labels[two]
        ]
        return sum(pairs) / len(pairs) if pairs else math.nan
    shares = []
    groups = outcomes.groups or ("",) * len(outcomes.units)
    for group in sorted(set(groups)):
        own = [item for item in items if groups[item] == group]
        below = sum(1.0 if outcomes.weights is None else outcomes.weights[item] for item in own)
        if below:
            shares.append(sum(outcomes.values[item] for item in own) / below)
    return sum(shares) / len(shares) if shares else math.nan


def naive_interval(outcomes: Outcomes, num_resamples: int, seed: int) -> list[float]:
    """Draws units one group after another, collects their items, and takes quantiles."""
    generator = np.random.default_rng(seed)
    groups = outcomes.groups or ("",) * len(outcomes.units)
    pairs = list(zip(groups, outcomes.units, strict=True))
    resamples: list[list[int]] = [[] for _ in range(num_resamples)]
    for group in sorted(set(groups)):
        units = sorted({unit for own, unit in pairs if own == group})
        drawn = generator.integers(len(units), size=(num_resamples, len(units)))
        for resample, places in zip(resamples, drawn, strict=True):
            for place in places:
                resample += [item for item, pair in enumerate(pairs) if pair == (group, units[place])]
    values = [naive(outcomes, items) for items in resamples]
    return np.nanquantile(values, [0.025, 0.975]).tolist()


@pytest.mark.parametrize("kind", every_kind())
def test_numbers_and_intervals_are_those_of_a_plain_loop(kind):
    outcomes = every_kind()[kind]
    assert statistic(outcomes) == pytest.approx(naive(outcomes, list(range(len(UNITS)))))
    found = bootstrap_interval(outcomes, num_resamples=200, seed=3)
    assert found == pytest.approx(tuple(naive_interval(outcomes, 200, 3)))


def test_numbers_by_hand():
    kinds = every_kind()
    assert statistic(kinds["mean"]) == 4.0
    assert statistic(kinds["ratio"]) == pytest.approx(32 / 15)
    assert statistic(kinds["groups"]) == pytest.approx((13 / 4 + 19 / 4) / 2)
    assert statistic(kinds["median"]) == 3.5
    area = kinds["area"]
    assert statistic(area) == pytest.approx(roc_auc(area.values, area.labels).value)


@given(
    values=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    counts=st.lists(st.integers(0, 3), min_size=12, max_size=12),
    labels=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_counting_an_item_twice_is_having_it_twice(values, counts, labels):
    values = np.array(values, dtype=float)
    counts = np.array(counts[: len(values)])
    units = tuple(map(str, range(len(values))))
    again = np.repeat(np.arange(len(values)), counts)
    if not len(again):
        return
    for name in ("mean", "median", "roc_auc"):
        own = np.array(labels[: len(values)]) if name == "roc_auc" else None
        outcomes = Outcomes(name, values, units, labels=own)
        [found] = statistics_of_counts(outcomes, counts[None])
        assert found == pytest.approx(naive(outcomes, again.tolist()), nan_ok=True)


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=30), st.integers(0, 9))
def test_the_order_of_items_and_a_shift_change_nothing_else(values, seed):
    values = np.array(values, dtype=float)
    units = tuple(f"{number % 7}" for number in range(len(values)))
    order = np.random.default_rng(seed).permutation(len(values))
    for name in ("mean", "median"):
        there = Outcomes(name, values, units)
        shuffled = Outcomes(name, values[order], tuple(units[place] for place in order))
        low, high = bootstrap_interval(there, num_resamples=50, seed=seed)
        assert low <= high
        assert bootstrap_interval(shuffled, num_resamples=50, seed=seed) == pytest.approx((low, high))
        moved = Outcomes(name, values + 3, units)
        assert bootstrap_interval(moved, num_resamples=50, seed=seed) == pytest.approx((low + 3, high + 3))
        assert values.min() - 1e-9 <= low
        assert high <= values.max() + 1e-9


def test_items_of_one_unit_are_drawn_together():
    # Ten copies of each of 20 items say no more than the 20.
    values = np.random.default_rng(0).random(20)
    names = tuple(f"{number:02}" for number in range(20))
    once = bootstrap_interval(Outcomes("mean", values, names))
    copies = Outcomes("mean", np.repeat(values, 10), tuple(np.repeat(names, 10)))
    assert bootstrap_interval(copies) == pytest.approx(once)
    apart = bootstrap_interval(Outcomes("mean", np.repeat(values, 10), tuple(map(str, range(200)))))
    assert (apart[1] - apart[0]) < 0.5 * (once[1] - once[0])


def test_many_items_of_few_units_are_counted_in_parts(monkeypatch):
    sizes = []

    def count(outcomes, counts):
        sizes.append(counts.size)
        return statistics_of_counts(outcomes, counts)

    outcomes = Outcomes("mean", np.arange(1000.0), tuple(f"unit {number % 3}" for number in range(1000)))
    expected = bootstrap_interval(outcomes, num_resamples=50)
    monkeypatch.setattr(bootstrap, "statistics_of_counts", count)
    monkeypatch.setattr(bootstrap, "COUNTS_AT_ONCE", 20_000)
    low, high = bootstrap_interval(outcomes, num_resamples=50)
    assert sizes == [20_000, 20_000, 10_000]
    assert low <= outcomes.values.mean() <= high
    assert (low, high) == pytest.approx(expected, rel=0.02)
    sizes.clear()
    paired_bootstrap(outcomes, Outcomes("mean", np.ones(3), ("unit 0", "unit 1", "unit 2")))
    assert max(sizes) == 20_000


def test_units_stay_in_their_group():
    # One group is all 0, one all 1: drawn within groups, their average is always a half.
    outcomes = Outcomes(
        "mean", np.repeat([0.0, 1.0], [3, 30]), tuple(map(str, range(33))), groups=("x",) * 3 + ("y",) * 30
    )
    assert bootstrap_interval(outcomes) == (0.5, 0.5)


def test_intervals_of_a_mean_hold_the_truth_as_often_as_they_say():
    generator = np.random.default_rng(11)
    names = tuple(map(str, range(80)))
    intervals = [
        bootstrap_interval(
            Outcomes("mean", generator.exponential(size=80), names), num_resamples=400, seed=seed
        )
        for seed in range(300)
    ]
    covered = np.mean([low <= 1.0 <= high for low, high in intervals])
    assert 0.90 <= covered <= 0.975  # 95 % nominal; skewed samples of 80 give about 93 %


def test_the_width_is_that_of_the_normal_approximation():
    values = (np.arange(1000) < 300).astype(float)
    low, high = bootstrap_interval(Outcomes("mean", values, tuple(map(str, range(1000)))))
    half = 1.96 * math.sqrt(0.3 * 0.7 / 1000)
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.003)
    wide = bootstrap_interval(Outcomes("mean", values, tuple(map(str, range(1000)))), confidence=0.99)
    assert wide[0] < low
    assert high < wide[1]


def test_an_area_of_equal_labels_is_not_a_number():
    outcomes = Outcomes("roc_auc", VALUES, UNITS, labels=np.ones(8, bool))
    assert math.isnan(statistic(outcomes))
    assert all(map(math.isnan, bootstrap_interval(outcomes, num_resamples=5)))


def test_results_that_differ_are_told_from_those_that_do_not():
    generator = np.random.default_rng(5)
    names = tuple(map(str, range(400)))
    first = (generator.random(400) < 0.4).astype(float)
    second = np.where(generator.random(400) < 0.15, 1.0, first)  # never worse
    found = paired_bootstrap(Outcomes("mean", first, names), Outcomes("mean", second, names))
    assert found.difference == pytest.approx(second.mean() - first.mean())
    assert 0 < found.low < found.difference < found.high
    assert found.p_value < 0.01
    back = paired_bootstrap(Outcomes("mean", second, names), Outcomes("mean", first, names))
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    same = paired_bootstrap(Outcomes("mean", first, names), Outcomes("mean", first, names))
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_pairs_make_an_interval_narrower_than_two_apart():
    generator = np.random.default_rng(6)
    hard = generator.random(500)  # how hard an item is, for both
    names = tuple(map(str, range(500)))
    first = Outcomes("mean", hard, names)
    second = Outcomes("mean", hard + 0.01 * generator.random(500), names)
    found = paired_bootstrap(first, second)
    alone = bootstrap_interval(first)
    assert found.high - found.low < 0.1 * (alone[1] - alone[0])
    assert found.p_value < 0.01


def test_the_test_is_wrong_about_as_often_as_it_says():
    generator = np.random.default_rng(7)
    names = tuple(map(str, range(60)))
    p_values = []
    for seed in range(200):
        first, second = generator.random((2, 60))
        found = paired_bootstrap(
            Outcomes("mean", first, names), Outcomes("mean", second, names), num_resamples=200, seed=seed
        )
        p_values.append(found.p_value)
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.11
    assert 0.35 <= np.mean(np.array(p_values) < 0.5) <= 0.65


def test_only_what_both_have_is_compared():
    first = Outcomes("mean", [1.0, 0.0, 1.0, 5.0], ("a", "b", "c", "x"))
    second = Outcomes("mean", [9.0, 2.0, 2.0, 2.0], ("y", "c", "b", "a"))
    found = paired_bootstrap(first, second, num_resamples=20)
    assert found.num_units == 3
    assert found.difference == pytest.approx(2 - 2 / 3)
    grouped = Outcomes("mean", [1.0, 0.0], ("a", "b"), groups=("x", "y"))
    other = Outcomes("mean", [1.0, 0.0], ("a", "b"), groups=("x", "x"))
    assert paired_bootstrap(grouped, other, num_resamples=5).num_units == 1


def test_a_unit_of_several_groups_is_one_unit():
    # Overlapping test sets of splits: drawn in each, counted once.
    both = Outcomes("mean", [0.0, 1.0, 1.0, 0.0], ("a", "b", "a", "c"), groups=("1", "1", "2", "2"))
    assert paired_bootstrap(both, both, num_resamples=5).num_units == 3


def test_a_unit_may_have_other_items_in_the_second_result():
    first = Outcomes("mean", [0.0, 0.0, 1.0], ("a", "a", "b"))
    second = Outcomes("mean", [1.0, 1.0], ("a", "b"))
    assert paired_bootstrap(first, second, num_resamples=5).difference == pytest.approx(1 - 1 / 3)


def test_mistakes_are_named():
    one = Outcomes("mean", [1.0], ("a",))
    with pytest.raises(ValueError, match="no unit in common"):
        paired_bootstrap(one, Outcomes("mean", [1.0], ("b",)))
    with pytest.raises(ValueError, match="of one kind"):
        paired_bootstrap(one, Outcomes("median", [1.0], ("a",)))
    with pytest.raises(ValueError, match="num_resamples"):
        bootstrap_interval(one, num_resamples=0)
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_interval(one, confidence=1.0)
    with pytest.raises(ValueError, match="2 values but 1 units"):
        Outcomes("mean", [1.0, 2.0], ("a",))
    with pytest.raises(ValueError, match="N of at least 1"):
        Outcomes("mean", [], ())
    with pytest.raises(ValueError, match="labels belong"):
        Outcomes("roc_auc", [1.0], ("a",))
    with pytest.raises(ValueError, match="belong to statistic='mean'"):
        Outcomes("median", [1.0], ("a",), groups=("x",))
    with pytest.raises(ValueError, match="finite"):
        Outcomes("mean", [math.nan], ("a",))
    with pytest.raises(ValueError, match="at least 0"):
        Outcomes("mean", [1.0], ("a",), weights=[-1.0])
    with pytest.raises(ValueError, match="some weight in every group"):
        Outcomes("mean", [1.0, 1.0], ("a", "b"), weights=[1.0, 0.0], groups=("x", "y"))
    with pytest.raises(ValueError, match="must be one of"):
        Outcomes("mode", [1.0], ("a",))
