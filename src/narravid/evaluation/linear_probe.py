"""Linear probe: how well one linear layer tells classes apart in the features of a network left as it is.

Miech et al. 2020, arXiv 1912.06430, section 4.2, and the released program: a linear support vector machine on
the features of single windows, as the network gives them, whose decision values are summed over the windows
of a video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from narravid.errors import NarravidError
from narravid.evaluation.probe_solvers import ProbeFit, check_size, find_hyperplanes

__all__ = ["LinearProbe", "fit_linear_probe", "summed_scores"]

FloatArray = npt.NDArray[np.floating]
DoubleArray = npt.NDArray[np.float64]

BLOCK_ROWS = 16_384
SAME_SHARE = 1e-6
"""A feature that varies by no more than this share of its mean is constant but for rounding."""

BELOW_ALL = 1.0
"""A class that was never seen in training scores so much less than the lowest of the others."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """One linear layer: a hyperplane for each class against all others.

    Attributes:
        weights: (C, F) float64, zero for a class without training windows.
        biases: (C,) float64.
        seen: (C,) bool, whether the class had training windows.
        mean: (F,) float64 that is subtracted from features first.
        scale: (F,) float64 by which they are divided then.
        has_converged: Whether the optimiser reached its tolerance for every class.
        num_iterations: Of the class that took most.
    """

    weights: DoubleArray
    biases: DoubleArray
    seen: npt.NDArray[np.bool_]
    mean: DoubleArray
    scale: DoubleArray
    has_converged: bool
    num_iterations: int

    def decision_values(self, features: FloatArray) -> DoubleArray:
        """Signed distances of windows from the hyperplanes, in margins.

        Args:
            features: (n, F) floating.

        Returns:
            (n, C) float64; a class that training never saw is below all others.
        """
        values = ((features - self.mean) / self.scale) @ self.weights.T + self.biases
        if not self.seen.all():
            lowest = values[:, self.seen].min(axis=1, keepdims=True)
            values = np.where(self.seen, values, lowest - BELOW_ALL)
        result: DoubleArray = values
        return result


PUBLISHED_FIT = ProbeFit()


def fit_linear_probe(
    features: FloatArray,
    labels: npt.NDArray[np.integer],
    *,
    num_classes: int,
    repeats: npt.NDArray[np.integer] | None = None,
    fit: ProbeFit = PUBLISHED_FIT,
) -> LinearProbe:
    """Fit a linear support vector machine, each class against all others.

    Squared hinge loss with an L2 penalty. The minimum is unique, and both solvers draw nothing: the same
    features give the same probe. The released program goes to the same minimum by coordinate descent in
    random order, and stops short of it after 1000 rounds on large data sets.

    Args:
        features: (n, F) floating, one row for each window.
        labels: (n,) class of each, in [0, C).
        num_classes: C.
        repeats: (n,) how often each window counts; None for once each. Videos too short for different windows
            have the same one several times.
        fit: How.

    Returns:
        The probe. Where it did not converge, `has_converged` says so.

    Raises:
        NarravidError: If fewer than two classes have windows, or the solver cannot take so many.
        ValueError: If shapes do not fit, or a number is out of range.
    """
    counts = _checked(features, labels, num_classes=num_classes, repeats=repeats)
    present = np.unique(labels)
    if len(present) < 2:
        raise NarravidError(
            f"a probe needs training videos of at least two classes, and {len(present)} could be read"
        )
    check_size(*features.shape, solver=fit.solver)
    mean, scale = _standardisation(features, counts) if fit.standardised else _as_they_are(features.shape[1])
    found = find_hyperplanes(features, labels, counts=counts, mean=mean, scale=scale, fit=fit)
    weights, biases = np.zeros((num_classes, features.shape[1])), np.zeros(num_classes)
    weights[present], biases[present] = found.weights, found.biases
    return LinearProbe(
        weights=weights,
        biases=biases,
        seen=np.isin(np.arange(num_classes), present),
        mean=mean,
        scale=scale,
        has_converged=found.has_converged,
        num_iterations=found.num_iterations,
    )


def summed_scores(
    probe: LinearProbe, windows: Sequence[FloatArray], *, repeats: Sequence[npt.NDArray[np.integer]]
) -> DoubleArray:
    """Scores of videos: the decision values of their windows, summed.

    Args:
        probe: The probe.
        windows: For each of V videos its (S, F) windows.
        repeats: For each video how often each of its windows counts, (S,).

    Returns:
        (V, C) float64.
    """
    scores = [
        counts @ probe.decision_values(features) for features, counts in zip(windows, repeats, strict=True)
    ]
    return np.stack(scores) if scores else np.zeros((0, len(probe.biases)))


def _checked(
    features: FloatArray,
    labels: npt.NDArray[np.integer],
    *,
    num_classes: int,
    repeats: npt.NDArray[np.integer] | None,
) -> DoubleArray:
    """How often each window counts; the arguments are looked at."""
    if features.ndim != 2 or labels.shape != (len(features),):
        raise ValueError(f"features must be (n, F) and labels (n,), got {features.shape} and {labels.shape}")
    if not all(np.isfinite(block).all() for block, _ in _blocks(features, labels)):
        raise ValueError("features must be finite")
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"labels must be in [0, {num_classes}), got {labels.min()} to {labels.max()}")
    counts = np.ones(len(features)) if repeats is None else repeats.astype(np.float64)
    if counts.shape != labels.shape or (len(counts) and counts.min() < 1):
        raise ValueError("repeats must be (n,) numbers of at least 1")
    return counts


def _blocks(features: FloatArray, values: npt.NDArray[Any]) -> Iterator[tuple[FloatArray, npt.NDArray[Any]]]:
    """Some rows after the others, so that what is computed of them takes little memory."""
    for start in range(0, len(features), BLOCK_ROWS):
        yield features[start : start + BLOCK_ROWS], values[start : start + BLOCK_ROWS]


def _standardisation(features: FloatArray, counts: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    total = counts.sum()
    mean: DoubleArray = sum(
        (weights @ block.astype(np.float64) for block, weights in _blocks(features, counts)),
        start=np.zeros(features.shape[1]),
    )
    mean = mean / total
    squares: DoubleArray = sum(
        (weights @ (block - mean) ** 2 for block, weights in _blocks(features, counts)),
        start=np.zeros(features.shape[1]),
    )
    deviation: DoubleArray = np.sqrt(squares / total)
    deviation[deviation <= SAME_SHARE * np.abs(mean)] = 1.0
    return mean, deviation


def _as_they_are(feature_dim: int) -> tuple[DoubleArray, DoubleArray]:
    return np.zeros(feature_dim), np.ones(feature_dim)
