"""Features of the toy world: what each part tells, and files in the published layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from narravid.synthetic.features import (
    APPEARANCE_DIM,
    MOVEMENT_DIM,
    appearance_features,
    movement_features,
    write_features,
)
from tiny_corpus import write_colour_videos

HUES = slice(APPEARANCE_DIM - 24, APPEARANCE_DIM - 12)
OUTLINES = slice(APPEARANCE_DIM - 12, APPEARANCE_DIM)
FLOWS = slice(MOVEMENT_DIM - 10, MOVEMENT_DIM)
RIGHT, LEFT, DOWN, UP, OUTWARDS, INWARDS, _, _, BRIGHTER, DARKER = range(10)


def picture(*, left: int = 10, top: int = 10, size: int = 12, colour: int = 0) -> torch.Tensor:
    """A square of one colour on grey, (3, 36, 48)."""
    frame = torch.full((3, 36, 48), 0.4)
    frame[:, top : top + size, left : left + size] = 0.1
    frame[colour, top : top + size, left : left + size] = 0.9
    return frame


def test_hues_are_told_apart_and_scenery_is_passed_over():
    frames = torch.stack([picture(colour=colour) for colour in range(3)])
    hues = appearance_features(frames)[:, HUES]
    assert hues.argmax(dim=1).tolist() == [0, 4, 8]  # red, green and blue on a circle of twelve
    grey = appearance_features(torch.full((1, 3, 36, 48), 0.4))
    assert bool((grey == 0).all())


def test_outlines_of_a_square_point_in_four_directions():
    outlines = appearance_features(picture()[None])[0, OUTLINES]
    assert sorted(outlines.topk(4).indices.tolist()) == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("changes", "largest"),
    [
        ([{"left": 10 + step} for step in range(4)], RIGHT),
        ([{"left": 20 - step} for step in range(4)], LEFT),
        ([{"top": 6 + step} for step in range(4)], DOWN),
        ([{"top": 16 - step} for step in range(4)], UP),
    ],
)
def test_the_direction_of_a_movement_is_told(changes, largest):
    frames = torch.stack([picture(**change) for change in changes])
    assert int(movement_features(frames[None])[0, FLOWS].argmax()) == largest


def test_growing_and_shrinking_are_told():
    growing = torch.stack([picture(left=18 - n, top=14 - n, size=6 + 2 * n) for n in range(4)])
    both = movement_features(torch.stack([growing, growing.flip(0)]))[:, FLOWS]
    assert both[0, OUTWARDS] > 0 == both[0, INWARDS]
    assert both[1, INWARDS] > 0 == both[1, OUTWARDS]
    assert both[0, BRIGHTER] > 0.5
    assert both[1, DARKER] > 0.5
    still = movement_features(growing[:1].expand(4, -1, -1, -1)[None])
    assert bool((still == 0).all())


def test_files_have_the_published_layout_and_are_written_once(tmp_path):
    videos = sorted(write_colour_videos(tmp_path / "videos").glob("*.mp4"))
    write_features(videos, tmp_path / "features")
    blue = {name: np.load(tmp_path / "features" / name / "blue.npy") for name in ("2d", "3d", "seconds")}
    assert {name: (array.shape, array.dtype.name) for name, array in blue.items()} == {
        "2d": ((4, APPEARANCE_DIM), "float16"),
        "3d": ((6, MOVEMENT_DIM), "float16"),
        "seconds": ((4, APPEARANCE_DIM + MOVEMENT_DIM), "float16"),
    }
    assert np.array_equal(blue["seconds"][:, :APPEARANCE_DIM], blue["2d"])
    assert all(np.isfinite(array).all() for array in blue.values())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("features/*/*.npy")}
    assert len(before) == 9
    write_features(videos, tmp_path / "features")
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("features/*/*.npy")}
