"""The range of logits that losses take."""

import math

import pytest
import torch

from narravid.losses.logits import MAX_LOGIT, check_logits


@pytest.mark.parametrize("value", [0.0, MAX_LOGIT, -MAX_LOGIT])
def test_logits_within_the_range_pass(value):
    check_logits("scores", torch.tensor([[0.0, value]]))


def test_no_logits_at_all_pass():
    check_logits("scores", torch.zeros(0, 3))


@pytest.mark.parametrize("value", [1.01e4, -1.01e4, math.inf, -math.inf, math.nan])
def test_others_are_refused_by_name_and_value(value):
    with pytest.raises(ValueError, match=rf"^scores must lie within ±10000, got {value:g}"):
        check_logits("scores", torch.tensor([[1.0, value]]))
