"""Linear probe: how well one linear layer tells classes apart in the features of a network left as it is.

Miech et al. 2020, arXiv 1912.06430, section 4.2, and the released program: a linear support vector machine on
the features of single windows, as the network gives them, whose decision values are summed over the windows
of a video.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from narravid.errors import NarravidError

__all__ = ["LinearProbe", "fit_linear_probe", "summed_scores"]

FloatArray = npt.NDArray[np.floating]
DoubleArray = npt.NDArray[np.float64]

MAX_ITERATIONS = 3000
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


def fit_linear_probe(
    features: FloatArray,
    labels: npt.NDArray[np.integer],
    *,
    num_classes: int,
    repeats: npt.NDArray[np.integer] | None = None,
    cost: float = 100.0,
    standardised: bool = False,
    max_iterations: int = MAX_ITERATIONS,
) -> LinearProbe:
    """Fit a linear support vector machine, each class against all others.

    Squared hinge loss with an L2 penalty. The minimum is unique, and it is found by a Newton method on the
    primal problem, which draws nothing: the same features give the same probe. The released program goes to
    the same minimum by coordinate descent in random order, and stops short of it after 1000 rounds on large
    data sets.

    Args:
        features: (n, F) floating, one row for each window.
        labels: (n,) class of each, in [0, C).
        num_classes: C.
        repeats: (n,) how often each window counts; None for once each. Videos too short for different windows
            have the same one several times.
        cost: Weight of the hinge losses against the penalty, published 100.
        standardised: Whether features are brought to mean 0 and deviation 1 over the windows first; published
            is False.
        max_iterations: Newton steps for each class.

    Returns:
        The probe. Where it did not converge, `has_converged` says so.

    Raises:
        NarravidError: If fewer than two classes have windows.
        ValueError: If shapes do not fit, or a number is out of range.
    """
    counts = _checked(features, labels, num_classes=num_classes, repeats=repeats)
    if not cost > 0:
        raise ValueError(f"cost must be positive, got {cost}")
    present = np.unique(labels)
    if len(present) < 2:
        raise NarravidError(
            f"a probe needs training videos of at least two classes, and {len(present)} could be read"
        )
    mean, scale = _standardisation(features, counts) if standardised else _as_they_are(features.shape[1])
    machine = LinearSVC(C=cost, dual=False, max_iter=max_iterations)
    has_converged = _fit(machine, (features - mean) / scale, labels, counts=counts)
    weights, biases = np.zeros((num_classes, features.shape[1])), np.zeros(num_classes)
    weights[present], biases[present] = _hyperplanes(machine)
    return LinearProbe(
        weights=weights,
        biases=biases,
        seen=np.isin(np.arange(num_classes), present),
        mean=mean,
        scale=scale,
        has_converged=has_converged,
        num_iterations=int(machine.n_iter_),
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
    if not np.isfinite(features).all():
        raise ValueError("features must be finite")
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"labels must be in [0, {num_classes}), got {labels.min()} to {labels.max()}")
    counts = np.ones(len(features)) if repeats is None else repeats.astype(np.float64)
    if counts.shape != labels.shape or (len(counts) and counts.min() < 1):
        raise ValueError("repeats must be (n,) numbers of at least 1")
    return counts


def _standardisation(features: FloatArray, counts: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    doubles = features.astype(np.float64)
    mean: DoubleArray = np.average(doubles, axis=0, weights=counts)
    deviation: DoubleArray = np.sqrt(np.average((doubles - mean) ** 2, axis=0, weights=counts))
    deviation[deviation <= SAME_SHARE * np.abs(mean)] = 1.0
    return mean, deviation


def _as_they_are(feature_dim: int) -> tuple[DoubleArray, DoubleArray]:
    return np.zeros(feature_dim), np.ones(feature_dim)


def _hyperplanes(machine: LinearSVC) -> tuple[DoubleArray, DoubleArray]:
    """Weights and biases, one for each class that was seen; between two there is but one hyperplane."""
    weights, biases = machine.coef_, machine.intercept_
    if len(machine.classes_) == 2:
        return np.concatenate([-weights, weights]), np.concatenate([-biases, biases])
    return weights, biases


def _fit(
    machine: LinearSVC, features: DoubleArray, labels: npt.NDArray[np.integer], *, counts: DoubleArray
) -> bool:
    """Fit a machine; whether it converged. Whatever else was said meanwhile is not kept from the caller."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        machine.fit(features, labels, sample_weight=counts)
    has_converged = True
    for one in caught:
        if issubclass(one.category, ConvergenceWarning):
            has_converged = False
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return has_converged
