"""Videos whose frames say their own number, so that a test can see which frame it was given."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

NUM_BITS = 12
COLUMNS, ROWS = 4, 3


def numbered_frame(number, height=48, width=64):
    """A frame whose central square holds `number` as a grid of black and white blocks."""
    frame = np.full((height, width, 3), 96, dtype=np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    for bit in range(NUM_BITS):
        row, column = divmod(bit, COLUMNS)
        rows = slice(top + row * side // ROWS, top + (row + 1) * side // ROWS)
        columns = slice(left + column * side // COLUMNS, left + (column + 1) * side // COLUMNS)
        frame[rows, columns] = 235 if number >> bit & 1 else 16
    return frame


def number_of(frame):
    """The number in a decoded frame, cropped to the square or not."""
    frame = np.asarray(frame)
    side = min(frame.shape[:2])
    top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    square = frame[top : top + side, left : left + side].astype(float).mean(axis=2)
    number = 0
    for bit in range(NUM_BITS):
        row, column = divmod(bit, COLUMNS)
        y, x = int((row + 0.5) * side / ROWS), int((column + 0.5) * side / COLUMNS)
        if square[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].mean() > 126:
            number |= 1 << bit
    return number


def numbers_of(clip):
    """Numbers of the real frames of a clip."""
    return [number_of(frame) for frame, is_real in zip(clip.frames, clip.mask, strict=True) if is_real]


def write_timed(path, ticks, *, time_base=Fraction(1, 1000), codec="libx264", size=(48, 64), **settings):
    """Write frames 0, 1, 2 ... at the given times.

    Args:
        path: The file; its suffix chooses the container.
        ticks: Presentation time of each frame.
        time_base: Seconds per tick.
        codec: FFmpeg's name of the encoder.
        size: (height, width).
        settings: `rate`, `pix_fmt`, `gop_size`, `options`, `format`, `rotation` (of the display, degrees),
            `durations` (in ticks; of a codec that gives each frame at once).
    """
    container = av.open(str(path), "w", format=settings.get("format"))
    with container:
        rate = settings.get("rate", Fraction(25))
        stream = container.add_stream(codec, rate=rate, options=settings.get("options", {}))
        stream.height, stream.width = size
        stream.pix_fmt = settings.get("pix_fmt", "yuv420p")
        stream.codec_context.time_base = time_base
        stream.gop_size = settings.get("gop_size", 25)
        stream.thread_count = 1
        if "rotation" in settings:
            stream.set_display_rotation(settings["rotation"])
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, *size), format="rgb24")
            frame = frame.reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = tick, time_base
            for packet in stream.encode(frame):
                if "durations" in settings:
                    packet.duration = settings["durations"][number]  # of a codec without delay
                container.mux(packet)
        container.mux(stream.encode(None))
