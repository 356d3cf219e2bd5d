"""A whole file in consecutive chunks of frames: memory for one chunk, however long the file is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from narravid.errors import DecodeError
from narravid.video.decode_scale import Region, ShortSide, Square, SquareOfScaled
from narravid.video.decode_steady import SteadyFrames

if TYPE_CHECKING:
    from narravid.types import FrameRule
    from narravid.video.decode_source import VideoSource

__all__ = ["ChunkShape", "Framing", "read_chunks"]

Pixels = npt.NDArray[np.uint8]

Framing = Literal["square", "whole", "scaled_square"]
"""What of the picture is taken: the largest centre square, scaled; all of it, scaled by its shorter side; or
the centre square of the picture scaled by its shorter side. The longer side is rounded down, as published."""

MAX_HOURS = 200
"""A file that claims more has times that are wrong: one frame would be repeated without end."""


@dataclass(frozen=True, slots=True)
class ChunkShape:
    """How a file is resampled and cut.

    Attributes:
        num_frames: Frames of a chunk; the last one of a file may have fewer.
        fps: Frames per second.
        size_pixels: Side of the square, or length of the shorter side.
        framing: What of the picture is taken.
        frame_rule: Which frame stands for a time.

    Raises:
        ValueError: If a value is out of range.
    """

    num_frames: int
    fps: float
    size_pixels: int
    framing: Framing = "square"
    frame_rule: FrameRule = "ffmpeg_fps"

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.size_pixels < 1:
            raise ValueError(
                f"num_frames and size_pixels must be at least 1, got {self.num_frames} and {self.size_pixels}"
            )
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps must be positive, got {self.fps}")
        if self.framing not in get_args(Framing):
            known = ", ".join(get_args(Framing))
            raise ValueError(f"framing must be one of {known}, got {self.framing!r}")

    @property
    def region(self) -> Region:
        """The same for the scaler."""
        if self.framing == "square":
            return Square(self.size_pixels)
        if self.framing == "whole":
            return ShortSide(self.size_pixels, rounds_down=True)
        return SquareOfScaled(self.size_pixels)


def read_chunks(
    source: VideoSource, shape: ChunkShape, *, on_progress: Callable[[], None] | None = None
) -> Iterator[Pixels]:
    """The frames of an opened file, `num_frames` at a time.

    Args:
        source: The file, at its beginning.
        shape: Rate, size and length of the chunks.
        on_progress: Called for every picture that is given; may raise to stop.

    Yields:
        (T, H, W, 3) uint8 RGB, T = `num_frames`, at least 1 and perhaps fewer in the last chunk; each one an
        array of its own.

    Raises:
        DecodeError: If no frame can be decoded, or the file claims more than 200 hours.
    """
    frames = SteadyFrames(source, fps=shape.fps, region=shape.region, frame_rule=shape.frame_rule)
    most = int(MAX_HOURS * 3600 * shape.fps)
    chunk: Pixels | None = None
    filled = total = 0
    for picture, count in frames:
        total += count
        if total > most:
            raise DecodeError(source.path, f"its times claim more than {MAX_HOURS} hours; convert it first")
        while count > 0:
            if chunk is None:
                chunk, filled = np.empty((shape.num_frames, *picture.shape), dtype=np.uint8), 0
            taken = min(count, shape.num_frames - filled)
            chunk[filled : filled + taken] = picture
            filled, count = filled + taken, count - taken
            if on_progress is not None:
                on_progress()
            if filled == shape.num_frames:
                yield chunk
                chunk = None
    if chunk is not None:
        yield chunk[:filled]
