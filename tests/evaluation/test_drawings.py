"""Pictures that are drawn when they are asked for, once."""

from __future__ import annotations

import pytest

from narravid.evaluation.drawings import Drawings


def test_each_is_drawn_once_and_only_if_it_is_wanted():
    drawn = []

    def draw(name: str) -> bytes:
        drawn.append(name)
        return name.encode()

    drawings = Drawings({name: lambda name=name: draw(name) for name in ("first", "second")})
    assert list(drawings) == ["first", "second"]
    assert len(drawings) == 2
    assert drawn == []
    assert drawings["second"] == drawings["second"] == b"second"
    assert drawn == ["second"]
    assert dict(drawings) == {"first": b"first", "second": b"second"}
    assert drawn == ["second", "first"]
    with pytest.raises(KeyError):
        drawings["third"]
