"""Text as a reward by one name: the formulas, what scores episodes, and Gymnasium's wrappers.

The wrappers are looked up when they are asked for, as they need the extra `rl`; `import *` leaves them out.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from narravid.inference.goal_baseline import baseline_directions, goal_baseline_rewards, projected_rewards
from narravid.inference.text_reward import TextReward, TextRewardModel

__all__ = [
    "TextReward",
    "TextRewardModel",
    "baseline_directions",
    "goal_baseline_rewards",
    "projected_rewards",
]

if TYPE_CHECKING:
    from narravid.inference.reward_wrappers import FrameInInfo, TextRewardWrapper
    from narravid.inference.vector_reward_wrapper import VectorTextRewardWrapper

    __all__ += ["FrameInInfo", "TextRewardWrapper", "VectorTextRewardWrapper"]

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


def __dir__() -> list[str]:
    return sorted({*globals(), *WRAPPERS})
