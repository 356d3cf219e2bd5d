"""How a decoding process and its watcher talk: JSON headers and raw bytes over a socket, nothing executable.

A message is a JSON object, followed by an array of uint8 when the object has an "array_shape". A decoder
that a hostile file has taken over can therefore send wrong pictures, but no code.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from narravid.video.segments import Timeline

__all__ = ["Message", "MessageError", "receive", "send", "timeline_from_wire", "timeline_to_wire"]

Message = dict[str, Any]

ARRAY_SHAPE = "array_shape"
_LENGTH = struct.Struct("<I")
MAX_HEADER_BYTES = 2**26
MAX_ARRAY_BYTES = 2**34


class MessageError(Exception):
    """The other side sent something that is not a message."""


def send(connection: socket.socket, message: Message, array: npt.NDArray[np.uint8] | None = None) -> None:
    """Send one message, with its array when there is one.

    Raises:
        OSError: If the other side is gone, or does not read within the socket's timeout.
    """
    if array is not None:
        message = {**message, ARRAY_SHAPE: list(array.shape)}
    header = json.dumps(message).encode()
    connection.sendall(_LENGTH.pack(len(header)) + header)
    if array is not None:
        connection.sendall(np.ascontiguousarray(array).reshape(-1).data)


def receive(connection: socket.socket) -> tuple[Message, npt.NDArray[np.uint8] | None]:
    """Wait for one message.

    Raises:
        EOFError: If the other side is gone.
        TimeoutError: If not a byte comes within the socket's timeout.
        MessageError: If what comes is not a message.
    """
    prefix = bytearray(_LENGTH.size)
    _fill(connection, memoryview(prefix))
    (length,) = _LENGTH.unpack(prefix)
    if length > MAX_HEADER_BYTES:
        raise MessageError(f"a header of {length} bytes")
    header = bytearray(length)
    _fill(connection, memoryview(header))
    try:
        message = json.loads(header)
    except ValueError as error:
        raise MessageError(f"a header that is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise MessageError(f"a header that is not an object: {message!r}")
    if ARRAY_SHAPE not in message:
        return message, None
    shape = message[ARRAY_SHAPE]
    if not (isinstance(shape, list) and all(isinstance(size, int) and size >= 0 for size in shape)):
        raise MessageError(f"an array of shape {shape!r}")
    if math.prod(shape) > MAX_ARRAY_BYTES:
        raise MessageError(f"an array of {math.prod(shape)} bytes")
    array = np.empty(shape, dtype=np.uint8)
    _fill(connection, array.reshape(-1).data)
    return message, array


def timeline_to_wire(timeline: Timeline) -> list[int]:
    """The clock of a segment as plain numbers."""
    base = timeline.time_base
    return [
        base.numerator,
        base.denominator,
        timeline.origin_microseconds,
        timeline.shift_ticks,
        timeline.frame_ticks,
    ]


def timeline_from_wire(numbers: list[int]) -> Timeline:
    """The same back."""
    numerator, denominator, *rest = numbers
    return Timeline(Fraction(numerator, denominator), *rest)


def _fill(connection: socket.socket, view: memoryview) -> None:
    done = 0
    while done < len(view):
        count = connection.recv_into(view[done:])
        if count == 0:
            raise EOFError("the other side closed the connection")
        done += count
