"""Results as data: numbers follow from outcomes, what is written is plain JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from evaluation_results import make_result
from narravid.evaluation.result import BenchmarkResult, Coverage, Measure, MissingItem
from narravid.metrics.bootstrap import Outcomes


def test_a_measure_follows_from_its_outcomes():
    outcomes = Outcomes("mean", np.repeat([1.0, 0.0], [30, 70]), tuple(map(str, range(100))))
    measure = Measure.of("R@1", outcomes, kind="share", chance=0.01)
    assert measure.value == 0.3
    assert 0.18 < measure.low < 0.25
    assert 0.35 < measure.high < 0.42
    assert measure.num_units == 100
    assert measure.chance == 0.01


def test_what_is_not_defined_is_written_as_nothing():
    outcomes = Outcomes("roc_auc", [0.1, 0.2], ("a", "b"), labels=np.array([True, True]))
    measure = Measure.of("ROC-AUC", outcomes, kind="share")
    assert math.isnan(measure.value)
    assert measure.to_dict() == {
        "name": "ROC-AUC",
        "kind": "share",
        "value": None,
        "low": None,
        "high": None,
        "chance": None,
        "num_units": 2,
    }


def test_a_result_is_plain_json():
    result = make_result()
    values = result.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == json.loads(json.dumps(values))
    assert [measure["name"] for measure in values["measures"]] == ["R@1", "MedR"]
    assert values["coverage"]["share"] == 0.8
    assert values["coverage"]["missing_by_reason"] == {"no such file": 2}
    assert values["published"][0]["values"]["R@1"] == 0.099
    assert values["worst"][0]["shown"][0]["span"] == {"start_seconds": 1.0, "end_seconds": 2.0}
    assert "plots" not in values


def test_reasons_that_differ_in_figures_count_together():
    missing = (MissingItem("a", "cut at 3.5 s"), MissingItem("b", "cut at 4 s"), MissingItem("c", "gone"))
    assert Coverage("videos", 5, 2, missing).missing_by_reason() == {"cut at … s": 2, "gone": 1}
    assert Coverage("videos", 0, 0).share == 0.0
    with pytest.raises(ValueError, match="3 of 2 videos"):
        Coverage("videos", 2, 3)


def test_results_that_cannot_be_are_refused():
    result = make_result()
    first = result.measures[0]
    with pytest.raises(ValueError, match="at least one measure"):
        BenchmarkResult("b", "B", (), {}, {}, result.coverage)
    with pytest.raises(ValueError, match="twice in 'more'"):
        BenchmarkResult("b", "B", (first,), {"more": (first, first)}, {}, result.coverage)
    with pytest.raises(ValueError, match=r"plain name of a file, got '\.\./x'"):
        BenchmarkResult("b", "B", (first,), {}, {}, result.coverage, plots={"../x": b""})
