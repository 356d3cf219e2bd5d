"""Similarities of videos and prompts as rewards, regularised by a baseline prompt.

A prompt's embedding also says much that is true of every picture of the scene. A baseline prompt describes
the scene without the goal, and the direction from it to the goal is what a reward should look at (Rocamonde
et al., Vision-Language Models are Zero-Shot Reward Models for Reinforcement Learning, ICLR 2024, arXiv
2310.12921, section 3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["baseline_directions", "equal_prompts", "goal_baseline_rewards", "projected_rewards"]

MIN_DISTANCE = 1e-4
"""A prompt nearer to its baseline than this, both of length 1, has no direction but that of rounding: the
same sentence differs by up to 5e-7 from one batch to another (float32 on a CPU; perhaps more on a GPU)."""


def baseline_directions(prompts: torch.Tensor, baseline: torch.Tensor) -> torch.Tensor:
    """The directions from a baseline to prompts: normalise(prompt - baseline).

    Args:
        prompts: (P, D) floating embeddings, L2-normalised here.
        baseline: (1, D) for all prompts, or (P, D) with one for each; L2-normalised here.

    Returns:
        (P, D) of length 1 each.

    Raises:
        ValueError: If shapes do not fit, an embedding is zero or not finite, or a prompt equals its baseline.
    """
    ways = _ways(prompts, baseline)
    if same := _too_short(ways):
        raise ValueError(f"prompt {same[0]} has the embedding of its baseline; word the two differently")
    return F.normalize(ways, dim=1)


def equal_prompts(prompts: torch.Tensor, baseline: torch.Tensor) -> list[int]:
    """Prompts that have the embedding of their baseline but for rounding, so that no direction leads to them.

    Args:
        prompts: As for `baseline_directions`.
        baseline: As for `baseline_directions`.

    Returns:
        Their rows, ascending.

    Raises:
        ValueError: If shapes do not fit, or an embedding is zero or not finite.
    """
    return _too_short(_ways(prompts, baseline))


def projected_rewards(
    videos: torch.Tensor, prompts: torch.Tensor, directions: torch.Tensor, *, alpha: float
) -> torch.Tensor:
    """(1 - alpha) · cos(video, prompt) + alpha · cos(video, direction).

    Args:
        videos: (V, D) floating embeddings, L2-normalised here.
        prompts: (P, D) floating embeddings, L2-normalised here.
        directions: (P, D) of `baseline_directions`, or (1, D) when all prompts share one.
        alpha: Strength of the regularisation in [0, 1]; 0 gives the cosine.

    Returns:
        (V, P) in [-1, 1].

    Raises:
        ValueError: If shapes do not fit, an embedding is zero or not finite, or alpha is outside [0, 1].
    """
    states, goals, ways = _check_arguments(videos, prompts, directions, alpha)
    return (1 - alpha) * (states @ goals.T) + alpha * (states @ ways.T)


def goal_baseline_rewards(
    videos: torch.Tensor, prompts: torch.Tensor, directions: torch.Tensor, *, alpha: float
) -> torch.Tensor:
    """1 - |m(video) - m(prompt)|² / 2 with m(x) = (1 - alpha) · x + alpha · (x · direction) · direction.

    The paper's reward (definition 1). m is linear and its two parts are orthogonal but for the share along
    the direction, so that with w = video - prompt

        |m(w)|² = (1 - alpha)² · |w|² + (1 - (1 - alpha)²) · (w · direction)²

    which needs no (V, P, D) table of differences.

    Args:
        videos: As for `projected_rewards`.
        prompts: As for `projected_rewards`.
        directions: As for `projected_rewards`.
        alpha: As for `projected_rewards`; 1 looks along the direction only.

    Returns:
        (V, P) in [-1, 1].

    Raises:
        ValueError: As for `projected_rewards`.
    """
    states, goals, ways = _check_arguments(videos, prompts, directions, alpha)
    distance_squared = 2 - 2 * (states @ goals.T)
    along = states @ ways.T - (goals * ways).sum(dim=1)
    kept = (1 - alpha) ** 2
    return 1 - (kept * distance_squared + (1 - kept) * along.square()) / 2


def _ways(prompts: torch.Tensor, baseline: torch.Tensor) -> torch.Tensor:
    goals = _normalised("prompts", prompts)
    starts = _normalised("baseline", baseline)
    _check_partner("baseline", starts, goals)
    return goals - starts


def _too_short(ways: torch.Tensor) -> list[int]:
    return [int(row) for row in (ways.norm(dim=1) < MIN_DISTANCE).nonzero()[:, 0]]


def _check_arguments(
    videos: torch.Tensor, prompts: torch.Tensor, directions: torch.Tensor, alpha: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    states = _normalised("videos", videos)
    goals = _normalised("prompts", prompts)
    ways = _normalised("directions", directions)
    if states.shape[1] != goals.shape[1]:
        raise ValueError(
            f"videos and prompts must have one width D, got {states.shape[1]} and {goals.shape[1]}"
        )
    _check_partner("directions", ways, goals)
    return states, goals, ways.expand_as(goals)


def _check_partner(name: str, rows: torch.Tensor, prompts: torch.Tensor) -> None:
    if rows.shape[1] != prompts.shape[1] or len(rows) not in (1, len(prompts)):
        raise ValueError(
            f"{name} must be (1, {prompts.shape[1]}) or {tuple(prompts.shape)} as the prompts, "
            f"got {tuple(rows.shape)}"
        )


def _normalised(name: str, embeddings: torch.Tensor) -> torch.Tensor:
    if embeddings.ndim != 2 or 0 in embeddings.shape or not embeddings.is_floating_point():
        raise ValueError(
            f"{name} must be (N, D) floating and not empty, got {tuple(embeddings.shape)} {embeddings.dtype}"
        )
    rows = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    lengths = rows.norm(dim=1)
    bad = (~lengths.isfinite() | (lengths == 0)).nonzero()
    if len(bad):
        raise ValueError(f"{name}[{int(bad[0])}] must be finite and not zero to have a direction")
    unit: torch.Tensor = rows / lengths[:, None]
    return unit
