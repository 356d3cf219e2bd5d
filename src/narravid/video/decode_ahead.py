"""Reading packets ahead of decoding them: when the next frame takes over is known before this one is decoded.

Packets come in the order in which frames are decoded, not in the one in which they are shown. Enough of
them are read in advance to know for each frame how long it stays on screen, so that frames which nobody wants
need not be decoded. The reading is of packets alone and costs next to nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import av.video

if TYPE_CHECKING:
    Packet = av.Packet[av.video.VideoStream]

__all__ = ["Expected", "PlannedPacket", "look_ahead"]

MAX_PACKETS_AHEAD = 64  # four times what H.264 may reorder
TIMES_KEPT = 512


@dataclass(frozen=True, slots=True)
class PlannedPacket:
    """A packet with the time of its frame, and the time of the frame that is shown after it.

    Attributes:
        packet: What to decode.
        ticks: When its frame is shown; None where the file does not say.
        next_ticks: When the next frame takes over; None where that is not known.
    """

    packet: Packet
    ticks: int | None
    next_ticks: int | None


class _Window:
    """Packets that were read and not yet handed on."""

    def __init__(self) -> None:
        self.packets: deque[tuple[Packet, int | None]] = deque()
        self._times: list[int] = []
        self._newest_decode_ticks: int | None = None

    def add(self, packet: Packet, ticks: int | None, decode_ticks: int | None) -> None:
        self.packets.append((packet, ticks))
        if ticks is not None:
            insort(self._times, ticks)
        if decode_ticks is not None:
            self._newest_decode_ticks = decode_ticks

    def next_after(self, ticks: int | None, *, is_over: bool) -> int | None:
        """When the frame after the one at `ticks` is shown, as far as that is certain.

        No frame is shown before it is decoded: once decoding has come to a time, all frames before are known.
        """
        if ticks is None:
            return None
        index = bisect_right(self._times, ticks)
        if index == len(self._times):
            return None
        candidate = self._times[index]
        newest = self._newest_decode_ticks
        return candidate if is_over or (newest is not None and newest >= candidate) else None

    def pop(self) -> tuple[Packet, int | None]:
        packet, ticks = self.packets.popleft()
        if len(self._times) > TIMES_KEPT:
            waiting = [time for _, time in self.packets if time is not None]
            del self._times[: bisect_left(self._times, min(waiting, default=self._times[-1]))]
        return packet, ticks


def look_ahead(
    packets: Iterator[Packet], times_of: Callable[[Packet], tuple[int | None, int | None]]
) -> Iterator[PlannedPacket]:
    """Packets in their order, each with the time at which its frame is replaced.

    Args:
        packets: What is read, an empty packet at the end.
        times_of: When the frame of a packet is shown, and when it is decoded.

    Yields:
        Every packet once.
    """
    window = _Window()
    is_over = False
    while True:
        while not is_over and len(window.packets) <= MAX_PACKETS_AHEAD:
            if window.packets and window.next_after(window.packets[0][1], is_over=False) is not None:
                break
            packet = next(packets, None)
            if packet is None:
                is_over = True
            else:
                window.add(packet, *(times_of(packet) if packet.size else (None, None)))
        if not window.packets:
            return
        next_ticks = window.next_after(window.packets[0][1], is_over=is_over)
        packet, ticks = window.pop()
        yield PlannedPacket(packet, ticks, next_ticks)


class Expected:
    """Frames that were sent to the decoder, until they come out of it."""

    def __init__(self) -> None:
        self._next_ticks: dict[int, int | None] = {}
        self._wanted: set[int] = set()

    def send(self, ticks: int, next_ticks: int | None, *, is_wanted: bool) -> None:
        """A packet goes to the decoder; where its frame is not wanted it may be left out."""
        self._next_ticks[ticks] = next_ticks
        if is_wanted:
            self._wanted.add(ticks)

    def take(self, ticks: int) -> int | None:
        """A frame came out: when it is replaced, if that is known."""
        self._wanted.discard(ticks)
        return self._next_ticks.pop(ticks, None)

    def are_missing(self, ticks: int | None) -> bool:
        """Whether frames before `ticks` that were wanted did not come out; None for any time."""
        if ticks is None:
            return bool(self._wanted)
        return any(wanted < ticks for wanted in self._wanted)

    def forget(self, ticks: int) -> None:
        """What was to be shown before `ticks` need not come any more."""
        self._wanted = {wanted for wanted in self._wanted if wanted >= ticks}
        self._next_ticks = {time: after for time, after in self._next_ticks.items() if time >= ticks}
