"""The types that travel between layers refuse what does not fit together."""

from __future__ import annotations

import pytest
import torch

from narravid.types import VideoAlignment

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
