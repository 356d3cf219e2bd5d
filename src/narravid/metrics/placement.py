"""Steps placed in time, in their order, for the greatest sum of scores (CrossTask, arXiv 1903.08225)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from narravid.metrics.ranking import Array, check_finite

__all__ = ["place_steps"]


def place_steps(scores: Array) -> torch.Tensor:
    """Choose one second for each step, in the order of the steps, for the greatest sum of scores.

    Each step gets exactly one second, later than that of the step before. Where several placements reach the
    greatest sum, each counts alike, so that a model that scores everything alike is at the chance of a random
    ordered placement.

    Args:
        scores: (T, K) of T seconds and K <= T steps, higher is better.

    Returns:
        (T, K) float64, the share of the best placements that put a step on a second: 1 and 0 where there is
        but one. Each column sums to 1.

    Raises:
        ValueError: If the shape does not fit or a score is NaN or infinite.

    Example:
        The second step may not come before the first:

        >>> place_steps(torch.tensor([[0.0, 9.0], [1.0, 0.0], [0.0, 2.0]])).tolist()
        [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    seconds = torch.as_tensor(scores).detach()
    if seconds.ndim != 2 or 0 in seconds.shape or not seconds.dtype.is_floating_point:
        raise ValueError(
            f"scores must be (T, K) floating point and not empty, got {tuple(seconds.shape)} {seconds.dtype}"
        )
    num_seconds, num_steps = seconds.shape
    if num_steps > num_seconds:
        raise ValueError(f"{num_steps} steps cannot have a second each of {num_seconds}")
    check_finite("scores", seconds)
    table = seconds.double().cpu().numpy()

    # sums[k, t]: greatest sum of steps 0..k with step k on second t; ways[k][t]: how many placements have it;
    # reached[k][t]: how many of those with step k on second t or before have the greatest sum of them.
    sums = np.full((num_steps, num_seconds), -np.inf)
    sums[0] = table[:, 0]
    ways, reached = [[1] * num_seconds], []
    for step in range(num_steps):
        best = np.maximum.accumulate(sums[step])
        reached.append(_ways_to_reach(sums[step], best, ways[step]))
        if step + 1 < num_steps:
            sums[step + 1, 1:] = best[:-1] + table[1:, step + 1]
            ways.append([0, *reached[step][:-1]])
    return torch.from_numpy(_shares_of_placements(sums, ways, reached).T.copy())


def _ways_to_reach(sums: np.ndarray, best: np.ndarray, ways: list[int]) -> list[int]:
    """For each second, how many placements end at it or before and reach the best sum so far."""
    reached = []
    total, so_far = 0, -math.inf
    for count, value, highest in zip(ways, sums.tolist(), best.tolist(), strict=True):
        if highest > so_far:
            total, so_far = 0, highest
        if value == highest:
            total += count
        reached.append(total)
    return reached


def _shares_of_placements(
    sums: np.ndarray, ways: Sequence[Sequence[int]], reached: Sequence[Sequence[int]]
) -> np.ndarray:
    """(K, T) share of the best placements that put a step on a second, from the last step to the first.

    A second with step k stands for its share of all placements in which step k + 1 comes later and no second
    between the two makes a greater sum. Those are added up from the end, in proportion to the ways: the
    numbers of ways are whole and may be greater than any float, their quotients are not.
    """
    num_steps, num_seconds = sums.shape
    shares = np.zeros_like(sums)
    next_on = np.zeros(num_seconds)  # shares of the placements with the next step right behind each second
    next_on[-1] = 1.0
    for step in range(num_steps - 1, -1, -1):
        best = np.maximum.accumulate(sums[step]).tolist()
        own = reached[step]
        carried = 0.0
        for second in range(num_seconds - 1, -1, -1):
            if second + 1 < num_seconds and best[second + 1] > best[second]:
                carried = 0.0
            elif carried:
                carried *= own[second] / own[second + 1]
            carried += next_on[second]
            if carried and sums[step, second] == best[second]:
                shares[step, second] = carried * (ways[step][second] / own[second])
        next_on = np.append(shares[step, 1:], 0.0)
    return shares
