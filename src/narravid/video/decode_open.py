"""Opening files of any origin: only FFmpeg's readers of real media, nothing that leads to other files."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.container
import av.stream
import av.video

from narravid.errors import DecodeError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["explain", "main_video_stream", "open_container"]

# Formats whose files only name other files or addresses: a stranger's must not send us there, and waiting for
# what a playlist promises can take minutes. All other formats of this FFmpeg are read.
PLAYLISTS = frozenset(
    {"applehttp", "concat", "dash", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "webm_dash_manifest"}
)
READABLE_FORMATS = ",".join(sorted(av.formats_available - PLAYLISTS))


def explain(error: Exception) -> str:
    """What FFmpeg says, without numbers and function names."""
    return str(getattr(error, "strerror", None) or error)


def open_container(path: str, data: Buffer | None = None) -> av.container.InputContainer:
    """Open a file, or what is in memory.

    Args:
        path: The file; with `data` only the name that errors give.
        data: The content of a file.

    Returns:
        The container, to be closed by the caller.

    Raises:
        DecodeError: If FFmpeg does not know what it is.
    """
    try:
        # "file:" keeps names with colons from being taken for protocols; the white list keeps what a file
        # names within it from being fetched from the network.
        if data is None and Path(path).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return av.open(
            f"file:{os.path.abspath(path)}" if data is None else io.BytesIO(data),
            mode="r",
            options={"protocol_whitelist": "file", "format_whitelist": READABLE_FORMATS},
            metadata_errors="replace",
        )
    except av.ArgumentError as error:
        reason = f"cannot be opened as a video: {explain(error)} (a playlist is not followed)"
        raise DecodeError(path, reason) from error
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        raise DecodeError(path, f"cannot be opened as a video: {explain(error)}") from error


def main_video_stream(path: str, container: av.container.InputContainer) -> av.video.VideoStream:
    """Of the streams with moving pictures the first that the file marks as default, else the largest.

    The ffmpeg program takes the same one, except that of several default ones it prefers the largest.

    Raises:
        DecodeError: If there is none, or FFmpeg has no decoder for it.
    """
    streams = container.streams.video
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams}))
        raise DecodeError(path, f"has no video stream, only {kinds or 'an empty container'}")
    moving = [s for s in streams if not s.disposition & av.stream.Disposition.attached_pic]
    if not moving:
        raise DecodeError(path, "has no video stream, only a cover picture")
    decodable = [s for s in moving if s.codec_context is not None]
    if not decodable:
        raise DecodeError(path, "FFmpeg has no decoder for its video stream")
    default = [s for s in decodable if s.disposition & av.stream.Disposition.default]
    largest = max(decodable, key=lambda s: s.codec_context.width * s.codec_context.height)
    return default[0] if default else largest
