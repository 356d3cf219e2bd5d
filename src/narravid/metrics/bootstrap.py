"""Intervals and paired tests by the bootstrap: what a number would be on other samples of the same size.

Whole units (clips, videos) are drawn with replacement, within their group where a number is an average over
groups (Efron & Tibshirani 1993, "An introduction to the bootstrap", chapters 8, 13 and 16).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from narravid.metrics.outcomes import Outcomes, Statistic, statistic, statistics_of_counts

__all__ = [
    "Outcomes",
    "PairedDifference",
    "Statistic",
    "bootstrap_interval",
    "paired_bootstrap",
    "statistic",
]

NUM_RESAMPLES = 2000
CONFIDENCE = 0.95
COUNTS_AT_ONCE = 1_000_000
"""Counts that are held at once: few enough for the processor's caches and for any memory."""

CountArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Unit = tuple[str, str]


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How far a second result is from a first on the units that both have.

    Attributes:
        difference: Second minus first, on these units.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p_value: Two-sided, in (0, 1]: how often resamples contradict the sign of the difference.
        num_units: Units that both have.
    """

    difference: float
    low: float
    high: float
    p_value: float
    num_units: int


def bootstrap_interval(
    outcomes: Outcomes,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> tuple[float, float]:
    """The percentile interval of a number.

    The order of the items does not matter. Where all outcomes are equal, such as no miss at all, no resample
    differs and the interval is one point: few items then say less than it seems.

    Args:
        outcomes: What the number is made of.
        num_resamples: How many resamples are drawn.
        seed: Of the draws.
        confidence: Share of the resamples between the two ends, in (0, 1).

    Returns:
        Lower and upper end; NaN if no resample has a value.

    Raises:
        ValueError: If a number is out of range.

    >>> hits = np.repeat([1.0, 0.0], [30, 70])
    >>> low, high = bootstrap_interval(Outcomes("mean", hits, tuple(map(str, range(100)))))
    >>> abs(low - 0.21) < 0.015 and abs(high - 0.39) < 0.015
    True
    """
    _check(num_resamples, confidence)
    units = _units(outcomes)
    values = np.concatenate(
        [
            statistics_of_counts(outcomes, counts)
            for (counts,) in _resamples([units], sorted(set(units)), num_resamples=num_resamples, seed=seed)
        ]
    )
    return _ends(values, confidence)


def paired_bootstrap(
    first: Outcomes, second: Outcomes, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> PairedDifference:
    """Whether two results on the same units differ: each resample draws the same units for both.

    Args:
        first: What the first number is made of.
        second: What the second number is made of; the same statistic.
        num_resamples: How many resamples are drawn.
        seed: Of the draws.

    Returns:
        The difference with its 95 % interval and the share of resamples that contradict its sign, doubled.

    Raises:
        ValueError: If the two have no unit in common, or are not the same kind of number.

    >>> units = tuple(map(str, range(50)))
    >>> worse = Outcomes("mean", np.repeat([1.0, 0.0], [10, 40]), units)
    >>> better = Outcomes("mean", np.repeat([1.0, 0.0], [25, 25]), units)
    >>> found = paired_bootstrap(worse, better)
    >>> round(found.difference, 6), found.p_value < 0.01, found.num_units
    (0.3, True, 50)
    """
    _check(num_resamples, CONFIDENCE)
    if first.statistic != second.statistic or (first.groups is None) != (second.groups is None):
        raise ValueError("both numbers must be of one kind: the same statistic, both with groups or without")
    common = sorted(set(_units(first)) & set(_units(second)))
    if not common:
        raise ValueError("the two results have no unit in common")
    first, second = _only(first, set(common)), _only(second, set(common))
    draws = _resamples([_units(first), _units(second)], common, num_resamples=num_resamples, seed=seed)
    differences = np.concatenate(
        [
            statistics_of_counts(second, counts_second) - statistics_of_counts(first, counts_first)
            for counts_first, counts_second in draws
        ]
    )
    low, high = _ends(differences, CONFIDENCE)
    return PairedDifference(
        statistic(second) - statistic(first),
        low,
        high,
        _p_value(differences),
        len({unit for _, unit in common}),
    )


def _check(num_resamples: int, confidence: float) -> None:
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")


def _units(outcomes: Outcomes) -> list[Unit]:
    """The unit of each item, with its group."""
    groups = outcomes.groups or ("",) * len(outcomes.units)
    return list(zip(groups, outcomes.units, strict=True))


def _only(outcomes: Outcomes, units: set[Unit]) -> Outcomes:
    """The items of some units."""
    own = np.array([unit in units for unit in _units(outcomes)])
    names = [name for name, is_own in zip(outcomes.units, own, strict=True) if is_own]
    groups = outcomes.groups and [group for group, is_own in zip(outcomes.groups, own, strict=True) if is_own]
    return replace(
        outcomes,
        values=outcomes.values[own],
        units=tuple(names),
        weights=None if outcomes.weights is None else outcomes.weights[own],
        labels=None if outcomes.labels is None else outcomes.labels[own],
        groups=None if groups is None else tuple(groups),
    )


def _resamples(
    units_of_items: list[list[Unit]], units: list[Unit], *, num_resamples: int, seed: int
) -> Iterator[tuple[CountArray, ...]]:
    """How often each item counts in each resample, for one or two results, some resamples at a time.

    Args:
        units_of_items: The unit of each item, for each result.
        units: All units, by group.
        num_resamples: R.
        seed: Of the draws.

    Yields:
        (r, N) int64 for each result, r resamples; in all R.
    """
    generator = np.random.default_rng(seed)
    place_of = {unit: place for place, unit in enumerate(units)}
    places = [np.array([place_of[unit] for unit in own], dtype=np.intp) for own in units_of_items]
    groups = [group for group, _ in units]
    bounds = [place for place in range(len(units)) if place == 0 or groups[place] != groups[place - 1]]
    sizes = np.diff([*bounds, len(units)])
    at_once = max(1, COUNTS_AT_ONCE // max(len(units), *map(len, units_of_items)))
    for done in range(0, num_resamples, at_once):
        num_now = min(at_once, num_resamples - done)
        counts = np.concatenate([_draw(int(size), num_now, generator) for size in sizes], axis=1)
        yield tuple(counts[:, own] for own in places)


def _draw(num_units: int, num_resamples: int, generator: np.random.Generator) -> CountArray:
    """(R, U) how often each of U units comes among U draws with replacement."""
    drawn = generator.integers(num_units, size=(num_resamples, num_units))
    drawn += np.arange(num_resamples)[:, None] * num_units
    return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(num_resamples, num_units)


def _ends(values: FloatArray, confidence: float) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _p_value(differences: FloatArray) -> float:
    """Twice the smaller share of resamples on either side of zero, the one at hand counted among them."""
    known = differences[~np.isnan(differences)]
    if not len(known):
        return 1.0
    smaller = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * (smaller + 1) / (len(known) + 1))
