"""Pictures of trajectories' scores: what is drawn where, at which size, and what cannot be drawn."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from made_scores import made_timeline
from narravid.evaluation.heat_map_layout import lay_out
from narravid.evaluation.timeline_picture import _columns, _with_gaps
from narravid.evaluation.trajectory_pictures import (
    group_bars,
    reward_scatter,
    score_heat_map,
    timeline_picture,
)
from narravid.inference.trajectory_groups import group_table

ROOT = Path(__file__).resolve().parents[2]
FRAME, BLUE, ORANGE = "#e4572e", "#1f6fb2", "#d9822b"
DOT = "#629ac9"  # 0.7 of the blue
YELLOW, VIOLET = "#fde725", "#440154"
LONG = (
    "a robot arm reaches over the table, takes hold of the handle of the upper drawer with two fingers and "
    "pulls it until the drawer is wide open"
)
WORDS = ("$x_1$ and $5", "机器人打开抽屉 🤖", "الروبوت يفتح", "_begins so", "a\tb\n\x00c", "\udcff")


def pixels(data: bytes) -> np.ndarray:
    assert data.startswith(b"\x89PNG")
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def found(picture: np.ndarray, colour: str) -> np.ndarray:
    """(H, W) where that colour is."""
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return np.abs(picture - wanted).max(axis=2) <= 6


def centre(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(rows.mean()), float(columns.mean())


def names(count: int, kind: str = "trajectory") -> list[str]:
    return [f"{kind} {number}" for number in range(count)]


# ---------------------------------------------------------------- heat map


def test_the_highest_score_is_yellow_framed_and_where_it_belongs():
    scores = np.array([[0.1, 0.1, 0.1], [0.1, 0.1, 0.4]])
    picture = pixels(score_heat_map(scores, names(2), names(3, "prompt")))
    inner = picture[:, : int(0.85 * picture.shape[1])]  # without the scale of colours
    row, column = centre(found(inner, YELLOW))
    violet = np.nonzero(found(inner, VIOLET))
    assert row > np.mean(violet[0])
    assert column > np.mean(violet[1])
    frame = np.nonzero(found(inner, FRAME))
    assert frame[0].min() < row < frame[0].max()
    assert frame[1].min() < column < frame[1].max()
    # one frame alone, of one cell: the first row has no best prompt
    assert np.ptp(frame[0]) < 0.75 * np.ptp(violet[0])


def test_equal_scores_are_drawn_without_a_best_one():
    picture = pixels(score_heat_map(np.full((2, 2), 0.25), names(2), names(2)))
    assert not found(picture, FRAME).any()


@pytest.mark.parametrize(("num_rows", "num_columns"), [(1, 1), (1, 5), (7, 1), (2, 2), (12, 8), (101, 3)])
def test_any_size_is_drawn_and_nothing_is_cut_off(num_rows: int, num_columns: int):
    scores = np.linspace(-0.3, 0.4, num_rows * num_columns).reshape(num_rows, num_columns)
    picture = pixels(score_heat_map(scores, names(num_rows), [LONG] * num_columns, title=LONG))
    assert max(picture.shape) <= 2400
    assert_white_margin(picture)


@pytest.mark.parametrize("label", ["cosine similarity", "score, original with α = 1", LONG])
@pytest.mark.parametrize("num_rows", [1, 2])
def test_the_words_beside_the_colours_are_whole(num_rows: int, label: str):
    scores = np.linspace(-0.3, -0.29, num_rows)[:, None]
    with_words, without = (
        pixels(score_heat_map(scores, names(num_rows), ["red"], value_label=text)) for text in (label, "")
    )
    assert_white_margin(with_words)
    ink = (with_words < 128).all(axis=2).sum() - (without < 128).all(axis=2).sum()
    assert ink > 12 * len(label)  # letters of 8 points have more dark pixels than that


def assert_white_margin(picture: np.ndarray) -> None:
    for edge in (picture[:2], picture[-2:], picture[:, :2], picture[:, -2:]):
        assert (edge == 255).all()


@pytest.mark.slow
@pytest.mark.parametrize(("num_rows", "num_columns"), [(60, 40), (600, 300)])
def test_large_sizes_are_drawn_small(num_rows: int, num_columns: int):
    scores = np.random.default_rng(0).normal(0.1, 0.05, (num_rows, num_columns))
    data = score_heat_map(scores, names(num_rows), [LONG] * num_columns)
    assert len(data) < 400_000
    assert 1800 < max(Image.open(io.BytesIO(data)).size) <= 2400


@pytest.mark.slow
def test_the_pictures_of_the_documentation_are_what_is_drawn(tmp_path: Path):
    specification = importlib.util.spec_from_file_location(
        "score_heat_maps", ROOT / "examples/score_heat_maps.py"
    )
    assert specification is not None
    assert specification.loader is not None
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    example.main(tmp_path)
    for name in ("scores_2x2.png", "scores_12x8.png", "scores_60x40.png"):
        drawn, shown = ((folder / name).read_bytes() for folder in (tmp_path, ROOT / "docs"))
        assert pixels(drawn).shape == pixels(shown).shape
        assert np.abs(pixels(drawn) - pixels(shown)).mean() < 1  # of 255; fonts are smoothed differently
        assert len(drawn) < 300_000


@pytest.mark.parametrize(("num_rows", "num_columns"), [(2, 2), (12, 8), (60, 40)])
def test_prompts_of_150_characters_are_whole_and_their_letters_fit_the_cells(num_rows: int, num_columns: int):
    prompt = f"{LONG} and stays open"
    assert len(prompt) >= 150
    layout = lay_out(names(num_rows), [prompt] * num_columns, [["0.123"]], title="", note="")
    assert all(" ".join(lines) == prompt for lines in layout.prompts.lines)
    assert all(lines == [name] for lines, name in zip(layout.names.lines, names(num_rows), strict=True))
    height, width = layout.cell
    assert layout.names.points / 72 < height  # lines of text do not touch
    across = len(layout.prompts.lines[0]) * layout.prompts.points / 72
    assert layout.prompts.upright == (num_columns <= 10)
    if not layout.prompts.upright:
        assert across < width
    # 60 x 40: letters of at least 9 pixels
    assert min(layout.names.points, layout.prompts.points) / 72 * layout.dots_per_inch >= 9


def test_every_cell_is_whole_pixels():
    for shape in ((2, 2), (12, 8), (60, 40), (13, 17)):
        layout = lay_out(names(shape[0]), names(shape[1]), [["0.123"]], title="a title", note="a note")
        for inches in (*layout.cell, layout.left, layout.bottom, layout.width, layout.height):
            dots = inches * layout.dots_per_inch
            assert dots == pytest.approx(round(dots), abs=1e-6)


def test_heat_map_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"\(2, 3\) do not fit 2 names of rows and 2"):
        score_heat_map(np.zeros((2, 3)), names(2), names(2))
    with pytest.raises(ValueError, match="finite"):
        score_heat_map(np.array([[np.nan]]), names(1), names(1))
    with pytest.raises(ValueError, match="finite and at least one"):
        score_heat_map(np.zeros((0, 2)), [], names(2))
    with pytest.raises(ValueError, match="1 rows of 2 texts"):
        score_heat_map(np.zeros((1, 2)), names(1), names(2), cell_texts=[["a"]])


def test_words_of_any_script_are_drawn_without_a_warning():
    scores = np.arange(36.0).reshape(6, 6)
    assert pixels(score_heat_map(scores, WORDS, WORDS, title=WORDS[1], value_label=WORDS[0])).size
    table = group_table(scores.astype(np.float32), (WORDS, WORDS))
    assert pixels(group_bars(table, title=WORDS[1])).size


# ---------------------------------------------------------------- groups


def table_of(means: list[list[float]], **options: bool):
    """Groups of one trajectory and two prompts each, 0.1 below and above the mean."""
    scores = np.repeat(np.array(means, dtype=np.float32), 2, axis=1)
    scores[:, ::2] -= 0.1
    scores[:, 1::2] += 0.1
    rows, columns = names(len(means)), np.repeat(names(len(means[0]), "prompt"), 2).tolist()
    return group_table(scores, (rows, columns), **options)


def test_bars_are_as_long_as_the_means():
    picture = pixels(group_bars(table_of([[0.2, 0.4], [0.6, 0.4]])))
    blue = found(picture, BLUE).sum(axis=1)
    bars = [
        int(part.max()) for part in np.split(blue, np.flatnonzero(np.diff(blue > 50)) + 1) if part.max() > 50
    ]
    assert len(bars) == 2  # one in each cluster; the patch of the legend is smaller
    assert bars[1] / bars[0] == pytest.approx(3, rel=0.06)


def test_negative_means_go_to_the_left():
    rows, columns = np.nonzero(found(pixels(group_bars(table_of([[-0.5], [0.5]]))), BLUE))
    upper = rows < rows.mean()
    assert columns[upper].max() <= columns[~upper].min() + 3


@pytest.mark.slow
@pytest.mark.parametrize(("num_rows", "num_columns"), [(1, 1), (3, 8), (9, 9), (2, 90)])
def test_groups_of_any_number_are_drawn(num_rows: int, num_columns: int):
    means = np.linspace(-0.2, 0.3, num_rows * num_columns).reshape(num_rows, num_columns)
    has_bars = found(pixels(group_bars(table_of(means.tolist()), title="groups")), BLUE).sum() > 500
    assert has_bars == (num_columns <= 8)  # else a heat map


# ---------------------------------------------------------------- over time


def test_lines_break_where_windows_are_missing():
    places, values = _with_gaps(np.array([1.0, 2, 3, 7, 8]), np.arange(5.0)[:, None])
    assert np.isnan(places).tolist() == [False, False, False, True, False, False]
    assert values[:3, 0].tolist() == [0, 1, 2]
    assert np.isnan(values[3, 0])


def test_columns_reach_from_the_first_start_to_the_last_end_and_leave_gaps():
    centres = np.array([1.0, 2, 3, 7, 8])
    edges, columns = _columns(centres, np.arange(5.0)[:, None], (0.0, 9.0))
    assert edges.tolist() == [0, 1.5, 2.5, 3.5, 6.5, 7.5, 9]
    np.testing.assert_array_equal(columns[:, 0], [0, 1, 2, np.nan, 3, 4])
    edges, columns = _columns(np.array([1.0]), np.array([[0.5]]), (0.0, 2.0))
    assert edges.tolist() == [0, 2]
    assert columns.tolist() == [[0.5]]


def test_the_line_of_a_prompt_rises_with_its_score():
    rising = made_timeline([[0.1 * step, 0.3] for step in range(6)], range(6))
    picture = pixels(timeline_picture(rising, title="a video"))
    plot = picture[: int(0.7 * picture.shape[0]), int(0.1 * picture.shape[1]) :]
    rows, columns = np.nonzero(found(plot, BLUE))
    assert np.corrcoef(rows, columns)[0, 1] < -0.9
    assert np.ptp(np.nonzero(found(plot, ORANGE))[0]) < 20


@pytest.mark.slow
@pytest.mark.parametrize(("num_windows", "num_prompts"), [(1, 1), (1, 30), (80, 8), (20, 30)])
def test_timelines_of_any_number_are_drawn(num_windows: int, num_prompts: int):
    scores = np.random.default_rng(0).normal(0.1, 0.05, (num_windows, num_prompts))
    timeline = made_timeline(scores.tolist(), range(num_windows))
    dots = found(pixels(timeline_picture(timeline, title=LONG)), FRAME).sum()
    assert (dots > 0) == (num_prompts > 8)  # the best prompt of each moment, where prompts are rows


def test_a_timeline_of_what_is_no_number_or_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="scores must be finite"):
        timeline_picture(made_timeline([[np.nan]], [0]))
    with pytest.raises(ValueError, match=r"\(1, 2\) do not fit 3 windows"):
        timeline_picture(made_timeline([[0.1, 0.2]], [0, 1, 2]))


# ---------------------------------------------------------------- rewards


def test_dots_grow_with_the_number_of_episodes_at_one_place():
    def width_of_left_dot(rewards: list[float], returns: list[float]) -> int:
        picture = pixels(reward_scatter(np.array(rewards), np.array(returns)))
        _, columns = np.nonzero(found(picture, DOT))
        return int(np.ptp(columns[columns < picture.shape[1] / 2]))

    alone = width_of_left_dot([0.1, 0.9], [1.0, 5.0])
    tied = width_of_left_dot([0.1] * 9 + [0.9], [1.0] * 9 + [5.0])
    assert tied / alone == pytest.approx(3, rel=0.35)  # nine times the area, and a white rim around both


def test_scatter_refuses_what_does_not_fit():
    assert pixels(reward_scatter(np.array([0.1]), np.array([5.0]), title=LONG, note="no correlation $1")).size
    with pytest.raises(ValueError, match="one length"):
        reward_scatter(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="true_return must be finite"):
        reward_scatter(np.zeros(1), np.array([np.nan]))
