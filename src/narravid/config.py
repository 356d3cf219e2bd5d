"""Typed configurations: frozen dataclasses, saved as JSON and read back without guessing.

One mechanism for recipes and models alike. Unknown keys are refused with the nearest valid one, values are
checked against the annotations of the dataclass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import pydantic

from narravid.errors import ConfigError

__all__ = ["check_choices", "from_dict", "to_dict"]

ConfigT = TypeVar("ConfigT")


def to_dict(config: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass instance
    """The configuration as plain JSON types.

    Args:
        config: A dataclass instance, nested ones included.

    Returns:
        A dictionary of numbers, strings, lists, dictionaries and None.
    """
    result: dict[str, Any] = pydantic.TypeAdapter(type(config)).dump_python(config, mode="json")
    return result


def from_dict(cls: type[ConfigT], data: Mapping[str, Any], *, source: str) -> ConfigT:
    """Build a configuration from a dictionary.

    Args:
        cls: The dataclass to build.
        data: Its fields, nested dataclasses as dictionaries.
        source: Where the data comes from; named in errors.

    Returns:
        An instance of `cls`.

    Raises:
        ConfigError: If a key is unknown or a value does not fit its annotation.
    """
    _refuse_unknown(cls, data, source, prefix="")
    try:
        return pydantic.TypeAdapter(cls).validate_python(data)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{source}: {key}: {first['msg']}, got {first['input']!r}", key=key) from error


def check_choices(config: Any) -> None:  # noqa: ANN401 - any dataclass instance
    """Make sure that every field annotated with a `Literal` holds one of its values; for `__post_init__`.

    A configuration written in Python is not checked by its annotations, and a misspelt choice would fall
    through to whatever stands last.

    Raises:
        ValueError: If one does not; names the field, its value and the choices.
    """
    for name, hint in get_type_hints(type(config)).items():
        if get_origin(hint) is Literal and getattr(config, name) not in get_args(hint):
            choices = ", ".join(repr(choice) for choice in get_args(hint))
            raise ValueError(f"{name} must be one of {choices}, got {getattr(config, name)!r}")


def _refuse_unknown(cls: type, data: Mapping[str, Any], source: str, *, prefix: str) -> None:
    names = [field.name for field in dataclasses.fields(cls)]
    hints = get_type_hints(cls)
    for key, value in data.items():
        dotted = f"{prefix}{key}"
        if key not in names:
            raise ConfigError(f"{source}: unknown key {dotted!r}", key=dotted, valid=names)
        _refuse_unknown_within(hints[key], value, source, place=dotted)


def _refuse_unknown_within(hint: Any, value: Any, source: str, *, place: str) -> None:  # noqa: ANN401
    """Look into dataclasses in a field: alone, optional, or in a tuple or list."""
    arguments = [argument for argument in get_args(hint) if argument is not type(None)]
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        _refuse_unknown(hint, value, source, prefix=f"{place}.")
    elif get_origin(hint) in (Union, UnionType) and len(arguments) == 1:
        _refuse_unknown_within(arguments[0], value, source, place=place)
    elif get_origin(hint) in (tuple, list) and isinstance(value, list | tuple):
        for index, item in enumerate(value):
            own = arguments[index] if index < len(arguments) and Ellipsis not in arguments else arguments[0]
            _refuse_unknown_within(own, item, source, place=f"{place}.{index}")
