"""What finds the hyperplanes of a linear probe: LIBLINEAR, or one descent of all classes in little memory."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from narravid.errors import NarravidError
from narravid.evaluation.hinge_minimum import HingeMinimum, HingeProblem, minimise_hinge

__all__ = ["ProbeFit", "Solver", "check_size", "find_hyperplanes"]

FloatArray = npt.NDArray[np.floating]
DoubleArray = npt.NDArray[np.float64]

Solver = Literal["liblinear", "lbfgs"]
"""What finds the minimum: a Newton method class by class, or one descent of all classes in little memory."""

MAX_ITERATIONS = 3000
MAX_LIBLINEAR_NUMBERS = 2**31
"""LIBLINEAR counts the numbers of its rows, two more in each than there are features, in 32 bits."""


@dataclass(frozen=True, slots=True)
class ProbeFit:
    """How a probe is fitted.

    Attributes:
        cost: Weight of the hinge losses against the penalty, published 100.
        standardised: Whether features are brought to mean 0 and deviation 1 over the windows first; published
            is False.
        solver: What finds the minimum. "liblinear" takes about 32 bytes for each number of the features and
            less than 2**31 numbers, "lbfgs" little more than the features themselves.
        max_iterations: Newton steps for each class, or steps of the descent of all.
        device: Where "lbfgs" computes.

    Raises:
        ValueError: If a value is out of range.
    """

    cost: float = 100.0
    standardised: bool = False
    solver: Solver = "liblinear"
    max_iterations: int = MAX_ITERATIONS
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if not self.cost > 0:
            raise ValueError(f"cost must be positive, got {self.cost}")
        if self.solver not in ("liblinear", "lbfgs"):
            raise ValueError(f"solver must be 'liblinear' or 'lbfgs', got {self.solver!r}")
        if self.max_iterations < 1:
            raise ValueError(f"max_iterations must be at least 1, got {self.max_iterations}")


def check_size(num_windows: int, feature_dim: int, *, solver: Solver) -> None:
    """Refuse features that a solver cannot take.

    Args:
        num_windows: Rows.
        feature_dim: Numbers in each.
        solver: The solver.

    Raises:
        NarravidError: If they are too many.
    """
    if solver == "liblinear" and num_windows * (feature_dim + 2) >= MAX_LIBLINEAR_NUMBERS:
        raise NarravidError(
            f"{num_windows:,} training windows of {feature_dim:,} features are more numbers than LIBLINEAR "
            "takes (2**31); --solver lbfgs finds the same minimum without that bound"
        )


def find_hyperplanes(
    features: FloatArray,
    labels: npt.NDArray[np.integer],
    *,
    counts: DoubleArray,
    mean: DoubleArray,
    scale: DoubleArray,
    fit: ProbeFit,
) -> HingeMinimum:
    """The hyperplanes of the classes that are among some labels, in the order of their numbers.

    Args:
        features: (n, F) floating.
        labels: (n,) numbers of at least two classes.
        counts: (n,) how often each row counts.
        mean: (F,) that is subtracted from features first.
        scale: (F,) by which they are divided then.
        fit: How.

    Returns:
        Weights and biases, and whether they are the minimum.
    """
    present, columns = np.unique(labels, return_inverse=True)
    if fit.solver == "liblinear":
        found = _by_liblinear((features - mean) / scale, labels, counts=counts, fit=fit)
    else:
        # Between two classes there is but one hyperplane: the second against the first.
        problem = HingeProblem(
            features=features,
            columns=1 - columns if len(present) == 2 else columns,
            num_columns=1 if len(present) == 2 else len(present),
            costs=fit.cost * counts,
            mean=mean,
            scale=scale,
        )
        found = minimise_hinge(problem, max_iterations=fit.max_iterations, device=fit.device)
    if len(present) > 2:
        return found
    return replace(
        found,
        weights=np.concatenate([-found.weights, found.weights]),
        biases=np.concatenate([-found.biases, found.biases]),
    )


def _by_liblinear(
    features: FloatArray, labels: npt.NDArray[np.integer], *, counts: DoubleArray, fit: ProbeFit
) -> HingeMinimum:
    machine = LinearSVC(C=fit.cost, dual=False, max_iter=fit.max_iterations)
    has_converged = _fit(machine, features, labels, counts=counts)
    return HingeMinimum(
        weights=machine.coef_,
        biases=machine.intercept_,
        has_converged=has_converged,
        num_iterations=int(machine.n_iter_),
    )


def _fit(
    machine: LinearSVC, features: FloatArray, labels: npt.NDArray[np.integer], *, counts: DoubleArray
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
