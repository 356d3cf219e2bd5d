"""From a decoded picture to upright RGB of the wanted size, through FFmpeg's own filters in process."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import av
import av.filter
import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import SideDataContainer

from narravid.errors import DecodeError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "PictureScaler",
    "Region",
    "ShortSide",
    "Square",
    "SquareOfScaled",
    "is_upright",
    "keep_aspect",
    "picture_kind",
    "rotation_degrees",
    "upright_graph",
    "upright_size",
]

UNROTATED = (1, 0, 0, 1)
SMALLEST_SUBSAMPLED = 2  # pixels; crops of subsampled chroma are rounded to this


@dataclass(frozen=True)
class Square:
    """Take the largest square of the picture and scale it.

    Attributes:
        size_pixels: Height and width of the result.
        across: Where the square lies between the left (0) and the right edge (1).
        down: Where it lies between the top (0) and the bottom edge (1).
    """

    size_pixels: int
    across: float = 0.5
    down: float = 0.5


@dataclass(frozen=True)
class ShortSide:
    """Keep the whole picture and its aspect; scale so that the shorter side has a given length.

    Attributes:
        size_pixels: Length of the shorter side; None keeps the size.
        rounds_down: Whether the longer side is rounded down, as published extractors do, and not to nearest.
    """

    size_pixels: int | None
    rounds_down: bool = False


@dataclass(frozen=True)
class SquareOfScaled:
    """Scale so that the shorter side has a given length, then take the centre square.

    The longer side is rounded down, and an odd pixel is left over on the right or below (Miech et al. 2019,
    arXiv 1906.03327, released extraction).

    Attributes:
        size_pixels: Height and width of the result.
    """

    size_pixels: int


Region = Square | ShortSide | SquareOfScaled
"""What part of a picture to take, and its size."""


def _matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """Signs (a, b, c, d) of the 2x2 part of the display matrix, taken to the nearest right angle."""
    # `frame.side_data` would be kept by the frame and keep the frame: a picture that waits to be collected.
    side_data = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]  # a gap in PyAV's stubs
    if side_data is None:
        return UNROTATED
    a, b, _, c, d = struct.unpack_from("=5i", memoryview(cast("Buffer", side_data)))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (1 if a >= 0 else -1, 0, 0, 1 if d >= 0 else -1)
    return (0, 1 if b >= 0 else -1, 1 if c >= 0 else -1, 0)


_UPRIGHT_FILTERS: dict[tuple[int, int, int, int], tuple[tuple[str, str], ...]] = {
    (1, 0, 0, 1): (),
    (-1, 0, 0, -1): (("hflip", ""), ("vflip", "")),
    (-1, 0, 0, 1): (("hflip", ""),),
    (1, 0, 0, -1): (("vflip", ""),),
    (0, 1, -1, 0): (("transpose", "dir=clock"),),
    (0, -1, 1, 0): (("transpose", "dir=cclock"),),
    (0, 1, 1, 0): (("transpose", "dir=cclock_flip"),),
    (0, -1, -1, 0): (("transpose", "dir=clock_flip"),),
}

_ROTATIONS: dict[tuple[int, int, int, int], int] = {
    (-1, 0, 0, -1): 180,
    (0, 1, -1, 0): 90,
    (0, 1, 1, 0): 90,
    (0, -1, 1, 0): 270,
    (0, -1, -1, 0): 270,
}


def rotation_degrees(frame: av.VideoFrame) -> int:
    """Clockwise rotation that makes the picture upright: 0, 90, 180 or 270."""
    return _ROTATIONS.get(_matrix(frame), 0)


def is_upright(frame: av.VideoFrame) -> bool:
    """Whether the picture is to be shown as it lies, neither turned nor mirrored."""
    return _matrix(frame) == UNROTATED


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    """(width, height) in pixels after rotation."""
    if rotation_degrees(frame) in (90, 270):
        return frame.height, frame.width
    return frame.width, frame.height


def picture_kind(frame: av.VideoFrame) -> tuple[object, ...]:
    """Size, pixel format, colours and rotation: what a filter graph is built for."""
    colours = (frame.colorspace, frame.color_range)
    return (frame.width, frame.height, frame.format.name, *colours, _matrix(frame))


def upright_graph(frame: av.VideoFrame, filters: Sequence[tuple[str, str]]) -> av.filter.Graph:
    """A graph that makes pictures of the kind of `frame` upright.

    Args:
        frame: What goes in.
        filters: (name, arguments) of the filters that follow.

    Returns:
        The graph, ready for `vpush` and `vpull`.
    """
    graph = av.filter.Graph()
    graph.threads = 1
    nodes = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
    ]
    nodes += [graph.add(name, args) for name, args in _UPRIGHT_FILTERS[_matrix(frame)]]
    nodes += [graph.add(name, args) for name, args in filters]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes)
    graph.configure()
    return graph


class PictureScaler:
    """Turns decoded frames into (H, W, 3) uint8 RGB; its filter graph is rebuilt only when the input changes.

    Args:
        path: The file, named in errors.
        region: What part of the picture to take, and its size.
    """

    def __init__(self, path: str, region: Region) -> None:
        self._path = path
        self._region = region
        self._output: tuple[int, int] | None = None
        self._kind: tuple[object, ...] | None = None
        self._graph: av.filter.Graph | None = None

    def __call__(self, frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
        """The frame as (H, W, 3) uint8 RGB.

        Raises:
            DecodeError: If FFmpeg cannot convert the picture.
        """
        kind = picture_kind(frame)
        try:
            if self._graph is None or kind != self._kind:
                filters = [*self._scaling(*upright_size(frame)), ("format", "pix_fmts=rgb24")]
                self._graph, self._kind = upright_graph(frame, filters), kind
            self._graph.vpush(frame)
            return self._graph.vpull().to_ndarray().astype(np.uint8, copy=False)
        except av.FFmpegError as error:
            said = f"{frame.width}x{frame.height} {frame.format.name}"
            raise DecodeError(self._path, f"a picture ({said}) cannot be converted: {error}") from error

    def _scaling(self, width: int, height: int) -> list[tuple[str, str]]:
        """Filters and arguments for an upright picture of this size."""
        region = self._region
        if isinstance(region, Square):
            side = min(width, height)
            x, y = (width - side) * region.across, (height - side) * region.down
            filters = [
                ("crop", f"w={side}:h={side}:x={x!r}:y={y!r}"),
                _scale(region.size_pixels, region.size_pixels),
            ]
            return filters if side >= SMALLEST_SUBSAMPLED else [("format", "pix_fmts=gbrp"), *filters]
        if isinstance(region, SquareOfScaled):
            side = region.size_pixels
            across, down = keep_aspect(width, height, side, rounds_down=True)
            place = f"w={side}:h={side}:x={(across - side) // 2}:y={(down - side) // 2}"
            return [_scale(across, down), ("crop", place)]
        if self._output is None:
            self._output = keep_aspect(width, height, region.size_pixels, rounds_down=region.rounds_down)
        return [_scale(*self._output)]


def _scale(width: int, height: int) -> tuple[str, str]:
    return ("scale", f"w={width}:h={height}:flags=bicubic")


def keep_aspect(
    width: int, height: int, short_side: int | None, *, rounds_down: bool = False
) -> tuple[int, int]:
    """(width, height) of the same shape whose shorter side has a given length; None keeps the size."""
    if short_side is None:
        return width, height
    longer, shorter = max(width, height), min(width, height)
    length = longer * short_side // shorter if rounds_down else round(longer * short_side / shorter)
    return (short_side, max(1, length)) if width <= height else (max(1, length), short_side)
