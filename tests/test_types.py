"""The types that travel between layers refuse what does not fit together."""

from __future__ import annotations

import pytest
import torch

from narravid.types import SpreadFrames, VideoAlignment

SHAPES = {
    "dual": (2, 1, 9, 4),
    "joint": (2, 3, 9, 4),
    "alignability_dual": (2, 4),
    "alignability_joint": (2, 3, 4),
}


def alignment(**changes: tuple[int, ...] | None) -> VideoAlignment:
    shapes = {**SHAPES, **changes}
    return VideoAlignment(**{n: None if s is None else torch.zeros(s) for n, s in shapes.items()})


def test_an_alignment_with_and_without_alignability():
    assert alignment().alignability_joint.shape == (2, 3, 4)
    assert alignment(alignability_dual=None, alignability_joint=None).alignability_dual is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"dual": (2, 9, 4)}, r"must be \(B, layers, T, N\)"),
        ({"dual": (1, 1, 9, 4)}, "agree in B, T and N"),
        ({"joint": (2, 3, 8, 4)}, "agree in B, T and N"),
        ({"alignability_dual": None}, "or absent"),
        ({"alignability_dual": (2, 4, 1)}, r"must be \[\(2, 4\), \(2, 3, 4\)\]"),
        ({"alignability_joint": (2, 1, 4)}, r"got \[\(2, 4\), \(2, 1, 4\)\]"),
    ],
)
def test_an_alignment_whose_shapes_disagree_is_refused(changes, named):
    with pytest.raises(ValueError, match=named):
        alignment(**changes)


def test_frames_of_a_video_know_how_many_are_repeated():
    frames = torch.zeros(4, 8, 6, 3, dtype=torch.uint8)
    spread = SpreadFrames(frames, (0, 1, 1, 2), (0.0, 0.1, 0.1, 0.2), 3)
    assert spread.num_repeated == 1


@pytest.mark.parametrize(
    ("shape", "dtype", "numbers", "times", "message"),
    [
        ((2, 8, 6), torch.uint8, 2, 2, r"frames must be \(n, H, W, 3\) uint8, got \(2, 8, 6\)"),
        ((2, 8, 6, 3), torch.float32, 2, 2, "got .* torch.float32"),
        ((2, 8, 6, 3), torch.uint8, 3, 2, "2 frames need as many numbers and times, got 3 and 2"),
        ((2, 8, 6, 3), torch.uint8, 2, 1, "2 frames need as many numbers and times, got 2 and 1"),
    ],
)
def test_frames_of_a_video_that_do_not_fit_are_refused(shape, dtype, numbers, times, message):
    with pytest.raises(ValueError, match=message):
        SpreadFrames(torch.zeros(shape, dtype=dtype), tuple(range(numbers)), (0.0,) * times, 9)
