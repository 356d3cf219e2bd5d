"""Retrieval metrics against the published programs, and against the true counts where those fail at ties."""

import numpy as np
import pytest

from fidelity.fill import filled_input, golden_arrays
from narravid.metrics import rank_counts, retrieval_metrics, retrieval_ranks


def load(case):
    """The golden numbers of a case, and `sim`, its scores rebuilt as the case says."""
    arrays = golden_arrays("metrics", case)
    num = len(arrays["strict_rank"])
    sim = filled_input(f"metrics/{case}/sim", (num, num), "normal").astype(np.float64)
    if case.startswith("random"):
        sim += 1.5 * np.eye(num)
    elif case == "ties_quantised":
        sim = np.floor(2 * sim) / 2
    elif case == "ties_duplicate_columns":
        sim += np.eye(num)
        sim[:, 1::2] = sim[:, ::2]
    else:
        sim = np.ones_like(sim)
    return {**arrays, "sim": sim}


@pytest.mark.parametrize("case", ["random_n20", "random_n50"])
def test_without_ties_the_metrics_are_the_published_ones(case):
    arrays = load(case)
    metrics = retrieval_metrics(arrays["sim"])
    for name, published in [("R@1", "R1"), ("R@5", "R5"), ("R@10", "R10"), ("MedR", "MR")]:
        assert metrics[name] == pytest.approx(float(arrays[published]), rel=1e-6), name
    assert metrics["R@1"] * 100 == pytest.approx(float(arrays["retrieval_R1"]), rel=1e-6)
    np.testing.assert_array_equal(retrieval_ranks(arrays["sim"]).numpy(), arrays["strict_rank"] + 1)


@pytest.mark.parametrize("case", ["ties_quantised", "ties_duplicate_columns", "ties_constant"])
def test_ties_are_counted_and_shared_out(case):
    arrays = load(case)
    counts = rank_counts(arrays["sim"])
    np.testing.assert_array_equal(counts.num_better.numpy(), arrays["strict_rank"])
    np.testing.assert_array_equal(counts.num_tied.numpy(), arrays["tied_with_diagonal"] + 1)
    # The pooled ranks of the published program are as many as all tied entries together.
    assert int(counts.num_tied.sum()) == int(arrays["ref_num_ranks"])
    expected = arrays["strict_rank"] + arrays["tied_with_diagonal"] / 2 + 1
    np.testing.assert_array_equal(counts.ranks().numpy(), expected)


def test_a_constant_model_is_at_chance():
    metrics = retrieval_metrics(load("ties_constant")["sim"])
    assert metrics == pytest.approx(
        {"R@1": 1 / 24, "R@5": 5 / 24, "R@10": 10 / 24, "MedR": 12.5, "MeanR": 12.5}
    )
