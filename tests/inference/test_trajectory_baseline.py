"""Baselines: what the model cannot tell from them is refused, and nothing else is taken for that."""

from __future__ import annotations

import pytest
import torch

from narravid.errors import ConfigError
from narravid.inference.goal_baseline import baseline_directions, equal_prompts
from narravid.inference.trajectory_baseline import refuse_equal

PROMPTS = ("push the box", "open the drawer", "pull it")
GOALS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.6, 0.8, 0.0]])


@pytest.mark.parametrize("rounding", [0.0, 1e-6, 2e-5])
def test_what_differs_by_rounding_alone_is_the_same(rounding: float):
    start = torch.tensor([[rounding, 1.0, -rounding]])
    assert equal_prompts(GOALS, start) == [1]
    with pytest.raises(ConfigError, match="says the same as the prompt 'open the drawer'; word them"):
        refuse_equal(PROMPTS, GOALS, start)
    with pytest.raises(ValueError, match="prompt 1 has the embedding of its baseline"):
        baseline_directions(GOALS, start)


def test_a_near_paraphrase_is_another_prompt():
    start = torch.tensor([[1e-3, 1.0, 0.0]])
    assert equal_prompts(GOALS, start) == []
    refuse_equal(PROMPTS, GOALS, start)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_an_embedding_that_cannot_be_used_is_not_said_to_be_equal(value: float):
    goals = GOALS.clone()
    goals[2] = value
    with pytest.raises(ValueError, match=r"^prompts\[2\] must be finite and not zero"):
        refuse_equal(PROMPTS, goals, torch.tensor([[0.0, 0.0, 1.0]]))
