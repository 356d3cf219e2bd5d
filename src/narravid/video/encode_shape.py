"""Pictures made upright, and smaller, before they are encoded."""

from __future__ import annotations

import av
import av.filter

from narravid.errors import DecodeError
from narravid.video.decode_scale import (
    is_upright,
    keep_aspect,
    picture_kind,
    upright_graph,
    upright_size,
)

__all__ = ["FrameShaper"]

SMALLEST_SIDE = 2  # pixels; chroma is stored for two by two of them
FORGET_ROTATION = ("sidedata", "mode=delete:type=DISPLAYMATRIX")
STORED_FORMATS = frozenset({"yuv420p", "yuvj420p"})


class FrameShaper:
    """Makes decoded frames upright and at most so large; its filter graph is rebuilt when the input changes.

    Args:
        path: The file, named in errors.
        short_side_pixels: Largest length of the shorter side; None keeps the size.
        keep_format: Keep odd sizes and the pixel format; otherwise sizes are even and the format is yuv420p.
    """

    def __init__(self, path: str, short_side_pixels: int | None, *, keep_format: bool) -> None:
        self._path = path
        self._short_side_pixels = short_side_pixels
        self._keep_format = keep_format
        self._kind: tuple[object, ...] | None = None
        self._graph: av.filter.Graph | None = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame as it is to be encoded; the very frame where there is nothing to do.

        Raises:
            DecodeError: If FFmpeg cannot convert the picture.
        """
        kind = picture_kind(frame)
        try:
            if kind != self._kind:
                filters = self._filters(frame)
                self._kind = kind
                self._graph = None
                if filters or not is_upright(frame):
                    self._graph = upright_graph(frame, [*filters, FORGET_ROTATION])
            if self._graph is None:
                return frame
            self._graph.vpush(frame)
            return self._graph.vpull()
        except av.FFmpegError as error:
            said = f"{frame.width}x{frame.height} {frame.format.name}"
            raise DecodeError(self._path, f"a picture ({said}) cannot be converted: {error}") from error

    def _filters(self, frame: av.VideoFrame) -> list[tuple[str, str]]:
        """What follows once the picture is upright."""
        if self._keep_format:
            return []
        width, height = upright_size(frame)
        limit = self._short_side_pixels
        filters = []
        if limit is not None and min(width, height) > limit:
            width, height = _centred(width, height, is_subsampled=frame.format.chroma_width(2) < 2)
            filters.append(_crop(width, height))
            filters.append(_scale(*_smaller(width, height, _even(limit))))
        elif min(width, height) < SMALLEST_SIDE:
            filters.append(_scale(_even(width), _even(height)))
        elif width % 2 or height % 2:
            filters.append(_crop(_even(width), _even(height)))
        if frame.format.name not in STORED_FORMATS:
            filters.append(("format", "pix_fmts=yuv420p"))
        return filters


def _even(side: int) -> int:
    return max(SMALLEST_SIDE, side - side % 2)


def _centred(width: int, height: int, *, is_subsampled: bool) -> tuple[int, int]:
    """The size less the last pixels of the longer side, so that the central square lies at the very centre.

    Where colours are stored for two by two pixels, a square is cropped at an even one, up to a pixel and a
    half before the centre. Scaled down, the same square would be cropped elsewhere: a square one pixel off
    costs more accuracy than coding does.
    """
    side = min(width, height)
    margin = (max(width, height) - side) // 2
    long_side = side + 2 * (margin - margin % 2 if is_subsampled else margin)
    return (side, long_side) if width <= height else (long_side, side)


def _smaller(width: int, height: int, short_side: int) -> tuple[int, int]:
    """A size of about the same shape whose central square begins at an even pixel."""
    exact = max(keep_aspect(width, height, short_side))
    long_side = short_side + 4 * round((exact - short_side) / 4)
    return (short_side, long_side) if width <= height else (long_side, short_side)


def _crop(width: int, height: int) -> tuple[str, str]:
    return ("crop", f"w={width}:h={height}:x=0:y=0")


def _scale(width: int, height: int) -> tuple[str, str]:
    """Bit for bit the same on every processor, so that machines can share the work on an archive."""
    return ("scale", f"w={width}:h={height}:flags=bicubic+accurate_rnd+bitexact")
