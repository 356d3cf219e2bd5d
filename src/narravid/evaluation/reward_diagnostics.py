"""Whether rewards from text agree with what an environment rewards: rank correlation over episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["RankCorrelation", "RewardDiagnostics", "diagnose", "rank_correlation"]

FloatArray = npt.NDArray[np.float64]

NUM_RESAMPLES = 2000
CONFIDENCE = 0.95
MIN_EPISODES = 3
MIN_EPISODES_FOR_INTERVAL = 10
"""With fewer, resamples repeat so much that the interval is far too narrow, at the worst without width."""
REWARD_DECIMALS = 6
"""Rewards that differ by less are equal but for the rounding of float32."""
MIN_SHARE_OF_RESAMPLES = 0.5
"""Resamples that must have a correlation for an interval to be given."""
NUMBERS_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """How far two orders of the same episodes agree.

    Attributes:
        correlation: Spearman's, in [-1, 1]; None where it is not defined.
        low: Lower end of its interval; None where there is none.
        high: Upper end.
        num_episodes: Episodes that were compared.
        remark: Why there is no number or no interval, or how many episodes are tied; empty where there is
            nothing to say.
    """

    correlation: float | None
    low: float | None
    high: float | None
    num_episodes: int
    remark: str = ""

    def __str__(self) -> str:
        remark = f" ({self.remark})" if self.remark else ""
        if self.correlation is None:
            return f"no rank correlation over {self.num_episodes} episodes{remark}"
        interval = "" if self.low is None else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"rank correlation {self.correlation:.2f}{interval} over {self.num_episodes} episodes{remark}"


@dataclass(frozen=True, eq=False, slots=True)
class RewardDiagnostics:
    """Rewards from one text beside the true returns of the same episodes.

    Attributes:
        name: The text.
        rewards: (N,) float64.
        true_returns: (N,) float64.
        correlation: How far their orders agree.
    """

    name: str
    rewards: FloatArray
    true_returns: FloatArray
    correlation: RankCorrelation


def diagnose(
    name: str, rewards: Sequence[float], true_returns: Sequence[float], *, seed: int = 0
) -> RewardDiagnostics:
    """Compare the rewards from one text with the true returns of the same episodes.

    Args:
        name: The text.
        rewards: N rewards.
        true_returns: N true returns, in the same order.
        seed: Of the bootstrap.

    Returns:
        Both and how far their orders agree.

    Raises:
        ValueError: As for `rank_correlation`.
    """
    correlation = rank_correlation(rewards, true_returns, seed=seed)
    return RewardDiagnostics(
        name,
        np.array(rewards, dtype=np.float64),
        np.array(true_returns, dtype=np.float64),
        correlation,
    )


def rank_correlation(
    rewards: Sequence[float],
    true_returns: Sequence[float],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> RankCorrelation:
    """Spearman's rank correlation with its percentile interval by the bootstrap over episodes.

    Equal values share the mean of their ranks, rewards once they are rounded to 6 decimals: float32 knows no
    more. Where all values of a side are equal there is no correlation, and the result says so. Resamples
    without one are left out of the interval; there is none with fewer than half of them, or 10 episodes.

    Args:
        rewards: N finite numbers, scores of a text.
        true_returns: N finite numbers, of the same episodes in the same order.
        num_resamples: How many resamples are drawn.
        seed: Of the draws.
        confidence: Share of the resamples between the two ends, in (0, 1).

    Returns:
        The correlation, or why there is none.

    Raises:
        ValueError: If the two differ in length, a number is not finite, or an option is out of range.

    >>> print(rank_correlation([0.1, 0.4, 0.2, 0.8], [1, 3, 2, 9]))
    rank correlation 1.00 over 4 episodes (an interval needs at least 10 episodes)
    >>> print(rank_correlation([0.1, 0.4, 0.2, 0.8], [5, 5, 5, 5]))
    no rank correlation over 4 episodes (all true returns are equal, so that they have no order)
    """
    if num_resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            "num_resamples must be at least 1 and confidence between 0 and 1, "
            f"got {num_resamples} and {confidence}"
        )
    sides = _checked("rewards", rewards).round(REWARD_DECIMALS), _checked("true_returns", true_returns)
    num_episodes = len(sides[0])
    if num_episodes != len(sides[1]):
        raise ValueError(f"{num_episodes} rewards need as many true returns, got {len(sides[1])}")
    if num_episodes < MIN_EPISODES:
        return RankCorrelation(None, None, None, num_episodes, f"it needs at least {MIN_EPISODES} episodes")
    flat = [name for name, values in zip(("rewards", "true returns"), sides, strict=True) if _flat(values)]
    if flat:
        reason = f"all {' and all '.join(flat)} are equal, so that they have no order"
        return RankCorrelation(None, None, None, num_episodes, reason)
    remarks = [_ties(name, values) for name, values in zip(("reward", "true return"), sides, strict=True)]
    low: float | None = None
    high: float | None = None
    resampled = _resampled(*sides, num_resamples=num_resamples, seed=seed)
    known = resampled[~np.isnan(resampled)]
    if num_episodes < MIN_EPISODES_FOR_INTERVAL:
        remarks.append(f"an interval needs at least {MIN_EPISODES_FOR_INTERVAL} episodes")
    elif len(known) < MIN_SHARE_OF_RESAMPLES * num_resamples:
        remarks.append("too few different values for an interval")
    else:
        low, high = (float(end) for end in np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2]))
    remark = "; ".join(part for part in remarks if part)
    return RankCorrelation(_of_rows(*(values[None] for values in sides))[0], low, high, num_episodes, remark)


def _checked(name: str, values: Sequence[float]) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one number for each episode, got the shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"{name}[{bad[0]}] must be finite, got {array[bad[0]]}")
    return array


def _flat(values: FloatArray) -> bool:
    return bool((values == values[0]).all())


def _ties(name: str, values: FloatArray) -> str:
    _, counts = np.unique(values, return_counts=True)
    num_tied = int(counts[counts > 1].sum())
    return f"{num_tied} share their {name} with another" if num_tied else ""


def _resampled(first: FloatArray, second: FloatArray, *, num_resamples: int, seed: int) -> FloatArray:
    generator = np.random.default_rng(seed)
    parts = []
    at_once = max(1, NUMBERS_AT_ONCE // len(first))
    for done in range(0, num_resamples, at_once):
        num_now = min(at_once, num_resamples - done)
        drawn = generator.integers(len(first), size=(num_now, len(first)))
        parts.append(_of_rows(first[drawn], second[drawn]))
    return np.concatenate(parts)


def _of_rows(first: FloatArray, second: FloatArray) -> FloatArray:
    """(R, N) twice to the (R,) correlations of their rows; NaN for a row of equal values."""
    from scipy import stats  # not above: it takes a second, which every start of the command would wait for

    ranks = [stats.rankdata(side, axis=1) - (side.shape[1] + 1) / 2 for side in (first, second)]
    spreads = np.sqrt(np.square(ranks[0]).sum(axis=1) * np.square(ranks[1]).sum(axis=1))
    shared = (ranks[0] * ranks[1]).sum(axis=1)
    spreads[spreads == 0] = np.nan
    correlations: FloatArray = np.clip(shared / spreads, -1, 1)
    return correlations
