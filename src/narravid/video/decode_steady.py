"""The frames of a whole file at a steady rate, one after the other, in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from narravid.video.decode_rules import FrameSelector, SampleClock
from narravid.video.decode_scale import PictureScaler, Region
from narravid.video.decode_source import LeftOutError, TimedFrame, VideoSource, no_frame_error

if TYPE_CHECKING:
    from narravid.types import FrameRule

__all__ = ["SteadyFrames"]

Pixels = npt.NDArray[np.uint8]


class SteadyFrames:
    """Resamples an opened file from its beginning to its end, as one run of the ffmpeg program with `fps`.

    Frames that no sample wants and to which no other frame refers are not decoded. Should that turn out to
    be wrong, the file is decoded again from its beginning, and what was given already is passed over.

    Args:
        source: The file, at its beginning.
        fps: Frames per second to sample.
        region: What part of the picture to take, and its size.
        frame_rule: Which frame stands for a time.

    Attributes:
        end_seconds: Where the video ends; known when all frames have been given.
    """

    def __init__(self, source: VideoSource, *, fps: float, region: Region, frame_rule: FrameRule) -> None:
        self.end_seconds = 0.0
        self._source = source
        self._clock = SampleClock(0.0, fps, frame_rule, source.time_base, source.origin_microseconds)
        self._scaler = PictureScaler(source.path, region)
        self._num_given = 0

    def __iter__(self) -> Iterator[tuple[Pixels, int]]:
        """Each picture (H, W, 3) uint8 RGB, with the number of samples that it stands for.

        Raises:
            DecodeError: If no frame can be decoded.
        """
        while True:
            try:
                yield from self._pass()
                break
            except LeftOutError:
                self._source.decode_all()
        if self._num_given == 0:
            raise no_frame_error(self._source)

    def _pass(self) -> Iterator[tuple[Pixels, int]]:
        selector: FrameSelector[TimedFrame] = FrameSelector(self._clock, None)
        last = None
        for timed in self._source.frames(selector.takes):
            yield from self._new(selector.feed(timed.ticks, timed))
            if timed.next_ticks is not None:
                yield from self._new(selector.replaced(timed.next_ticks))
            last = timed
        if last is None:
            raise no_frame_error(self._source)
        yield from self._new(selector.finish(last.end_ticks))
        self.end_seconds = float((last.end_ticks - self._source.origin_ticks) * self._source.time_base)

    def _new(self, decided: Iterator[tuple[range, TimedFrame]]) -> Iterator[tuple[Pixels, int]]:
        """Of what is decided now, that which was not given before."""
        for samples, timed in decided:
            count = samples.stop - max(samples.start, self._num_given)
            if count > 0:
                self._num_given = samples.stop
                yield self._scaler(timed.frame), count
