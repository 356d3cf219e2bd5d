"""Decoding video files: what they are, clips at given times, whole videos resampled.

Everything goes through FFmpeg's libraries in process (PyAV); no program is started, no frame touches the
disk. Times are seconds from the start of the file, frames come upright and as RGB, whatever the file holds.
Files of strangers belong into `narravid.video.watched`, which survives what a decoder may do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from narravid.types import Clip, ClipSpec, FrameRule, Span, VideoInfo
from narravid.video.decode_measure import measure
from narravid.video.decode_reader import ClipShape, RawClip, read_clips
from narravid.video.decode_source import VideoSource
from narravid.video.decode_whole import read_whole
from narravid.video.segments import Segment

__all__ = [
    "MAX_VIDEO_BYTES",
    "as_clip",
    "check_starts",
    "check_video_options",
    "clip_shape",
    "decode_clips",
    "decode_video",
    "draw_squares",
    "probe",
]

MAX_VIDEO_BYTES = 2**32


def probe(path: str | Path) -> VideoInfo:
    """What a file holds, proved by decoding one frame.

    Args:
        path: The file.

    Returns:
        Size and rotation as decoded. The duration is where the last packet of the file ends, so that a
        truncated file does not promise more than it has.

    Raises:
        DecodeError: If no frame can be decoded; the reason says why.
    """
    with VideoSource(path) as source:
        return VideoInfo(**measure(source))


def decode_clips(
    path: str | Path,
    starts_seconds: Sequence[float],
    spec: ClipSpec,
    *,
    segment: Segment | None = None,
    generator: torch.Generator | None = None,
    num_threads: int = 1,
) -> Iterator[Clip]:
    """Decode clips that start at given times, in one pass over the file where that is cheapest.

    Under `frame_rule="ffmpeg_fps"` the frames are those of `ffmpeg -ss START -i FILE -vf fps=...,crop=...,
    scale=...` (the published loaders); under `"shown_at"` sample n is the frame on screen at START + n / fps.
    A span in which no frame begins shows the frame still on screen.

    Args:
        path: The file.
        starts_seconds: Where the clips start, in any order; ascending order needs the least memory.
        spec: Frames, rate, size and crop of a clip. `mean` and `std` are not applied.
        segment: A stretch of the file to read in its place; it must hold the clips and the frame after them.
        generator: Draws the squares of `crop="random"`, two numbers for each clip in order.
        num_threads: Decoding threads; 0 lets FFmpeg choose (for a lone process).

    Yields:
        One clip for each start, in the order of the starts: frames (T, S, S, 3) uint8, the mask False and
        the frames zero where the span passes the end of the video.

    Raises:
        ValueError: If a start is negative or not finite, or a random crop has no generator.
        DecodeError: If the file does not decode, or a clip starts at or after its end.
    """
    check_starts(starts_seconds)
    squares = draw_squares(len(starts_seconds), spec, generator)
    return _decode_clips(
        path, starts_seconds, spec, segment=segment, squares=squares, num_threads=num_threads
    )


def _decode_clips(
    path: str | Path,
    starts_seconds: Sequence[float],
    spec: ClipSpec,
    *,
    segment: Segment | None,
    squares: Sequence[tuple[float, float]] | None,
    num_threads: int,
) -> Iterator[Clip]:
    if not starts_seconds:
        return
    with VideoSource(path, segment=segment, num_threads=num_threads) as source:
        clips = read_clips(source, starts_seconds, clip_shape(spec), squares=squares)
        for start_seconds, raw in zip(starts_seconds, clips, strict=True):
            yield as_clip(raw, start_seconds, spec.duration_seconds)


def decode_video(
    path: str | Path,
    *,
    fps: float,
    short_side_pixels: int | None,
    frame_rule: FrameRule = "shown_at",
    num_threads: int = 1,
    max_bytes: int = MAX_VIDEO_BYTES,
) -> Clip:
    """Decode a whole video at a rate of one's choice, aspect kept.

    Args:
        path: The file.
        fps: Frames per second to sample.
        short_side_pixels: Length of the shorter side; None keeps the file's size.
        frame_rule: Which frame stands for a time.
        num_threads: Decoding threads; 0 lets FFmpeg choose.
        max_bytes: Largest memory that the frames may take.

    Returns:
        One clip over the whole video: frames (T, H, W, 3) uint8, all real.

    Raises:
        ValueError: If `fps` or `short_side_pixels` is not positive.
        DecodeError: If no frame can be decoded, or the frames would take more than `max_bytes`.
    """
    check_video_options(fps, short_side_pixels)
    with VideoSource(path, num_threads=num_threads) as source:
        frames, end_seconds = read_whole(
            source,
            fps=fps,
            short_side_pixels=short_side_pixels,
            frame_rule=frame_rule,
            max_bytes=max_bytes,
        )
    mask = torch.ones(len(frames), dtype=torch.bool)
    return Clip(torch.from_numpy(frames), mask, Span(0.0, end_seconds))


def check_starts(starts_seconds: Sequence[float]) -> None:
    """Refuse starts that are no times.

    Raises:
        ValueError: If a start is negative or not finite.
    """
    for start_seconds in starts_seconds:
        if not (math.isfinite(start_seconds) and start_seconds >= 0):
            raise ValueError(f"clip starts must be finite and at least 0 s, got {start_seconds}")


def check_video_options(fps: float, short_side_pixels: int | None) -> None:
    """Refuse a rate or a size that cannot be.

    Raises:
        ValueError: If one is not positive.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be positive, got {fps}")
    if short_side_pixels is not None and short_side_pixels < 1:
        raise ValueError(f"short_side_pixels must be at least 1 or None, got {short_side_pixels}")


def draw_squares(
    num_clips: int, spec: ClipSpec, generator: torch.Generator | None
) -> list[tuple[float, float]] | None:
    """Where the square of each clip lies, (across, down) in [0, 1); None for the centre.

    Raises:
        ValueError: If the crop is random and there is no generator.
    """
    if spec.crop == "center":
        return None
    if generator is None:
        raise ValueError("crop='random' needs a generator")
    places = torch.rand((num_clips, 2), generator=generator, dtype=torch.float64).tolist()
    return [(across, down) for across, down in places]


def clip_shape(spec: ClipSpec) -> ClipShape:
    """The part of a clip specification that decoding needs."""
    return ClipShape(spec.num_frames, spec.fps, spec.size_pixels, spec.frame_rule)


def as_clip(raw: RawClip, start_seconds: float, duration_seconds: float) -> Clip:
    """Wrap decoded frames as a `Clip`, with its mask and span."""
    mask = torch.arange(len(raw.frames)) < raw.num_valid
    return Clip(torch.from_numpy(raw.frames), mask, Span(start_seconds, start_seconds + duration_seconds))
