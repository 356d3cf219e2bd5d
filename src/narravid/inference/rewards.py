"""All about text as a reward, by one name: the formulas, what scores episodes, and Gymnasium's wrappers.

The wrappers are looked up when they are asked for, as they need the extra `rl`.
"""

from __future__ import annotations

import importlib

from narravid.inference.goal_baseline import baseline_directions, goal_baseline_rewards, projected_rewards
from narravid.inference.text_reward import TextReward, TextRewardModel

__all__ = [
    "TextReward",
    "TextRewardModel",
    "baseline_directions",
    "goal_baseline_rewards",
    "projected_rewards",
]

WRAPPERS = {
    "FrameInInfo": "reward_wrappers",
    "TextRewardWrapper": "reward_wrappers",
    "VectorTextRewardWrapper": "vector_reward_wrapper",
}
"""Class → its file."""


def __getattr__(name: str) -> object:
    if name not in WRAPPERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"narravid.inference.{WRAPPERS[name]}"), name)
