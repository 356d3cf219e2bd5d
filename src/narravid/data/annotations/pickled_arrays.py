"""NumPy arrays and numbers as they lie in a pickle, put together here and not by NumPy.

NumPy rebuilds an array from a state that it trusts: a forged one can claim elements that are not there. These
stand-ins record the state only; `PickledArray.to_list` checks it against the bytes that came with it.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

__all__ = ["PickledArray", "PickledDataType", "array_from_buffer", "empty_array", "number_from_bytes"]

_PLAIN_TYPE = re.compile(r"b1|[iu][1248]|f[248]|[US][1-9]\d{0,6}")
"""Truth values, whole and real numbers, and texts; no dates, records or objects."""


class PickledDataType:
    """Stands in for `numpy.dtype`.

    Args:
        name: Such as `f8`, `U12`, or `O8` for Python objects.
        _: What NumPy passes as well: whether to align and to copy.
    """

    __slots__ = ("_byte_order", "_name")

    def __init__(self, name: object, *_: object) -> None:
        self._name = name.decode("ascii") if isinstance(name, bytes) else name
        self._byte_order: object = "|"

    def set_state(self, state: Any) -> None:  # noqa: ANN401 - whatever the file holds
        """Take the byte order, the second entry of NumPy's state."""
        order = state[1]
        self._byte_order = order.decode("ascii") if isinstance(order, bytes) else order

    @property
    def holds_objects(self) -> bool:
        """Whether the elements are Python objects."""
        return self._name in ("O", "O8", "O4")

    def to_numpy(self) -> np.dtype[Any]:
        """The type of the elements.

        Raises:
            ValueError: If they are no numbers and no texts.
        """
        name, order = self._name, self._byte_order
        if not (isinstance(name, str) and _PLAIN_TYPE.fullmatch(name) and order in ("<", ">", "|", "=")):
            raise ValueError("an array of neither numbers nor texts")
        return np.dtype(f"{order}{name}")


class PickledArray:
    """Stands in for `numpy.ndarray`: what a pickle says of an array."""

    __slots__ = ("_content", "_shape", "_type")

    def __init__(self) -> None:
        self._shape: object = None
        self._type: object = None
        self._content: object = None

    def set_state(self, state: Any) -> None:  # noqa: ANN401 - whatever the file holds
        """Take NumPy's state: version, shape, type, order, content."""
        _, self._shape, self._type, _, self._content = state

    def __len__(self) -> int:
        """Elements that it claims to have; they are counted when it is turned into a list.

        Raises:
            ValueError: If it does not have one dimension.
        """
        shape = self._shape
        if not (isinstance(shape, tuple) and len(shape) == 1 and type(shape[0]) is int):
            raise ValueError("an array that has not one dimension")
        if not 0 <= shape[0] < 2**62:
            raise ValueError("an array of a length that cannot be")
        return shape[0]

    def to_list(self) -> list[Any]:
        """The elements as Python values.

        Raises:
            ValueError: If it has other than one dimension, holds neither numbers nor texts nor objects, or
                not as many elements as it claims.
        """
        kind, content = self._type, self._content
        if not isinstance(kind, PickledDataType):
            raise ValueError("an array without a type")
        if kind.holds_objects:
            if not isinstance(content, list) or len(content) != len(self):
                raise ValueError(f"an array of {len(self)} objects that are not there")
            return content
        dtype = kind.to_numpy()
        if not isinstance(content, bytes | bytearray) or len(content) != len(self) * dtype.itemsize:
            raise ValueError(f"an array of {len(self)} elements that are not there")
        elements: list[Any] = np.frombuffer(content, dtype).tolist()
        return elements


def empty_array(*_: object) -> PickledArray:
    """Stands in for `numpy.core.multiarray._reconstruct`: an array whose state follows."""
    return PickledArray()


def array_from_buffer(*parts: object) -> PickledArray:
    """Stands in for `numpy.core.numeric._frombuffer`, which takes content, type, shape and order."""
    content, kind, shape, _ = parts
    array = PickledArray()
    array.set_state((1, shape, kind, False, content))
    return array


def number_from_bytes(kind: object, content: object) -> Any:  # noqa: ANN401 - a number of any kind
    """Stands in for `numpy.core.multiarray.scalar`.

    Returns:
        The number as Python's.

    Raises:
        ValueError: If it is no number, or has not as many bytes as its type.
    """
    dtype = kind.to_numpy() if isinstance(kind, PickledDataType) else None
    if dtype is None or dtype.kind in "US":
        raise ValueError("a NumPy number of a type that is none")
    if not isinstance(content, bytes) or len(content) != dtype.itemsize:
        raise ValueError("a NumPy number that has not as many bytes as its type")
    return np.frombuffer(content, dtype)[0].item()
