"""Tables of groups by name."""

from __future__ import annotations

import numpy as np
import pytest

from narravid.inference.trajectory_groups import group_labels, group_table


def test_groups_need_not_stand_side_by_side():
    rng = np.random.default_rng(5)
    scores = rng.standard_normal((6, 5)).astype(np.float32)
    rows, columns = list("abacba"), list("pqqpr")
    for deviation, freedom in (("population", 0), ("sample", 1)):
        table = group_table(scores, (rows, columns), deviation=deviation)
        assert table.trajectory_groups == ("a", "b", "c")
        assert table.prompt_groups == ("p", "q", "r")
        for i, row in enumerate("abc"):
            for j, column in enumerate("pqr"):
                cells = [
                    float(scores[v, p])
                    for v in range(6)
                    for p in range(5)
                    if (rows[v], columns[p]) == (row, column)
                ]
                assert table.num_pairs[i, j] == len(cells)
                assert table.mean[i, j] == pytest.approx(np.mean(cells))
                spread = np.std(cells, ddof=freedom) if len(cells) > 1 else 0
                assert table.std[i, j] == pytest.approx(spread)
        assert (table.normalised, table.deviation) == (False, deviation)


def test_normalising_goes_over_all_videos_before_they_are_grouped():
    scores = np.float32([[1, 7], [3, 7], [5, 7]])
    table = group_table(scores, (["a", "b", "a"], ["p", "q"]), normalise=True)
    assert table.mean == pytest.approx(np.array([[0, 0], [0, 0]]))  # of -1.22 and 1.22; 0; equal scores
    assert table.std == pytest.approx(np.array([[1.5**0.5, 0], [0, 0]]))
    assert table.normalised


def test_every_row_and_column_needs_a_group():
    with pytest.raises(
        ValueError, match=r"scores of 2 trajectories and 1 prompts have another shape: \(1, 1\)"
    ):
        group_table(np.zeros((1, 1), np.float32), (["a", "b"], ["p"]))


def test_what_has_no_group_is_never_taken_for_one_of_a_group():
    items = [
        ("door", "1"),
        (None, "door"),
        (None, "door (alone)"),
        (None, "lid"),
        ("door", "lid"),
        ("lid", "2"),
    ]
    assert group_labels(items) == [
        "door",
        "door (alone)",
        "door (alone) (alone)",
        "lid (alone)",
        "door",
        "lid",
    ]
    assert group_labels([(None, "a"), (None, "b")]) == ["a", "b"]
