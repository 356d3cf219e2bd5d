"""Pictures of results: what is drawn where, and what cannot be drawn."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from narravid.evaluation.pictures import confusion_matrix, rank_histogram, score_timeline
from narravid.evaluation.result_pictures import _most_confused
from narravid.types import Span


def pixels(data: bytes) -> np.ndarray:
    assert data.startswith(b"\x89PNG")
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def count(picture: np.ndarray, colour: str) -> int:
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return int((np.abs(picture - wanted).max(axis=2) <= 3).sum())


def test_bars_of_ranks_are_as_large_as_the_shares():
    all_first = pixels(rank_histogram(np.ones(50), gallery_size=100))
    all_last = pixels(rank_histogram(np.full(50, 100.0), gallery_size=100))
    half = pixels(rank_histogram(np.repeat([1.0, 100.0], 25), gallery_size=100))
    blue = [count(picture, "#1f6fb2") for picture in (all_first, all_last, half)]
    assert blue[0] == pytest.approx(blue[1], rel=0.1)
    assert blue[2] == pytest.approx(blue[0], rel=0.15)
    _, columns = np.nonzero((np.abs(all_first - [0x1F, 0x6F, 0xB2]).max(axis=2) <= 3)[60:])
    assert columns.max() < all_first.shape[1] / 3  # the first bar is on the left


def test_ranks_outside_the_gallery_are_refused():
    for ranks in ([], [0.5], [11.0]):
        with pytest.raises(ValueError, match="from 1 to gallery_size=10"):
            rank_histogram(np.array(ranks), gallery_size=10)
    assert pixels(rank_histogram(np.array([1.0]), gallery_size=1)).size


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [2, 41, 400])
def test_a_matrix_of_any_size_shows_its_diagonal(num_classes):
    labels = [f"a class of things ${number}" for number in range(num_classes)]
    picture = pixels(confusion_matrix(7 * np.eye(num_classes, dtype=int), labels=labels))
    assert max(picture.shape) < 2200
    matrix = picture[:, : int(0.6 * picture.shape[1])]  # without the scale of colours beside it
    dark = count(matrix, "#08306b")  # 100 % of the row
    side = np.sqrt(num_classes * dark)
    assert 250 < side < picture.shape[0]  # C dark cells of (side / C)² pixels


def test_classes_without_items_and_names_are_drawn():
    labels = [f"class {number}" for number in range(16)]
    assert (
        count(pixels(confusion_matrix(np.zeros((16, 16), dtype=int), labels=labels))[:, :400], "#08306b") == 0
    )


def test_classes_without_items_are_not_counted_as_wrong():
    shares = np.diag([100.0, 50.0, 0.0])
    shares[1, 0] = 50.0
    words = _most_confused(shares, ["a", "b", "c"])
    assert words.startswith("3 classes (1 without items), 75.0 % right on average\n")
    assert "50 %  b → a" in words
    assert _most_confused(np.zeros((2, 2)), ["a", "b"]).startswith(
        "2 classes (2 without items), none of them"
    )


def test_a_matrix_that_does_not_fit_its_labels_is_refused():
    with pytest.raises(ValueError, match="does not fit 3 labels"):
        confusion_matrix(np.eye(2, dtype=int), labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="does not fit 0 labels"):
        confusion_matrix(np.zeros((0, 0), dtype=int), labels=[])


def test_a_timeline_marks_what_was_chosen_in_its_row():
    scores = np.zeros((3, 50))
    scores[1, 10] = np.nan

    spans = [[Span(5, 10)], [], [Span(0, 3), Span(20, 30)]]

    def marks(chosen):
        picture = pixels(
            score_timeline(scores, row_labels=["a", "b", "c"], true_spans=spans, chosen_seconds=chosen)
        )
        area = picture[60:]  # below the legend
        rows, columns = np.nonzero(np.abs(area - [0xFF, 0x5A, 0x36]).max(axis=2) <= 3)
        return rows, columns / picture.shape[1]

    rows, columns = marks([40.0, None, 20.0])
    left, right = columns < columns.mean(), columns >= columns.mean()
    assert rows[right].mean() + 40 < rows[left].mean()  # the first row is above, the second lies between
    scale = (columns[right].mean() - columns[left].mean()) / 20
    assert columns[left].mean() - 20 * scale > 0  # 0 s is in the picture, as is the end
    assert columns[right].mean() + 10 * scale < 1
    assert not len(marks(None)[0])


@pytest.mark.slow
def test_timelines_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        score_timeline(np.zeros((2, 5)), row_labels=["a"], true_spans=[[]])
    with pytest.raises(ValueError, match="do not fit"):
        score_timeline(np.zeros((1, 5)), row_labels=["a"], true_spans=[[]], chosen_seconds=[])
    with pytest.raises(ValueError, match="do not fit"):
        score_timeline(np.zeros((1, 0)), row_labels=["a"], true_spans=[[]])
    nothing = score_timeline(np.full((1, 5), np.nan), row_labels=["a $x"], true_spans=[[]], title="$ 5")
    assert pixels(nothing).size
    many = score_timeline(np.zeros((90, 5)), row_labels=["a"] * 90, true_spans=[[]] * 90)
    assert pixels(many).shape[0] < 3000
