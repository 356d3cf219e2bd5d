"""Results side by side: the same units, what protocols differ in, and what cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation_results import make_result
from narravid.errors import NarravidError
from narravid.evaluation.result import BenchmarkResult, Coverage, Measure, MissingItem
from narravid.evaluation.result_comparison import compare_results
from narravid.metrics.bootstrap import Outcomes

WORSE = (1, 0, 0, 1, 0, 0, 0, 1)
BETTER = (1, 1, 1, 1, 1, 0, 1, 1)


def test_each_is_tested_against_the_first_on_the_same_items():
    found = compare_results(
        {"a": make_result(hits=WORSE), "b": make_result(hits=BETTER), "c": make_result(hits=WORSE)}
    )
    assert [(one.result, one.measure) for one in found.differences] == [
        ("b", "R@1"),
        ("b", "MedR"),
        ("c", "R@1"),
        ("c", "MedR"),
    ]
    better, ranks, same, _ = (one.found for one in found.differences)
    assert better.difference == pytest.approx(0.5)
    assert better.num_units == 8
    assert better.p_value < 0.05
    assert ranks.difference == pytest.approx(1.0 - 3.5)
    assert (same.difference, same.p_value) == (0.0, 1.0)
    assert found.protocol == ()
    assert found.coverage == (0.8, 0.8, 0.8)


def test_tables_hold_numbers_and_differences():
    found = compare_results({"a": make_result(hits=WORSE), "b": make_result(hits=BETTER)})
    numbers = found.numbers_table()
    assert numbers.header == ("", "a", "b")
    assert [row[0] for row in numbers.rows[:2]] == ["R@1 %", "MedR"]
    assert numbers.rows[0][1] == "37.5 [0.0, 75.0]"
    assert numbers.rows[0][2].startswith("87.5 [")
    assert numbers.rows[2][1:] == ("80.0", "80.0")
    rows = found.differences_table().rows
    assert [row[0] for row in rows] == ["b: R@1, points", "b: MedR, ranks"]
    assert rows[0][1].startswith("+50.0 [+")
    assert rows[1][1].startswith("-2.5 [-")


def test_differing_protocols_are_named_but_models_and_places_are_not():
    files = {"annotations": {"path": "/a/list.csv", "sha256": "1"}}
    elsewhere = {"annotations": {"path": "/b/list.csv", "sha256": "1"}}
    first = make_result(files=files, model="one", weights_hash="x", batch_size=8)
    same = make_result(files=elsewhere, model="two", weights_hash="y", batch_size=4)
    assert compare_results({"a": first, "b": same}).protocol == ()
    edited = {"annotations": {"path": "/a/list.csv", "sha256": "2"}}
    other = make_result(files=edited, num_windows=4, clip={"fps": 5.0}, gallery_size=8)
    lines = [one.in_words() for one in compare_results({"a": first, "b": other}).protocol]
    assert lines == [
        "num_windows: 10 against 4",
        "clip.fps: 10.0 against 5.0",
        "files.annotations.sha256: 1 against 2",
        "gallery_size: nothing against 8",
    ]


def test_how_fits_went_is_no_part_of_the_protocol():
    first = make_result(fits=[{"split": "1", "has_converged": True}], cost=100.0)
    other = make_result(fits=[{"split": "1", "has_converged": False}], cost=1.0, **{"fits, the pixels": []})
    [line] = [one.in_words() for one in compare_results({"a": first, "b": other}).protocol]
    assert line == "cost: 100.0 against 1.0"


def test_the_same_archive_in_another_place_is_the_same():
    files = {"annotations": {"path": "/a/list.csv", "sha256": "1"}}
    first = make_result(hits=WORSE, folder="/data/here/videos", files=files)
    second = make_result(hits=BETTER, folder="/mnt/other", files=files)
    [one, _] = compare_results({"a": first, "b": second}).differences
    assert one.found.num_units == 8
    assert one.found.difference == pytest.approx(0.5)


@pytest.mark.parametrize("hashes", [("1", "2"), (None, None), ("1", None)])
def test_clips_of_like_names_in_other_archives_are_not_the_same(hashes):
    first, second = (
        make_result(folder=folder, files={"annotations": {"path": "/list.csv", "sha256": sha256}})
        for folder, sha256 in zip(("/data/lsmdc", "/mnt/msrvtt"), hashes, strict=True)
    )
    with pytest.raises(NarravidError, match="no unit in common"):
        compare_results({"a": first, "b": second})
    with pytest.raises(NarravidError, match="no unit in common"):
        compare_results({"a": make_result(folder="/data"), "b": make_result(folder="/mnt")})


def test_relative_names_are_taken_as_they_are():
    files = {"annotations": {"path": "/list.csv", "sha256": "1"}}
    results = {folder: make_result(folder=folder, files=files) for folder in ("train", "test")}
    with pytest.raises(NarravidError, match="no unit in common"):
        compare_results(results)


def test_parts_of_one_archive_in_two_places_are_not_mixed_up():
    files = {"annotations": {"path": "/list.csv", "sha256": "1"}}

    def with_part(root: str, there: str, missing: str) -> BenchmarkResult:
        units = tuple(f"{root}/{there}/{number}.mp4" for number in range(3))
        measure = Measure.of("R@1", Outcomes("mean", np.ones(3), units), kind="share")
        absent = tuple(MissingItem(f"{root}/{missing}/{number}", "no such file") for number in range(3))
        return BenchmarkResult("b", "T", (measure,), {}, {"files": files}, Coverage("items", 6, 3, absent))

    first, same = with_part("/data", "one", "two"), with_part("/mnt/other", "one", "two")
    assert compare_results({"a": first, "b": same}).differences[0].found.num_units == 3
    with pytest.raises(NarravidError, match="no unit in common"):
        compare_results({"a": first, "b": with_part("/mnt/other", "two", "one")})


def test_a_part_of_the_benchmark_is_compared_on_that_part():
    first = make_result(hits=WORSE)
    second = make_result(hits=BETTER[:4])
    [one, _] = compare_results({"a": first, "b": second}).differences
    assert one.found.num_units == 4
    assert one.found.difference == pytest.approx(1.0 - 0.5)


def test_further_numbers_are_compared_when_asked_for():
    results = {"a": make_result(hits=WORSE), "b": make_result(hits=BETTER)}
    assert len(compare_results(results).differences) == 2
    names = [one.measure for one in compare_results(results, further=True).differences]
    assert names == ["R@1", "MedR", "video to text: R@1"]


def with_units(*units: str, statistic: str = "mean") -> BenchmarkResult:
    outcomes = Outcomes(statistic, np.ones(len(units)), units)
    measure = Measure.of("R@1", outcomes, kind="share")
    return BenchmarkResult("msrvtt", "T", (measure,), {}, {}, Coverage("items", len(units), len(units)))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(NarravidError, match="at least two"):
        compare_results({"a": make_result()})
    with pytest.raises(NarravidError, match="b is a result of lsmdc, a one of msrvtt"):
        compare_results({"a": make_result(), "b": make_result(benchmark="lsmdc")})
    with pytest.raises(NarravidError, match="R@1 of a and b cannot be compared: .*no unit in common"):
        compare_results({"a": with_units("x", "y"), "b": with_units("u", "v")})
    with pytest.raises(NarravidError, match="of one kind"):
        compare_results({"a": with_units("x"), "b": with_units("x", statistic="median")})
    with pytest.raises(NarravidError, match="no unit in common"):
        compare_results({"a": with_units("/x/1", "2"), "b": with_units("/y/1", "3")})
