"""Linear support vector machines of many classes on more rows than LIBLINEAR takes.

The function is that of `LinearSVC`: squared hinge losses and an L2 penalty on weights and biases alike, each
class against all others. All classes go down together, by L-BFGS (Liu & Nocedal 1989) over blocks of rows, so
that little more than the rows themselves is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["HingeMinimum", "HingeProblem", "minimise_hinge"]

DoubleArray = npt.NDArray[np.float64]

BLOCK_ROWS = 16_384
STEPS_BETWEEN_LOOKS = 10
HISTORY = 20
ROUNDING = 1e-9
"""The diagonal of a matrix is longer by this share, so that rounding does not make it indefinite."""

TOLERANCE = 1e-4
"""A class has converged where its gradient is no longer than this share of the one at zero."""

SAME_VALUE = 1e-6
"""The descent ends where the steps between two looks lower the value by less than this share of it."""


@dataclass(frozen=True, slots=True, eq=False)
class HingeProblem:
    """Rows, their classes, and how much they count.

    Attributes:
        features: (n, F) float32 or float64, not copied.
        columns: (n,) int64 in [0, K]: which of the K classes a row belongs to; K is none of them.
        num_columns: K.
        costs: (n,) float64, weight of each row's losses against the penalty.
        mean: (F,) float64 that is subtracted from features first.
        scale: (F,) float64 by which they are divided then.
    """

    features: npt.NDArray[np.floating]
    columns: npt.NDArray[np.int64]
    num_columns: int
    costs: DoubleArray
    mean: DoubleArray
    scale: DoubleArray


@dataclass(frozen=True, slots=True, eq=False)
class HingeMinimum:
    """Where the descent ended.

    Attributes:
        weights: (K, F) float64, of standardised features.
        biases: (K,) float64.
        has_converged: Whether the gradient of every class is short, in relation to that at zero.
        num_iterations: Steps of the descent.
    """

    weights: DoubleArray
    biases: DoubleArray
    has_converged: bool
    num_iterations: int


def minimise_hinge(
    problem: HingeProblem, *, max_iterations: int, device: torch.device | str = "cpu"
) -> HingeMinimum:
    """Go down to the minimum from zero.

    Nothing is drawn: on one machine, the same rows give the same result.

    Args:
        problem: What to minimise.
        max_iterations: Steps at most.
        device: Where blocks of rows are multiplied, in float32; sums are float64.

    Returns:
        The place, and whether it is the minimum.
    """
    blocks = _Blocks(problem, torch.device(device))
    # In coordinates in which the losses of all rows together are a sphere, features of different size or
    # nearly alike ones no longer make the valley narrow.
    root = torch.linalg.cholesky(blocks.curvature())
    place = torch.zeros(
        (len(root), problem.num_columns), dtype=torch.float64, device=device, requires_grad=True
    )
    optimiser = torch.optim.LBFGS(
        [place],
        max_iter=STEPS_BETWEEN_LOOKS,
        max_eval=10 * STEPS_BETWEEN_LOOKS,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )
    lengths = torch.zeros(problem.num_columns)

    def value() -> torch.Tensor:
        nonlocal lengths
        weights = torch.linalg.solve_triangular(root.T, place.detach(), upper=True)
        objective, gradient = blocks.objective(weights)
        lengths = gradient.norm(dim=0)
        place.grad = torch.linalg.solve_triangular(root, gradient, upper=False).contiguous()
        return objective

    before = float(value())
    goal = TOLERANCE * lengths
    num_iterations = 0
    while num_iterations < max_iterations:
        optimiser.param_groups[0]["max_iter"] = min(STEPS_BETWEEN_LOOKS, max_iterations - num_iterations)
        optimiser.step(value)  # type: ignore[no-untyped-call]  # torch has no types for it
        num_iterations = optimiser.state[place]["n_iter"]
        now = float(value())  # the line search may have looked elsewhere last
        if before - now <= SAME_VALUE * before:
            break
        before = now
    weights = torch.linalg.solve_triangular(root.T, place.detach(), upper=True).cpu().numpy()
    return HingeMinimum(
        weights=weights[:-1].T.copy(),
        biases=weights[-1].copy(),
        has_converged=not bool((lengths > goal).any()),
        num_iterations=num_iterations,
    )


class _Blocks:
    """The rows, block by block, with a one behind each for the bias.

    Args:
        problem: What to minimise.
        device: Where blocks are multiplied.
    """

    def __init__(self, problem: HingeProblem, device: torch.device) -> None:
        self._problem = problem
        self._device = device
        self._has_units = bool((problem.mean == 0).all() and (problem.scale == 1).all())
        self._mean = torch.from_numpy(problem.mean).to(device)
        self._scale = torch.from_numpy(problem.scale).to(device)

    def _rows(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Features with a one, (B, F + 1), classes and costs, (B,)."""
        problem = self._problem
        for start in range(0, len(problem.columns), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            features = torch.from_numpy(problem.features[part]).to(self._device)
            if not self._has_units:
                features = (features.double() - self._mean) / self._scale
            rows = torch.nn.functional.pad(features.float(), (0, 1), value=1.0)
            columns = torch.from_numpy(problem.columns[part]).to(self._device)
            yield rows, columns, torch.from_numpy(problem.costs[part]).to(self._device)

    def curvature(self) -> torch.Tensor:
        """(F + 1, F + 1) float64: second derivatives where every row has a loss; those elsewhere are less."""
        size = self._problem.features.shape[1] + 1
        total = torch.eye(size, dtype=torch.float64, device=self._device)
        for rows, _, costs in self._rows():
            doubles = rows.double()
            total += 2 * (doubles * costs[:, None]).T @ doubles
        total.diagonal().mul_(1 + ROUNDING)
        return total

    def objective(self, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum over the classes, () float64, and its gradient at weights, both (F + 1, K) float64."""
        value = 0.5 * weights.square().sum()
        gradient = weights.clone()
        single = weights.float()
        for rows, columns, costs in self._rows():
            signs = torch.full((len(rows), weights.shape[1]), -1.0, device=self._device)
            of_a_class = (columns < weights.shape[1]).nonzero()[:, 0]
            signs[of_a_class, columns[of_a_class]] = 1.0
            losses = (1 - signs * (rows @ single)).clamp(min=0)
            weighted = losses * costs.float()[:, None]
            value = value + (losses * weighted).sum(dtype=torch.float64)
            gradient -= 2 * (rows.T @ (weighted * signs)).double()
        return value, gradient
