"""Configurations to JSON and back."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from narravid.config import check_choices, from_dict, to_dict
from narravid.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    sizes: tuple[int, ...] = (1, 2)
    note: str | None = None

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ValueError("sizes must not be empty")


def test_round_trip() -> None:
    config = Outer(Inner(0.5, "b"), (3,), "x")
    data = to_dict(config)
    assert data == {"inner": {"rate": 0.5, "kind": "b"}, "sizes": [3], "note": "x"}
    assert from_dict(Outer, data, source="test") == config
    assert from_dict(Outer, {}, source="test") == Outer()


def test_choices_are_checked_against_the_annotation() -> None:
    check_choices(Inner(kind="b"))
    with pytest.raises(ValueError, match="kind must be one of 'a', 'b', got 'c'"):
        check_choices(Inner(kind="c"))  # type: ignore[arg-type]


def test_unknown_keys_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"run.json: unknown key 'inner.rat' \(did you mean 'rate'\?\)"):
        from_dict(Outer, {"inner": {"rat": 1}}, source="run.json")
    with pytest.raises(ConfigError, match="unknown key 'x'"):
        from_dict(Outer, {"x": 1}, source="run.json")


@dataclass(frozen=True)
class Shelf:
    optional: Inner | None = None
    many: tuple[Inner, ...] = ()
    pair: tuple[int, Inner] = (1, Inner())
    named: dict[str, Inner] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"optional": {"rat": 1}}, "optional.rat"),
        ({"many": [{}, {"rat": 1}]}, "many.1.rat"),
        ({"pair": [1, {"rat": 1}]}, "pair.1.rat"),
    ],
)
def test_unknown_keys_are_refused_wherever_a_dataclass_lies(data: dict, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"run.json: unknown key '{key}' \(did you mean 'rate'\?\)"):
        from_dict(Shelf, data, source="run.json")
    shelf = Shelf(Inner(), (Inner(0.2),), (2, Inner(0.3)), {"x": Inner(0.4)})
    assert from_dict(Shelf, to_dict(shelf), source="run.json") == shelf


@pytest.mark.parametrize(
    ("data", "key"),
    [({"inner": {"kind": "c"}}, "inner.kind"), ({"sizes": ["a"]}, "sizes.0"), ({"note": 3}, "note")],
)
def test_wrong_values_name_the_key(data: dict, key: str) -> None:
    with pytest.raises(ConfigError, match=f"run.json: {key}"):
        from_dict(Outer, data, source="run.json")


def test_what_the_dataclass_refuses_is_told() -> None:
    with pytest.raises(ConfigError, match="sizes must not be empty"):
        from_dict(Outer, {"sizes": []}, source="run.json")
