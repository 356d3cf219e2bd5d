"""Reading pickles of plain data without trusting them: nothing that a file names is imported or called.

A pickle is a program for a small machine that may import and call anything. This machine knows only what
plain data needs. Of names it knows a handful, which stand for functions of our own; any other ends the
reading. Memory stays within a multiple of the file's size: lengths are taken from what is there and not from
what is claimed, and keys are such that hashing them takes no time.

The machine is Python's own `pickle._Unpickler`, written in Python, because the faster one in C makes room for
as many remembered objects as a file claims to have (CPython issue 115952).
"""

from __future__ import annotations

import mmap
import pickle
import pickletools
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from narravid.data.annotations.pickled_arrays import (
    PickledArray,
    PickledDataType,
    array_from_buffer,
    empty_array,
    number_from_bytes,
)
from narravid.errors import AnnotationError

__all__ = ["read_plain_pickle"]

REMEDY = (
    "nothing of it was run. If you trust where it comes from, read it with the program that wrote it and save"
    " plain lists as JSON"
)

FAULTS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What a damaged file makes the machine raise."""

# fmt: off
PLAIN_OPCODES = frozenset([
    "MARK", "STOP", "POP", "POP_MARK", "DUP", "PROTO", "FRAME",
    "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4",
    "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST", "EMPTY_LIST", "APPEND", "APPENDS",
    "EMPTY_DICT", "GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE",
    "GLOBAL", "STACK_GLOBAL",
])
# fmt: on
"""Steps that are taken as Python takes them, by the names of `pickletools`."""


MAX_KEY_BITS = 4096
"""Longer numbers are no names, and Python does not write them out."""


class _RefusedError(Exception):
    """The file wants what plain data does not need."""


def read_plain_pickle(path: Path) -> Any:  # noqa: ANN401 - any plain value
    """Read a pickle of plain data.

    Args:
        path: A pickle of any protocol, of Python 2 as well.

    Returns:
        What it holds: None, truth values, numbers, texts, bytes (texts of Python 2 too), lists, tuples and
        dictionaries of these, and one-dimensional NumPy arrays as `PickledArray`. Keys of dictionaries are
        texts or whole numbers.

    Raises:
        AnnotationError: If the file cannot be read, is no pickle or a damaged one, or wants anything else.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _PlainUnpickler(content).load()
    except _RefusedError as error:
        raise AnnotationError(path, f"refused: {error}; {REMEDY}") from error
    except OSError as error:
        raise AnnotationError(path, f"cannot be opened: {error.strerror}") from error
    except FAULTS as error:
        reason = " ".join(str(error).split())[:200]
        raise AnnotationError(
            path, f"no pickle, or a damaged one ({type(error).__name__}: {reason})"
        ) from error


def _latin1_bytes(text: object, encoding: object) -> bytes:
    """Stands in for `_codecs.encode`, through which old protocols write bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise _RefusedError("it wants to encode what is no text")
    return text.encode("latin1")


def _empty_dict(*factory: object) -> dict[Any, Any]:
    """Stands in for kinds of dictionaries."""
    if factory not in ((), (_list_type,)):
        raise _RefusedError("it fills a dictionary in a way that plain data does not need")
    return {}


def _list_type() -> list[Any]:
    """Stands in for `list`, which a dictionary may make new entries with."""
    return []


def _no_bytes() -> bytes:
    """Stands in for `bytes`, through which old protocols write none."""
    return b""


def _array_type(*_: object) -> NoReturn:
    """Stands in for `numpy.ndarray`, which is passed on and never called."""
    raise _RefusedError("it calls numpy.ndarray")


STAND_INS: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": _array_type,
    "numpy.dtype": PickledDataType,
    "numpy.core.multiarray._reconstruct": empty_array,
    "numpy._core.multiarray._reconstruct": empty_array,
    "numpy.core.multiarray.scalar": number_from_bytes,
    "numpy._core.multiarray.scalar": number_from_bytes,
    "numpy.core.numeric._frombuffer": array_from_buffer,
    "numpy._core.numeric._frombuffer": array_from_buffer,
    "_codecs.encode": _latin1_bytes,
    "collections.OrderedDict": _empty_dict,
    "collections.defaultdict": _empty_dict,
    "builtins.list": _list_type,
    "__builtin__.list": _list_type,
    "__builtin__.bytes": _no_bytes,
}
"""What the names stand for that plain data needs."""


def _call(machine: Any) -> None:  # noqa: ANN401 - the base has no public type
    """Call one of the stand-ins."""
    arguments = machine.stack.pop()
    function = machine.stack[-1]
    if not any(function is stand_in for stand_in in STAND_INS.values()):
        raise _RefusedError("it calls what is no function")
    result = function(*arguments)
    if isinstance(result, bytes):  # one text, encoded again and again, could fill the memory
        machine.num_encodable_bytes -= len(result)
        if machine.num_encodable_bytes < 0:
            raise _RefusedError("it encodes more text than it holds")
    machine.stack[-1] = result


def _set_state(machine: Any) -> None:  # noqa: ANN401
    """Hand an array or a type its state."""
    state = machine.stack.pop()
    target = machine.stack[-1]
    if not isinstance(target, PickledArray | PickledDataType):
        raise _RefusedError(f"it sets the state of a {type(target).__name__}")
    target.set_state(state)


def _new_dict(machine: Any) -> None:  # noqa: ANN401
    """Make a dictionary of all since the mark."""
    filled: dict[Any, Any] = {}
    _put(filled, machine.pop_mark())
    machine.append(filled)


def _put_one(machine: Any) -> None:  # noqa: ANN401
    """Put one value into a dictionary."""
    value, key = machine.stack.pop(), machine.stack.pop()
    _put(machine.stack[-1], [key, value])


def _put_several(machine: Any) -> None:  # noqa: ANN401
    """Put all since the mark into a dictionary."""
    items = machine.pop_mark()
    _put(machine.stack[-1], items)


def _put(target: object, items: list[Any]) -> None:
    """Fill a dictionary with keys and values that take turns."""
    if type(target) is not dict or len(items) % 2:
        raise _RefusedError("it fills a dictionary that is none")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, bytes, int):  # a nested tuple takes ages to hash
            raise _RefusedError(f"it has a {type(key).__name__} for a key")
        if type(key) is int and key.bit_length() > MAX_KEY_BITS:
            raise _RefusedError(f"it has a number of more than {MAX_KEY_BITS} bits for a key")
        target[key.decode("utf-8") if type(key) is bytes else key] = value


def _byte_array(machine: Any) -> None:  # noqa: ANN401
    """Read bytes, as many as there are and not as many as are claimed."""
    (num_bytes,) = struct.unpack("<Q", machine.read(8))
    machine.append(bytearray(machine.read(min(num_bytes, sys.maxsize))))


def _refuse(_: Any) -> NoReturn:  # noqa: ANN401
    """Stop at any other step."""
    raise _RefusedError("it takes a step that plain data does not need, or is no pickle")


STEPS: dict[int, Callable[[Any], None]] = {
    **dict.fromkeys(range(256), _refuse),
    **{
        ord(opcode.code): pickle._Unpickler.dispatch[ord(opcode.code)]
        for opcode in pickletools.opcodes
        if opcode.name in PLAIN_OPCODES
    },
    pickle.REDUCE[0]: _call,
    pickle.BUILD[0]: _set_state,
    pickle.DICT[0]: _new_dict,
    pickle.SETITEM[0]: _put_one,
    pickle.SETITEMS[0]: _put_several,
    pickle.BYTEARRAY8[0]: _byte_array,
}
"""What the machine does at each step."""


class _PlainUnpickler(pickle._Unpickler):
    """The machine without what plain data does not need."""

    dispatch = STEPS

    def __init__(self, content: mmap.mmap) -> None:
        super().__init__(content, encoding="bytes")
        self.num_encodable_bytes = len(content)

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """The function of our own that a name stands for."""
        wanted = f"{module}.{name}"
        if wanted not in STAND_INS:
            raise _RefusedError(f"it wants {wanted[:200]}, which plain data does not need")
        return STAND_INS[wanted]
