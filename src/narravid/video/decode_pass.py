"""One pass over a file for all who want frames of it: seek only where it saves work, decode none twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Generic, Protocol, TypeVar

import av

from narravid.video.decode_source import LeftOutError, TimedFrame, VideoSource, no_frame_error

__all__ = ["Choice", "FramePass", "FrameTaker", "Picture"]

RETREAT_SECONDS = (1.0, 8.0, 64.0)

MadeT = TypeVar("MadeT")


@dataclass
class Picture:
    """A decoded frame, of which several takers may want the same thing made.

    Attributes:
        timed: The frame and its time.
    """

    timed: TimedFrame
    _made: dict[int, Any] = field(default_factory=dict)

    def made_by(self, make: Callable[[av.VideoFrame], MadeT]) -> MadeT:
        """What `make` makes of the frame: made when first asked for, once per maker."""
        if id(make) not in self._made:
            self._made[id(make)] = make(self.timed.frame)
        made: MadeT = self._made[id(make)]
        return made


class FrameTaker(Protocol):
    """Wants the frames from the one on screen at its start until it has enough."""

    @property
    def start_ticks(self) -> int:
        """Where it starts, on the clock of the video."""

    @property
    def is_full(self) -> bool:
        """Whether it has enough."""

    def feed(self, picture: Picture) -> None:
        """Take the next frame, in order of time: first the last one before the start, where there is one."""

    def finish(self, end_ticks: int) -> None:
        """The video is over at `end_ticks`.

        Raises:
            DecodeError: If it cannot do with what it has.
        """


TakerT = TypeVar("TakerT", bound=FrameTaker)


class _MissedFrameError(Exception):
    """The frame on screen at a taker's start was not decoded: a seek came out late."""


@dataclass(frozen=True, slots=True)
class Choice(Generic[TakerT]):
    """What takers want, so that frames which none of them wants and no other refers to are left out.

    Should a picture turn out damaged, all frames are decoded from the start of the takers under way on: what
    replaces the picture depends on those before it, wanted or not.

    Attributes:
        wants: Whether a taker wants the frame that is on screen from one time to another, which is after its
            start.
        anew: One that had no frames yet in the place of a taker that had some.
    """

    wants: Callable[[TakerT, int, int], bool]
    anew: Callable[[TakerT], TakerT]


class FramePass(Generic[TakerT]):
    """Streams one file through those who want frames of it.

    Args:
        source: The file, at its beginning.
        takers: Who wants frames, sorted by start.
        choice: What they want of the frames; None is all.
    """

    def __init__(
        self,
        source: VideoSource,
        takers: Sequence[TakerT],
        *,
        choice: Choice[TakerT] | None = None,
    ) -> None:
        self._source = source
        self._choice = choice
        self._waiting = deque(takers)
        self._active: list[TakerT] = []
        self._previous: Picture | None = None
        self._num_retreats = 0

    def run(self) -> Iterator[TakerT]:
        """Yield the takers as they have enough, or the video is over.

        Raises:
            DecodeError: If nothing can be decoded, or a taker cannot do with what there was.
        """
        while self._waiting:
            try:
                self._go_to(self._waiting[0].start_ticks)
                yield from self._stream()
            except _MissedFrameError:
                self._num_retreats += 1
            except LeftOutError:
                assert self._choice is not None  # otherwise nothing is left out
                self._start_over(self._choice)

    def _go_to(self, ticks: int) -> None:
        """Stand before `ticks`, further back each time that the frame on screen there was missed."""
        source = self._source
        if self._num_retreats > len(RETREAT_SECONDS):
            source.restart()
            source.can_seek = False
            self._num_retreats = 0
        elif self._num_retreats:
            source.seek(ticks - source.ticks(RETREAT_SECONDS[self._num_retreats - 1]))
        elif source.is_worth_seeking(ticks):
            source.seek(ticks)
        self._previous = None

    def _start_over(self, choice: Choice[TakerT]) -> None:
        """Decode every frame from here on."""
        active = sorted(self._active, key=lambda taker: taker.start_ticks, reverse=True)
        self._waiting.extendleft(choice.anew(taker) for taker in active)
        self._active.clear()
        self._source.decode_all()

    def _stream(self) -> Iterator[TakerT]:
        """Decode on until all takers are done or a gap makes a seek worthwhile."""
        for timed in self._source.frames(None if self._choice is None else self._is_wanted):
            picture = Picture(timed)
            while self._waiting and self._waiting[0].start_ticks <= timed.ticks:
                self._activate(timed.ticks)
            for taker in self._active:
                taker.feed(picture)
            self._previous = picture
            done = [taker for taker in self._active if taker.is_full]
            if not done:
                continue
            self._active = [taker for taker in self._active if not taker.is_full]
            yield from done
            is_idle = not self._active
            if is_idle and not (
                self._waiting and not self._source.is_worth_seeking(self._waiting[0].start_ticks)
            ):
                return
        yield from self._finish()

    def _is_wanted(self, ticks: int, next_ticks: int) -> bool:
        """Whether any taker wants the frame on screen from `ticks` to `next_ticks`."""
        assert self._choice is not None  # otherwise nobody is asked
        wants = self._choice.wants
        if any(wants(taker, ticks, next_ticks) for taker in self._active):
            return True
        started = takewhile(lambda taker: taker.start_ticks < next_ticks, self._waiting)
        return any(wants(taker, ticks, next_ticks) for taker in started)

    def _activate(self, ticks: int) -> None:
        """Start the next taker: the frame at `ticks` is the first at or after its start."""
        taker = self._waiting[0]
        if ticks > taker.start_ticks:
            self._check_previous()
        if self._previous is not None:
            taker.feed(self._previous)
        self._active.append(self._waiting.popleft())
        self._num_retreats = 0

    def _check_previous(self) -> None:
        """Make sure that the frame before the present one in the file was decoded."""
        if self._previous is None and not self._source.at_beginning:
            raise _MissedFrameError

    def _finish(self) -> Iterator[TakerT]:
        """The file is over: complete what can be."""
        if self._waiting:
            self._check_previous()
        if self._previous is None:
            raise no_frame_error(self._source)
        end_ticks = self._previous.timed.end_ticks
        for taker in self._waiting:
            taker.feed(self._previous)
        takers = [*self._active, *self._waiting]
        self._active.clear()
        self._waiting.clear()
        for taker in takers:
            taker.finish(end_ticks)
            yield taker
