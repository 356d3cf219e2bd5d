"""What a file says of itself, held against what is in it."""

from __future__ import annotations

from fractions import Fraction
from typing import TypedDict

from narravid.video.decode_scale import rotation_degrees, upright_size
from narravid.video.decode_source import VideoSource, no_frame_error

__all__ = ["VideoFacts", "end_seconds", "measure"]


class VideoFacts(TypedDict):
    """The fields of a `VideoInfo`, without torch."""

    path: str
    duration_seconds: float
    fps: float
    width: int
    height: int
    num_frames: int | None
    codec: str
    rotation_degrees: int
    first_frame_seconds: float


def measure(source: VideoSource) -> VideoFacts:
    """Decode one frame and find the end of the stream.

    Args:
        source: The file, at its beginning; left anywhere.

    Returns:
        The file's properties.

    Raises:
        DecodeError: If no frame can be decoded.
    """
    first = next(source.frames(), None)
    if first is None:
        raise no_frame_error(source)
    width, height = upright_size(first.frame)
    duration_seconds = max(end_seconds(source), float((first.end_ticks - first.ticks) * source.time_base))
    num_frames = source.stream.frames or None
    fps = source.fps or Fraction(num_frames or 1) / Fraction(duration_seconds)
    return VideoFacts(
        path=source.path,
        duration_seconds=duration_seconds,
        fps=float(fps),
        width=width,
        height=height,
        num_frames=num_frames,
        codec=source.stream.codec_context.codec.canonical_name,
        rotation_degrees=rotation_degrees(first.frame),
        first_frame_seconds=max(0.0, float((first.ticks - source.origin_ticks) * source.time_base)),
    )


def end_seconds(source: VideoSource) -> float:
    """Where the last packet of the stream ends, in seconds from the start of the file.

    Reads the packets after the last key frame, or all of them when the file does not say how long it is or
    has nothing where it says its end is. Nothing is decoded.

    Args:
        source: The file; left at its end.

    Returns:
        The end; 0 when there is no packet.
    """
    stated = source.container_seconds
    last = None
    if stated is not None:
        source.seek(source.origin_ticks + source.ticks(stated))
        last = _last_packet_end(source)
    if last is None and not (stated is not None and source.at_beginning):
        source.restart()
        last = _last_packet_end(source)
    if last is None:
        return 0.0
    return max(0.0, float((last - source.origin_ticks) * source.time_base))


def _last_packet_end(source: VideoSource) -> int | None:
    """Latest end of a packet; packets of bare streams without times are counted at the stated rate."""
    latest: int | None = None
    num_packets = 0
    for packet in source.packets():
        if not packet.size:
            continue
        num_packets += 1
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None:
            end = time + (packet.duration or source.frame_ticks)
            latest = end if latest is None else max(latest, end)
    if latest is None and num_packets:
        return source.origin_ticks + num_packets * source.frame_ticks
    return latest
