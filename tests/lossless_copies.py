"""One video in several containers without loss, for tests of what must not depend on the container."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

LOSSLESS = {
    "h264.mp4": ("libx264rgb", "rgb24", {"qp": "0", "preset": "ultrafast"}),
    "raw.avi": ("rawvideo", "bgr24", {}),
    "ffv1.mkv": ("ffv1", "bgr0", {}),
}
"""Name → codec, pixel format and options that keep every pixel, at odd sizes too."""


def decoded_frames(path: Path) -> list[np.ndarray]:
    """All frames of a video as (H, W, 3) uint8 RGB."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def write_lossless(path: Path, frames: Sequence[np.ndarray], *, kind: str, fps: int) -> Path:
    """Write RGB frames as a kind of `LOSSLESS`."""
    codec, pixel_format, options = LOSSLESS[kind]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps), options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture.reformat(format=pixel_format)))
        container.mux(stream.encode(None))
    return path


def write_gif(path: Path, frames: Sequence[np.ndarray], *, fps: int) -> Path:
    """Write RGB frames of few colours as a GIF, which keeps them."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=Fraction(fps))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "rgb8"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture.reformat(format="rgb8")))
        container.mux(stream.encode(None))
    return path
