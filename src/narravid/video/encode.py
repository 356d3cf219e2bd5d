"""Writing video files: H.264 in MP4, the same bytes for the same frames."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.video.reformatter import Interpolation, VideoReformatter

from narravid.files import write_atomically

__all__ = ["write_video"]

MAX_RATE_DENOMINATOR = 100_000
EXACT_SCALING = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def write_video(
    path: str | Path,
    frames: Iterable[npt.NDArray[np.uint8]],
    *,
    fps: float,
    crf: int = 23,
    preset: str = "veryfast",
    keyframe_seconds: float = 2.0,
) -> None:
    """Encode frames as H.264 (yuv420p) in an MP4 file.

    One encoding thread and bit-exact flags make the bytes a function of the frames and options alone. The
    file appears under its name only when it is complete.

    Args:
        path: The file to make or replace; its folder is created.
        frames: RGB frames, each (H, W, 3) uint8 of one shape with even H and W; taken one at a time.
        fps: Frames per second, constant.
        crf: Constant rate factor, 0 (lossless) to 51 (worst).
        preset: Speed preset of x264, "ultrafast" to "veryslow".
        keyframe_seconds: Largest distance between key frames, in seconds.

    Raises:
        ValueError: If there is no frame, a frame has another shape or dtype, or an option is out of range.
    """
    _check_options(fps, crf, keyframe_seconds)
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise ValueError(f"cannot write {path}: there is no frame")
    _check_frame(first, 0, None)
    if first.shape[0] % 2 or first.shape[1] % 2:
        raise ValueError(f"frame height and width must be even for yuv420p, got {first.shape[:2]}")
    checked = _checked_frames(itertools.chain([first], iterator), first.shape)
    options = {"crf": str(crf), "preset": preset}
    rate = Fraction(fps).limit_denominator(MAX_RATE_DENOMINATOR)
    gop_frames = max(1, round(keyframe_seconds * fps))

    def write(temporary: Path) -> None:
        with av.open(
            str(temporary), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}
        ) as container:
            stream = container.add_stream("libx264", rate=rate, options=options)
            stream.height, stream.width = first.shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.gop_size = gop_frames
            stream.thread_count = 1
            stream.codec_context.flags |= Flags.bitexact
            reformatter = VideoReformatter()
            for index, frame in enumerate(checked):
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                picture = reformatter.reformat(
                    picture, format="yuv420p", interpolation=EXACT_SCALING, threads=1
                )
                picture.pts = index
                picture.time_base = 1 / rate
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))

    write_atomically(Path(path), write)


def _check_options(fps: float, crf: int, keyframe_seconds: float) -> None:
    if not (math.isfinite(fps) and fps >= 1 / MAX_RATE_DENOMINATOR):
        raise ValueError(f"fps must be positive, got {fps}")
    if not 0 <= crf <= 51:
        raise ValueError(f"crf must be 0 to 51, got {crf}")
    if not (math.isfinite(keyframe_seconds) and keyframe_seconds > 0):
        raise ValueError(f"keyframe_seconds must be positive, got {keyframe_seconds}")


def _check_frame(frame: npt.NDArray[np.uint8], index: int, shape: tuple[int, ...] | None) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
        raise ValueError(f"frame {index} must be (H, W, 3) uint8, got {frame.shape} {frame.dtype}")
    if shape is not None and frame.shape != shape:
        raise ValueError(f"frame {index} has shape {frame.shape}, the first one {shape}")


def _checked_frames(
    frames: Iterable[npt.NDArray[np.uint8]], shape: tuple[int, ...]
) -> Iterator[npt.NDArray[np.uint8]]:
    for index, frame in enumerate(frames):
        _check_frame(frame, index, shape)
        yield frame
