"""How facts of a model, a video or an index are laid out as lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["fact_lines"]


def fact_lines(facts: Mapping[str, Any]) -> list[str]:
    """Facts as lines of a name and a value; the fields of a nested one get dotted names."""
    flat: dict[str, Any] = {}
    for key, value in facts.items():
        flat.update(
            {f"{key}.{inner}": item for inner, item in value.items()}
            if isinstance(value, dict)
            else {key: value}
        )
    width = max(map(len, flat))
    return [f"{key:<{width}}  {_text(value)}" for key, value in flat.items()]


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if value is None:
        return "not stated"
    if isinstance(value, list):
        return ", ".join(map(str, value)) if value else "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
