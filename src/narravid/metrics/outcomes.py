"""What one number of an evaluation is made of, item by item, and how it follows from them.

The bootstrap needs nothing else: a resample is a count of how often each item was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

__all__ = ["Outcomes", "Statistic", "statistic", "statistics_of_counts"]

Statistic = Literal["mean", "median", "roc_auc"]
"""How a number follows from its items."""

FloatArray = npt.NDArray[np.float64]
CountArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What one number is made of, item by item.

    Attributes:
        statistic: How the number follows: the mean (a sum over a sum where there are weights), the median, or
            the area under the ROC curve.
        values: (N,) float64, of the mean numerators, of the median the values, of the area the scores.
        units: N names. Items of one unit, such as the sentences of a clip, are drawn together.
        weights: (N,) float64, of the mean the denominators, at least 0; None means 1 each. With weights the
            number is the sum of the values over the sum of the weights.
        labels: (N,) bool, of the area: which are positive; None elsewhere.
        groups: N names of parts of which the number is the plain average, such as splits or tasks; of the
            mean only. Units are drawn within their group. None for one whole.

    Raises:
        ValueError: If there is no item, lengths or kinds do not fit, a number is not finite, or a group has
            no weight.
    """

    statistic: Statistic
    values: FloatArray
    units: tuple[str, ...]
    weights: FloatArray | None = None
    labels: npt.NDArray[np.bool_] | None = None
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.statistic not in get_args(Statistic):
            raise ValueError(f"statistic must be one of {get_args(Statistic)}, got {self.statistic!r}")
        object.__setattr__(self, "values", np.asarray(self.values, dtype=np.float64))
        object.__setattr__(self, "units", tuple(self.units))
        if self.weights is not None:
            object.__setattr__(self, "weights", np.asarray(self.weights, dtype=np.float64))
        if self.labels is not None:
            object.__setattr__(self, "labels", np.asarray(self.labels, dtype=bool))
        if self.groups is not None:
            object.__setattr__(self, "groups", tuple(self.groups))
        self._check_kinds()
        self._check_numbers()

    def _check_kinds(self) -> None:
        if self.values.ndim != 1 or not len(self.values):
            raise ValueError(f"values must be (N,) with N of at least 1, got {self.values.shape}")
        if (self.labels is None) == (self.statistic == "roc_auc"):
            raise ValueError("labels belong to statistic='roc_auc', which needs them, and to no other")
        if self.statistic != "mean" and not (self.weights is None and self.groups is None):
            raise ValueError(f"weights and groups belong to statistic='mean', got {self.statistic!r}")
        for name in ("units", "weights", "labels", "groups"):
            part = getattr(self, name)
            if part is not None and len(part) != len(self.values):
                raise ValueError(f"there are {len(self.values)} values but {len(part)} {name}")

    def _check_numbers(self) -> None:
        if not np.isfinite(self.values).all():
            raise ValueError("values must be finite")
        if self.weights is None:
            return
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all()):
            raise ValueError("weights must be finite and at least 0")
        places, num_groups = group_places(self)
        if not (np.bincount(places, self.weights, num_groups) > 0).all():
            raise ValueError("there must be some weight in every group")


def statistic(outcomes: Outcomes) -> float:
    """The number itself.

    Args:
        outcomes: What it is made of.

    Returns:
        The number; NaN for an area where all labels are equal.

    >>> hits = Outcomes("mean", np.array([1.0, 0.0, 1.0, 1.0]), ("a", "b", "c", "d"))
    >>> statistic(hits)
    0.75
    >>> statistic(Outcomes("mean", hits.values, hits.units, groups=("x", "x", "y", "y")))
    0.75
    >>> statistic(Outcomes("mean", np.array([1.0, 3.0]), ("a", "b"), weights=np.array([2.0, 3.0])))
    0.8
    >>> statistic(Outcomes("median", np.array([1.0, 9.0, 2.0]), ("a", "b", "c")))
    2.0
    """
    return float(statistics_of_counts(outcomes, np.ones((1, len(outcomes.values)), dtype=np.int64))[0])


def statistics_of_counts(outcomes: Outcomes, counts: CountArray) -> FloatArray:
    """The number in several resamples at once.

    Args:
        outcomes: What it is made of.
        counts: (R, N) how often each item counts in each resample.

    Returns:
        (R,) float64; NaN where a resample has nothing to compute it from.
    """
    if outcomes.statistic == "mean":
        return _means(outcomes, counts)
    if outcomes.statistic == "median":
        return _medians(outcomes.values, counts)
    assert outcomes.labels is not None  # checked when it was made
    return _areas(outcomes.values, outcomes.labels, counts)


def group_places(outcomes: Outcomes) -> tuple[npt.NDArray[np.intp], int]:
    """(N,) number of each item's group, groups in the order of their names, and how many groups there are."""
    if outcomes.groups is None:
        return np.zeros(len(outcomes.values), dtype=np.intp), 1
    names, places = np.unique(np.array(outcomes.groups, dtype=object).astype(str), return_inverse=True)
    return places, len(names)


def _means(outcomes: Outcomes, counts: CountArray) -> FloatArray:
    places, num_groups = group_places(outcomes)
    weights = np.ones_like(outcomes.values) if outcomes.weights is None else outcomes.weights
    shares = np.full((num_groups, len(counts)), np.nan)
    for group in range(num_groups):
        own = slice(None) if num_groups == 1 else places == group
        drawn = counts[:, own].astype(np.float64)
        below = drawn @ weights[own]
        np.divide(drawn @ outcomes.values[own], below, out=shares[group], where=below > 0)
    has_value = ~np.isnan(shares)
    num_with_value = has_value.sum(axis=0)
    means: FloatArray = np.full(len(counts), np.nan)
    totals = np.where(has_value, shares, 0.0).sum(axis=0)
    np.divide(totals, num_with_value, out=means, where=num_with_value > 0)
    return means


def _medians(values: FloatArray, counts: CountArray) -> FloatArray:
    """The middle value, or the mean of the two in the middle."""
    distinct, places = np.unique(values, return_inverse=True)
    reached = np.cumsum(_sums_by_place(counts, places, len(distinct)), axis=1)
    num_drawn = reached[:, -1:]
    lower = (reached >= (num_drawn + 1) // 2).argmax(axis=1)
    upper = (reached >= num_drawn // 2 + 1).argmax(axis=1)
    medians: FloatArray = (distinct[lower] + distinct[upper]) / 2
    return medians


def _areas(scores: FloatArray, labels: npt.NDArray[np.bool_], counts: CountArray) -> FloatArray:
    """The share of (positive, negative) pairs in which the positive scores higher, ties counting half."""
    distinct, places = np.unique(scores, return_inverse=True)
    positive = _sums_by_place(counts * labels, places, len(distinct)).astype(np.float64)
    negative = _sums_by_place(counts * ~labels, places, len(distinct)).astype(np.float64)
    below = np.cumsum(negative, axis=1) - negative / 2
    num_pairs = positive.sum(axis=1) * negative.sum(axis=1)
    areas: FloatArray = np.full(len(counts), np.nan)
    np.divide((positive * below).sum(axis=1), num_pairs, out=areas, where=num_pairs > 0)
    return areas


def _sums_by_place(counts: CountArray, places: npt.NDArray[np.intp], num_places: int) -> CountArray:
    """(R, N) counts of items to (R, P) counts of the P distinct values that they have."""
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(num_places))
    sums: CountArray = np.add.reduceat(counts[:, order], starts, axis=1)
    return sums
