"""Numbers in pictures: decimals, limits of colours, and what is no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from narravid.evaluation.picture_values import (
    colour_limits,
    finite_array,
    minus_formatter,
    num_decimals,
    number_text,
)


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        ([0.5, 0.5], 3),  # all the same
        ([-1.0, 3.0], 2),
        ([0.1, 0.4], 3),
        ([0.10, 0.15], 4),
        ([0.1000, 0.1001], 4),
    ],
)
def test_narrow_ranges_get_more_decimals(values, decimals):
    assert num_decimals(np.array(values)) == decimals


def test_numbers_have_a_true_minus_and_zero_none():
    assert number_text(-0.1234, 2) == "−0.12"
    assert number_text(-0.0004, 3) == "0.000"
    assert number_text(0.5, 3) == "0.500"


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.075, 0.1, 0.125], ["0.075", "0.100", "0.125"]),
        ([-0.5, 0.0, 0.5], ["−0.5", "0.0", "0.5"]),
        ([-200.0, 0.0], ["−200", "0"]),
        ([0.0, -2e6], ["0", "−2e+06"]),
        ([0.1 + 0.2, 0.6], ["0.3", "0.6"]),
    ],
)
def test_the_numbers_of_an_axis_have_equal_decimals(values, texts):
    assert minus_formatter().format_ticks(values) == texts


def test_limits_are_those_of_the_values_unless_these_are_nearly_the_same():
    assert colour_limits(np.array([-0.2, 0.3])) == (-0.2, 0.3)
    assert colour_limits(np.array([0.25, 0.25])) == pytest.approx((0.245, 0.255))
    low, high = colour_limits(np.array([0.100, 0.104]))
    assert (low, high) == pytest.approx((0.097, 0.107))


def test_only_finite_values_are_taken():
    assert finite_array(torch.tensor([[1.0, 2.0]], requires_grad=True), "scores").tolist() == [[1.0, 2.0]]
    for wrong in ([], [1.0, np.nan], [np.inf]):
        with pytest.raises(ValueError, match="scores must be finite"):
            finite_array(np.array(wrong), "scores")
