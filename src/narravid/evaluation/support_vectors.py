"""Linear support vector machines with squared hinge loss, minimised exactly.

The problem is that of the published probes (LIBLINEAR's L2-regularised L2-loss machine, Fan et al. 2008, JMLR
9), bias penalised like a weight. Its minimum is unique. Newton's method on the primal problem (Mangasarian
2002; Keerthi & DeCoste 2005, JMLR 6) finds it in a handful of steps also where features are many, large and
alike, on which LIBLINEAR's own methods stop short of it; nothing is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["SupportVectorMachines", "fit_support_vector_machines"]

DoubleArray = npt.NDArray[np.float64]

ROWS_AT_ONCE = 8192
SMALL_GRADIENT = 1e-7
"""Of the gradient at weights of zero: the machine is at its minimum then."""

ENOUGH_DESCENT = 1e-4
SHORTEST_STEP = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class SupportVectorMachines:
    """A hyperplane for each of K problems.

    Attributes:
        weights: (K, F) float64.
        biases: (K,) float64.
        has_converged: Whether each of them is at its minimum.
        num_iterations: Newton steps of the problem that took most.
    """

    weights: DoubleArray
    biases: DoubleArray
    has_converged: bool
    num_iterations: int


def fit_support_vector_machines(
    features: DoubleArray, signs: DoubleArray, *, costs: DoubleArray, max_iterations: int
) -> SupportVectorMachines:
    """Minimise ½‖w‖² + ½b² + Σ cost · max(0, 1 − sign · (w·x + b))² for each problem.

    Args:
        features: (n, F).
        signs: (K, n), −1 or 1.
        costs: (n,) positive.
        max_iterations: Newton steps for each problem.

    Returns:
        The hyperplanes.
    """
    rows = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    # At weights of zero every margin is violated, so the first Newton step has one matrix for all problems.
    targets = -2 * (signs * costs) @ rows
    starts = -_solve(rows, costs, targets.T).T
    found = [
        _minimise(rows, own, costs=costs, start=start, max_iterations=max_iterations)
        for own, start in zip(signs, starts, strict=True)
    ]
    weights = np.stack([weights for weights, _, _ in found])
    return SupportVectorMachines(
        weights=weights[:, :-1],
        biases=weights[:, -1],
        has_converged=all(converged for _, _, converged in found),
        num_iterations=max(taken for _, taken, _ in found),
    )


def _minimise(
    rows: DoubleArray, signs: DoubleArray, *, costs: DoubleArray, start: DoubleArray, max_iterations: int
) -> tuple[DoubleArray, int, bool]:
    """Weights with bias, Newton steps taken, whether they are at the minimum; the first step is `start`."""
    weights, margins = start, signs * (rows @ start)
    first_gradient = np.linalg.norm(2 * (costs * signs) @ rows)
    for taken in range(1, max_iterations + 1):
        active = margins < 1
        slack = np.where(active, 1 - margins, 0)
        gradient = weights - 2 * (costs * signs * slack) @ rows
        if np.linalg.norm(gradient) <= SMALL_GRADIENT * first_gradient:
            return weights, taken, True
        step = -_solve(rows[active], costs[active], gradient)
        change = signs * (rows @ step)
        length = _step_length(weights, step, margins=margins, change=change, costs=costs)
        weights, margins = weights + length * step, margins + length * change
        if length == 1 and np.array_equal(active, margins < 1):
            return weights, taken + 1, True  # the function is a parabola between the two places
        if length < SHORTEST_STEP:
            return weights, taken + 1, True  # rounding leaves nothing to be gained
    return weights, max_iterations, False


def _solve(rows: DoubleArray, costs: DoubleArray, right: DoubleArray) -> DoubleArray:
    """(I + 2 · rowsᵀ · costs · rows)⁻¹ · right, by the smaller of the two matrices that say the same."""
    scaled = rows * np.sqrt(2 * costs)[:, None]
    num_rows, dim = scaled.shape
    if num_rows < dim:
        inner = np.eye(num_rows) + scaled @ scaled.T
        return np.asarray(right - scaled.T @ np.linalg.solve(inner, scaled @ right), dtype=np.float64)
    matrix = np.eye(dim)
    for start in range(0, num_rows, ROWS_AT_ONCE):
        part = scaled[start : start + ROWS_AT_ONCE]
        matrix += part.T @ part
    return np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)


def _step_length(
    weights: DoubleArray, step: DoubleArray, *, margins: DoubleArray, change: DoubleArray, costs: DoubleArray
) -> float:
    """The first of 1, 1/2, 1/4 ... at which the function has fallen enough."""

    def value(length: float) -> float:
        moved = weights + length * step
        slack = np.maximum(0, 1 - margins - length * change)
        return float(0.5 * moved @ moved + costs @ slack**2)

    slack = np.maximum(0, 1 - margins)
    slope = float(weights @ step - 2 * (costs * slack) @ change)
    here, length = value(0.0), 1.0
    while value(length) > here + ENOUGH_DESCENT * length * slope and length >= SHORTEST_STEP:
        length /= 2
    return length
