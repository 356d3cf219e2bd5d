from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from narravid.training.curves import MAX_BUCKETS, Curve, draw_curves


def test_curves_are_drawn_for_every_metric_and_none_without_any(tmp_path):
    draw_curves([], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    entries = [{"event": "train", "step": step, "loss": 1 / step, "seconds": 1.0} for step in range(1, 60)]
    draw_curves(entries, tmp_path / "one.png")
    entries += [{"event": "evaluation", "step": 59, "R@1": 0.5, "MedR": None}]
    draw_curves(entries, tmp_path / "two.png")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert two.width > one.width
        colours = one.convert("RGB").getcolors(maxcolors=10**6)
    assert colours is not None
    assert len(colours) > 10


@given(
    points=st.lists(st.tuples(st.integers(0, 10_000), st.floats(-1e3, 1e3)), min_size=1, max_size=60),
    scale=st.sampled_from([1, 7, 1000]),
    max_buckets=st.sampled_from([1, 2, 7, 400]),
)
def test_a_curve_keeps_its_extremes_and_its_sum(points, scale, max_buckets):
    curve = Curve(max_buckets=max_buckets)
    for step, value in points:
        curve.add(step * scale, value)
    buckets = curve.buckets()
    assert len(buckets) <= max_buckets
    assert sum(bucket.count for bucket in buckets) == len(points)
    assert math.fsum(bucket.total for bucket in buckets) == pytest.approx(
        math.fsum(value for _, value in points), abs=1e-6
    )
    assert min(bucket.lowest for bucket in buckets) == min(value for _, value in points)
    assert max(bucket.highest for bucket in buckets) == max(value for _, value in points)
    assert buckets[0].first_step == min(step for step, _ in points) * scale
    assert buckets[-1].last_step == max(step for step, _ in points) * scale
    assert all(left.last_step < right.first_step for left, right in pairwise(buckets))


def test_a_short_curve_keeps_every_point_and_a_long_one_as_many_as_a_panel_can_show():
    short = Curve()
    for step in range(10, 10 * MAX_BUCKETS + 1, 10):
        short.add(step, step / 2)
    assert [(bucket.middle, bucket.mean) for bucket in short.buckets()] == [
        (step, step / 2) for step in range(10, 10 * MAX_BUCKETS + 1, 10)
    ]
    long = Curve()
    for step in range(20_000):
        long.add(step, 100.0 if step == 12_345 else step % 2)
    buckets = long.buckets()
    # 20,000 steps in stretches of 64: the first power of two that leaves no more than 400 of them.
    assert len(buckets) == math.ceil(20_000 / 64)
    assert [(b.lowest, b.mean, b.highest) for b in buckets[:3]] == [(0, 0.5, 1)] * 3
    (peak,) = [bucket for bucket in buckets if bucket.highest == 100.0]
    assert peak.first_step <= 12_345 <= peak.last_step


def colours_of(path):
    with Image.open(path) as picture:
        counts = picture.convert("RGB").getcolors(maxcolors=10**6)
        return picture.size, {colour for _, colour in counts}


BLUE, ORANGE = (31, 119, 180), (255, 127, 14)


def test_validation_and_training_of_one_name_share_a_panel(tmp_path):
    train = [{"event": "train", "step": step, "loss": 1 / step} for step in range(1, 9)]
    draw_curves(train, tmp_path / "train.png")
    draw_curves([*train, {"event": "evaluation", "step": 8, "loss": 0.5}], tmp_path / "both.png")
    draw_curves([*train, {"event": "evaluation", "step": 8, "R@1": 0.5}], tmp_path / "two.png")
    (train_size, train_colours), (both_size, both_colours), (two_size, two_colours) = (
        colours_of(tmp_path / f"{name}.png") for name in ("train", "both", "two")
    )
    assert train_size == both_size
    assert two_size[0] > train_size[0]
    assert ORANGE in both_colours
    assert ORANGE not in train_colours | two_colours
    assert BLUE in train_colours


def test_rates_are_drawn_but_neither_places_nor_what_is_no_number(tmp_path):
    entry = {"event": "train", "step": 1, "epoch": 0, "loss": 1.0, "seconds": 2.0, "note": "x", "flag": True}
    draw_curves([entry], tmp_path / "one.png")
    draw_curves([{**entry, "lr": 0.1, "clips_per_second": 3.0}], tmp_path / "three.png")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "three.png") as three:
        assert three.width == pytest.approx(3 * one.width, abs=2)


def test_an_iterator_and_a_log_of_holes_are_drawn(tmp_path):
    entries = ({"event": "train", "step": step, "loss": None if step % 2 else 2.0} for step in range(60))
    draw_curves(entries, tmp_path / "curves.png")
    assert BLUE in colours_of(tmp_path / "curves.png")[1]
