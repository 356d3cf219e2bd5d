"""Frames that stand for a whole video, taken by their number, with memory for these alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from narravid.errors import DecodeError
from narravid.video.decode_scale import PictureScaler, ShortSide
from narravid.video.decode_source import VideoSource, no_frame_error
from narravid.video.frame_sampling import FrameSampling, video_frames

if TYPE_CHECKING:
    import av

__all__ = ["MAX_SPREAD_BYTES", "RawSpread", "read_spread"]

Pixels = npt.NDArray[np.uint8]

MAX_SPREAD_BYTES = 2**31
"""Largest memory of the frames taken, repeated ones included: 80 of 4K, 340 of full HD."""

MOST_PASSES = 3
"""The second pass knows the true number of frames; only a file that changes meanwhile needs more."""


@dataclass(frozen=True, slots=True, eq=False)
class RawSpread:
    """Frames that stand for a video.

    Attributes:
        frames: (m, H, W, 3) uint8 RGB, upright, each of the frames once.
        frame_numbers: n >= m numbers, counted from 0 as frames are decoded, ascending; a frame that is wanted
            several times is there as often.
        times_seconds: When each of the n is shown, from the start of the file.
        num_video_frames: How many frames the video has.
    """

    frames: Pixels
    frame_numbers: list[int]
    times_seconds: list[float]
    num_video_frames: int


def read_spread(
    source: VideoSource, num_frames: int, *, sampling: FrameSampling, max_bytes: int = MAX_SPREAD_BYTES
) -> RawSpread:
    """Take frames of an opened file, spread over all of it.

    The packets are counted first, which costs little, then everything is decoded once and the frames that are
    wanted are kept. Where the packets do not say how many frames there are (pictures of two packets, packets
    that show nothing, damage, a broken end), what decodes counts, and a second pass takes the right ones.

    Args:
        source: The file, at its beginning.
        num_frames: How many frames are to stand for it.
        sampling: Which; see `video_frames`.
        max_bytes: Largest memory that `num_frames` frames may take, though each is stored but once here.

    Returns:
        The frames; all have the size of the first.

    Raises:
        DecodeError: If no frame can be decoded, the frames would take more than `max_bytes`, the published
            rule meets a video with fewer than `num_frames`, or the file changes meanwhile.
    """
    num_video_frames = _num_shown_packets(source)
    for _ in range(MOST_PASSES):
        is_too_short = sampling == "published" and num_video_frames < num_frames
        wanted = [] if is_too_short else video_frames(num_video_frames, num_frames, sampling=sampling)
        source.restart()
        kept = _Kept(source, wanted, max_bytes)
        num_decoded = kept.take()
        if num_decoded == 0:
            raise no_frame_error(source)
        if num_decoded == num_video_frames and is_too_short:
            raise DecodeError(
                source.path,
                f"has {num_decoded} frames, of which the published rule cannot take {num_frames}; the "
                "sampling 'even' repeats frames",
            )
        if num_decoded == num_video_frames:
            return RawSpread(kept.frames, wanted, [kept.seconds[number] for number in wanted], num_decoded)
        num_video_frames = num_decoded
    raise DecodeError(
        source.path, "decodes to another number of frames each time; is it still being written?"
    )


def _num_shown_packets(source: VideoSource) -> int:
    """Packets that hold a picture to be shown, as far as can be told without decoding; at least 1."""
    num_packets = sum(1 for packet in source.packets() if packet.size and not packet.is_discard)
    return max(1, num_packets)


class _Kept:
    """The frames of one pass that are wanted."""

    def __init__(self, source: VideoSource, numbers: list[int], max_bytes: int) -> None:
        self._source = source
        self._num_asked = len(numbers)
        self._wanted = sorted(set(numbers))
        self._max_bytes = max_bytes
        self._scaler = PictureScaler(source.path, ShortSide(None))
        self._frames: Pixels | None = None
        self.seconds: dict[int, float] = {}

    @property
    def frames(self) -> Pixels:
        """(m, H, W, 3) uint8 RGB, those that were there."""
        assert self._frames is not None  # asked for when frames were decoded
        return self._frames[: len(self.seconds)]

    def take(self) -> int:
        """Decode everything from the present position on.

        Returns:
            How many frames there are.
        """
        source = self._source
        num_decoded = 0
        for timed in source.frames():
            position = len(self.seconds)
            if position < len(self._wanted) and self._wanted[position] == num_decoded:
                self._keep(timed.frame, position)
                seconds = float((timed.ticks - source.origin_ticks) * source.time_base)
                self.seconds[num_decoded] = max(0.0, seconds)
            num_decoded += 1
        return num_decoded

    def _keep(self, frame: av.VideoFrame, position: int) -> None:
        picture = self._scaler(frame)
        if self._frames is None:
            needed = self._num_asked * picture.nbytes  # whoever asked lays out repeated frames, too
            if needed > self._max_bytes:
                height, width = picture.shape[:2]
                raise DecodeError(
                    self._source.path,
                    f"{self._num_asked} frames of {width} x {height} pixels need {needed / 2**20:.0f} MiB, "
                    f"more than {self._max_bytes / 2**20:.0f} MiB; take fewer, or scale the video down",
                )
            self._frames = np.empty((len(self._wanted), *picture.shape), dtype=np.uint8)
        self._frames[position] = picture
