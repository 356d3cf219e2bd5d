"""Position vectors: the sine table, rows of a table, stretched ones, and random first positions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narravid.models.positions import draw_position_start, position_rows, sine_positions


def test_sine_table_against_the_formula():
    table = sine_positions(9, 6)
    expected = np.empty((9, 6))
    for position in range(9):
        for column in range(6):
            angle = position / 8 * 2 * math.pi / 10000 ** (2 * (column // 2) / 6)
            expected[position, column] = math.cos(angle) if column % 2 else math.sin(angle)
    np.testing.assert_allclose(table.numpy(), expected, atol=2e-6)  # float32 angles up to 2π
    assert table.dtype == torch.float32


def test_a_single_sine_position_is_zero_degrees():
    assert torch.equal(sine_positions(1, 4), torch.tensor([[0.0, 1.0, 0.0, 1.0]]))


@pytest.mark.parametrize(("num_positions", "dim"), [(0, 4), (3, 5), (3, 0)])
def test_impossible_sine_tables_are_refused(num_positions, dim):
    with pytest.raises(ValueError, match=f"{num_positions} x {dim}"):
        sine_positions(num_positions, dim)


def test_rows_are_taken_from_the_start(generator):
    table = torch.randn(10, 3, generator=generator)
    assert torch.equal(position_rows(table, 4), table[:4])
    assert torch.equal(position_rows(table, 4, start=6), table[6:])
    assert position_rows(table, 0).shape == (0, 3)


@pytest.mark.parametrize(("length", "start"), [(11, 0), (4, 7), (1, -1)])
def test_rows_beyond_the_table_are_refused_with_the_way_out(length, start):
    with pytest.raises(ValueError, match=rf"{length} steps from position {start} .* 10 .*interpolate_from"):
        position_rows(torch.zeros(10, 3), length, start=start)


@pytest.mark.parametrize(("source", "length"), [(4, 10), (10, 4), (1, 5), (6, 6)])
def test_stretching_is_linear_between_centres_of_equal_cells(generator, source, length):
    table = torch.randn(10, 3, generator=generator)
    rows = position_rows(table, length, interpolate_from=source)
    centres = (np.arange(length) + 0.5) * source / length - 0.5
    expected = [np.interp(centres, np.arange(source), table[:source, column].numpy()) for column in range(3)]
    np.testing.assert_allclose(rows.numpy(), np.stack(expected, axis=1), atol=1e-6)  # float32 weights


def test_stretching_over_nothing_gives_nothing():
    assert position_rows(torch.zeros(10, 3), 0, interpolate_from=4).shape == (0, 3)


@pytest.mark.parametrize("source", [0, 11, -1])
def test_stretching_from_outside_the_table_is_refused(source):
    with pytest.raises(ValueError, match=rf"interpolate_from must be in \[1, 10\], got {source}"):
        position_rows(torch.zeros(10, 3), 5, interpolate_from=source)


@given(length=st.integers(1, 40), spare=st.integers(0, 40), seed=st.integers(0, 1000))
def test_a_random_start_is_below_half_the_length_and_fits(length, spare, seed):
    start = draw_position_start(length, length + spare, generator=torch.Generator().manual_seed(seed))
    assert 0 <= start <= max(0, length // 2 - 1)
    assert start + length <= length + spare


def test_every_start_is_drawn_and_none_without_a_generator(generator):
    assert {draw_position_start(10, 100, generator=generator) for _ in range(200)} == set(range(5))
    assert {draw_position_start(10, 12, generator=generator) for _ in range(200)} == {0, 1, 2}
    assert draw_position_start(10, 100, generator=None) == 0
