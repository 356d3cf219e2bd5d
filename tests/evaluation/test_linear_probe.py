"""The linear probe: hyperplanes against the optimum's own conditions, repeats, unseen classes, scaling."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from narravid.errors import NarravidError
from narravid.evaluation import hinge_minimum
from narravid.evaluation.linear_probe import fit_linear_probe, summed_scores
from narravid.evaluation.probe_solvers import ProbeFit, check_size

STANDARDISED = ProbeFit(standardised=True)


def blobs(num_classes=3, per_class=20, dim=5, spread=0.6):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(num_classes), per_class)
    centres = 2 * rng.standard_normal((num_classes, dim))
    return (centres[labels] + spread * rng.standard_normal((len(labels), dim))).astype(np.float32), labels


def objective(weight, bias, features, signs, cost):
    """What a linear support vector machine minimises: penalty on weights and bias, squared hinge losses."""
    losses = np.maximum(0, 1 - signs * (features @ weight + bias)) ** 2
    return 0.5 * (weight @ weight + bias**2) + (cost * losses).sum()


@pytest.mark.parametrize("solver", ["liblinear", "lbfgs"])
@pytest.mark.parametrize("cost", [0.01, 100.0])
def test_every_hyperplane_is_the_minimum_of_its_own_problem(cost, solver):
    features, labels = blobs(spread=2.0)
    probe = fit_linear_probe(features, labels, num_classes=3, fit=ProbeFit(cost=cost, solver=solver))
    assert probe.has_converged
    rng = np.random.default_rng(1)
    for number in range(3):
        signs = np.where(labels == number, 1.0, -1.0)
        weight, bias = probe.weights[number], probe.biases[number]
        least = objective(weight, bias, features, signs, cost)
        for _ in range(50):
            step = rng.standard_normal(len(weight) + 1) * 10 ** rng.uniform(-3, 0)
            # The solver stops within its tolerance, so a nearby place may be better by a trifle.
            assert objective(weight + step[:-1], bias + step[-1], features, signs, cost) > least * (1 - 1e-4)


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize(("num_classes", "spread", "cost"), [(2, 2.0, 100.0), (4, 2.0, 1.0), (6, 1.0, 10.0)])
def test_the_descent_finds_the_minimum_of_liblinear(num_classes, spread, cost, standardised):
    features, labels = blobs(num_classes=num_classes, dim=20, spread=spread)
    features = features * np.logspace(-1, 1, 20, dtype=np.float32) + 3  # a narrow valley, off its centre
    counts = 1 + np.arange(len(labels)) % 3
    fit = ProbeFit(cost=cost, solver="lbfgs", standardised=standardised)
    probe = fit_linear_probe(features, labels, num_classes=num_classes, repeats=counts, fit=fit)
    assert probe.has_converged
    rows = (features - probe.mean) / probe.scale
    for number in range(num_classes):
        signs = np.where(labels == number, 1.0, -1.0)
        machine = LinearSVC(C=cost, dual=False, tol=1e-7, max_iter=100_000).fit(rows, signs, counts)
        least = objective(machine.coef_[0], machine.intercept_[0], rows, signs, cost * counts)
        found = objective(probe.weights[number], probe.biases[number], rows, signs, cost * counts)
        assert found == pytest.approx(least, rel=1e-3)


def test_the_descent_goes_over_blocks_as_over_one(monkeypatch):
    features, labels = blobs(num_classes=4, spread=2.0)
    fit = ProbeFit(solver="lbfgs")
    whole = fit_linear_probe(features, labels, num_classes=4, fit=fit)
    monkeypatch.setattr(hinge_minimum, "BLOCK_ROWS", 7)
    parts = fit_linear_probe(features, labels, num_classes=4, fit=fit)
    np.testing.assert_allclose(parts.weights, whole.weights, rtol=1e-3, atol=1e-3)


def test_what_liblinear_cannot_count_is_told_with_the_remedy():
    check_size(2_000_000, 1024, solver="liblinear")
    with pytest.raises(NarravidError, match="2,400,000 training windows of 1,024 .*--solver lbfgs"):
        check_size(2_400_000, 1024, solver="liblinear")
    check_size(2_400_000, 1024, solver="lbfgs")


@pytest.mark.parametrize("solver", ["liblinear", "lbfgs"])
def test_the_same_features_give_the_same_probe(solver):
    features, labels = blobs(spread=2.0)
    fit = ProbeFit(solver=solver)
    first = fit_linear_probe(features, labels, num_classes=3, fit=fit)
    again = fit_linear_probe(features, labels, num_classes=3, fit=fit)
    np.testing.assert_array_equal(first.weights, again.weights)
    np.testing.assert_array_equal(first.biases, again.biases)


def test_a_window_that_counts_three_times_is_as_three_windows():
    features, labels = blobs(spread=2.0)
    counts = np.ones(len(labels), dtype=np.int64)
    counts[::4] = 3
    counted = fit_linear_probe(features, labels, num_classes=3, repeats=counts, fit=STANDARDISED)
    repeated = fit_linear_probe(
        np.repeat(features, counts, axis=0), np.repeat(labels, counts), num_classes=3, fit=STANDARDISED
    )
    np.testing.assert_allclose(counted.mean, repeated.mean, rtol=1e-9)
    np.testing.assert_allclose(counted.scale, repeated.scale, rtol=1e-9)
    np.testing.assert_allclose(counted.weights, repeated.weights, rtol=2e-3, atol=1e-4)


def test_two_classes_have_two_opposite_hyperplanes():
    features, labels = blobs(num_classes=2)
    probe = fit_linear_probe(features, labels, num_classes=2)
    np.testing.assert_array_equal(probe.weights[0], -probe.weights[1])
    assert (probe.decision_values(features).argmax(axis=1) == labels).all()


def test_a_class_that_was_never_seen_is_never_chosen():
    features, labels = blobs(num_classes=3)
    kept = labels != 1
    probe = fit_linear_probe(features[kept], labels[kept], num_classes=3)
    values = probe.decision_values(features)
    assert probe.seen.tolist() == [True, False, True]
    assert (values[:, 1] < values[:, [0, 2]].min(axis=1)).all()


def test_decision_values_are_summed_over_the_windows_of_a_video():
    features, labels = blobs()
    probe = fit_linear_probe(features, labels, num_classes=3)
    windows = [features[:2], features[20:23]]
    scores = summed_scores(probe, windows, repeats=[np.array([1, 4]), np.array([2, 1, 1])])
    values = probe.decision_values(features)
    np.testing.assert_allclose(scores[0], values[0] + 4 * values[1])
    np.testing.assert_allclose(scores[1], 2 * values[20] + values[21] + values[22])
    assert summed_scores(probe, [], repeats=[]).shape == (0, 3)


def test_standardising_makes_units_not_matter():
    features, labels = blobs(spread=2.0)
    units = np.array([1, 1000, 0.01, 1, 7])
    plain = fit_linear_probe(features, labels, num_classes=3, fit=STANDARDISED)
    other = fit_linear_probe(features * units + 3, labels, num_classes=3, fit=STANDARDISED)
    expected, found = plain.decision_values(features), other.decision_values(features * units + 3)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("solver", ["liblinear", "lbfgs"])
def test_too_few_steps_are_told_not_warned_of(solver):
    features, labels = blobs(spread=3.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe = fit_linear_probe(
            features, labels, num_classes=3, fit=ProbeFit(solver=solver, max_iterations=1)
        )
    assert not probe.has_converged
    assert probe.num_iterations == 1


def test_what_cannot_be_fitted_is_refused():
    features, labels = blobs()
    with pytest.raises(NarravidError, match="at least two classes, and 1 could be read"):
        fit_linear_probe(features[:5], labels[:5], num_classes=3)
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\)"):
        fit_linear_probe(features, labels, num_classes=2)
    with pytest.raises(ValueError, match="cost must be positive"):
        ProbeFit(cost=0.0)
    with pytest.raises(ValueError, match="solver must be"):
        ProbeFit(solver="newton")
    with pytest.raises(ValueError, match="features must be finite"):
        fit_linear_probe(features * np.nan, labels, num_classes=3)
    with pytest.raises(ValueError, match="repeats must be"):
        fit_linear_probe(features, labels, num_classes=3, repeats=np.zeros(len(labels), dtype=np.int64))
    with pytest.raises(ValueError, match=r"features must be \(n, F\)"):
        fit_linear_probe(features, labels[:-1], num_classes=3)
