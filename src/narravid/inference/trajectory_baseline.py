"""A baseline prompt and how it enters the scores of trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from narravid.errors import ConfigError
from narravid.inference.goal_baseline import (
    baseline_directions,
    equal_prompts,
    goal_baseline_rewards,
    projected_rewards,
)

__all__ = ["Baseline", "RewardForm", "refuse_equal", "regularised_scores"]

RewardForm = Literal["projected", "original"]
"""How a baseline enters: (1 - alpha) · cosine + alpha · cosine with the direction from it to the prompt, or
the paper's distance of the projected vectors (see `narravid.inference.goal_baseline`)."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A prompt that tells the scene without the goal; rewards look at the way from it to each prompt.

    Attributes:
        prompt: The sentence.
        alpha: Strength in [0, 1]; 0 leaves the cosine.
        form: How it enters.

    Raises:
        ConfigError: If the prompt is empty, alpha is outside [0, 1] or the form is unknown.
    """

    prompt: str
    alpha: float = 0.5
    form: RewardForm = "projected"

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise ConfigError("the baseline is empty; describe the scene without the goal", key="baseline")
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"alpha must be in [0, 1], got {self.alpha}", key="alpha")
        if self.form not in get_args(RewardForm):
            known = " or ".join(map(repr, get_args(RewardForm)))
            raise ConfigError(f"form must be {known}, got {self.form!r}", key="form")


def regularised_scores(
    videos: torch.Tensor, goals: torch.Tensor, start: torch.Tensor, *, baseline: Baseline
) -> torch.Tensor:
    """Scores with a baseline in the form that it asks for.

    Args:
        videos: (V, D) floating embeddings.
        goals: (P, D) those of the prompts.
        start: (1, D) that of the baseline's prompt.
        baseline: Form and strength; its prompt is not looked at again.

    Returns:
        (V, P) in [-1, 1].

    Raises:
        ValueError: If a prompt has the embedding of the baseline, or shapes do not fit.
    """
    reward = projected_rewards if baseline.form == "projected" else goal_baseline_rewards
    return reward(videos, goals, baseline_directions(goals, start), alpha=baseline.alpha).clamp(-1, 1)


def refuse_equal(prompts: Sequence[str], goals: torch.Tensor, start: torch.Tensor) -> None:
    """Refuse prompts with the embedding of the baseline, such as the same known words in the same order.

    Args:
        prompts: P sentences.
        goals: (P, D) their embeddings.
        start: (1, D) that of the baseline's prompt.

    Raises:
        ConfigError: If one is the baseline for the model; names it.
        ValueError: If an embedding is zero or not finite.
    """
    for row in equal_prompts(goals, start):
        raise ConfigError(
            f"for the model the baseline says the same as the prompt {prompts[row]!r}; word them differently",
            key="baseline",
        )
