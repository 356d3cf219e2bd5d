"""Where steps land that are placed in order at random: what recall a model that knows nothing has."""

from __future__ import annotations

import torch

__all__ = ["random_placements"]


def random_placements(num_seconds: int, num_steps: int) -> torch.Tensor:
    """How likely each step is on each second if all placements in order are equally likely.

    That is what `place_steps` gives for scores that are all alike, in closed form.

    Args:
        num_seconds: T.
        num_steps: K, from 1 to T.

    Returns:
        (T, K) float64; each column sums to 1.

    Raises:
        ValueError: If a number is out of range.

    Example:
        Three placements of two steps on three seconds, the first step on second 0 in two of them:

        >>> (random_placements(3, 2) * 3).round().tolist()
        [[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]]
    """
    if not 1 <= num_steps <= num_seconds:
        raise ValueError(f"num_steps must be from 1 to num_seconds, got {num_steps} and {num_seconds}")
    second = torch.arange(num_seconds, dtype=torch.float64)[:, None]
    step = torch.arange(num_steps, dtype=torch.float64)[None]
    before = _log_choose(second, step)
    after = _log_choose(num_seconds - 1 - second, num_steps - 1 - step)
    total = _log_choose(torch.tensor(float(num_seconds)).double(), torch.tensor(float(num_steps)).double())
    return (before + after - total).exp()


def _log_choose(count: torch.Tensor, taken: torch.Tensor) -> torch.Tensor:
    """Logarithm of how many ways there are to take some of a count; -inf where there is none."""
    left = (count - taken).clamp(min=0)
    ways = torch.lgamma(count + 1) - torch.lgamma(taken + 1) - torch.lgamma(left + 1)
    return ways.masked_fill(taken > count, -torch.inf)
