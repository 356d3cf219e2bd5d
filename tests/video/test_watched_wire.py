"""Messages between a decoding process and its watcher."""

from __future__ import annotations

import socket
import struct
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narravid.video.watched_wire import MessageError, receive, send


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.settimeout(0.2)
    with ours, theirs:
        yield ours, theirs


def test_messages_and_arrays_arrive_as_sent(pair):
    ours, theirs = pair
    array = np.random.default_rng(0).integers(0, 256, (4, 300, 400, 3), dtype=np.uint8)
    messages = [({"kind": "a", "text": "naïve ☂"}, None), ({"kind": "b"}, array), ({}, array[:, ::2, :0])]

    def send_all():
        for message, content in messages:
            send(theirs, message, content)

    thread = threading.Thread(target=send_all)
    thread.start()
    for message, content in messages:
        received, arrived = receive(ours)
        assert received | message == received
        if content is None:
            assert arrived is None
        else:
            assert np.array_equal(arrived, content)
            assert arrived.flags.writeable
    thread.join()


def framed(header):
    return struct.pack("<I", len(header)) + header


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (struct.pack("<I", 2**32 - 1), "a header of 4294967295 bytes"),
        (framed(b"{nonsense"), "not JSON"),
        (framed(b"\xff\xfe"), "not JSON"),
        (framed(b"[1, 2]"), "not an object"),
        (framed(b'{"array_shape": "3"}'), "an array of shape '3'"),
        (framed(b'{"array_shape": [3, -1]}'), r"an array of shape \[3, -1\]"),
        (framed(b'{"array_shape": [3.5]}'), "an array of shape"),
        (framed(b'{"array_shape": [100000, 100000, 100000]}'), "an array of 1000000000000000 bytes"),
    ],
)
def test_nonsense_is_refused(pair, data, message):
    ours, theirs = pair
    theirs.sendall(data)
    with pytest.raises(MessageError, match=message):
        receive(ours)


def receive_all(connection):
    while True:
        receive(connection)


@given(data=st.binary(max_size=64))
@settings(deadline=None)
def test_no_bytes_do_worse_than_be_refused(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.close()
        with pytest.raises((MessageError, EOFError)):
            receive_all(ours)


def test_silence_and_death_are_told_apart(pair):
    ours, theirs = pair
    theirs.sendall(b"\x10\x00")
    with pytest.raises(TimeoutError):
        receive(ours)
    theirs.close()
    with pytest.raises(EOFError):
        receive(ours)
