"""Drawing the toy world: shapes as distance fields, backgrounds, camera noise.

Coordinates are in units of the frame height with the origin at the top left corner, so that a picture looks
the same at every resolution; angles are in radians.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from narravid.synthetic.steps import Colour, Motion, Shape

__all__ = ["BackgroundPool", "Figure", "Pose", "draw_figure", "pose_at"]

FloatImage = npt.NDArray[np.float32]

RGB: dict[Colour, tuple[float, float, float]] = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 80, 230),
    "yellow": (240, 220, 40),
    "purple": (150, 50, 190),
    "white": (245, 245, 245),
    "orange": (250, 140, 30),
    "cyan": (50, 210, 220),
}
MARKER_RGB = (25.0, 25.0, 25.0)
MARKER_RADIUS = 0.2


@dataclass(frozen=True, slots=True)
class Figure:
    """An object of the scene as it is before it moves.

    Attributes:
        colour: Its colour.
        shape: Its shape.
        x: Centre, in frame heights from the left edge.
        y: Centre, in frame heights from the top edge.
        radius: Half its extent, in frame heights.
        angle: Rotation in radians.
    """

    colour: Colour
    shape: Shape
    x: float
    y: float
    radius: float
    angle: float


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a moving object is at one moment, relative to its figure.

    Attributes:
        dx: Shift to the right, in frame heights.
        dy: Shift downwards, in frame heights.
        scale: Factor on the radius.
        angle: Added rotation in radians.
        opacity: 0 (invisible) to 1.
    """

    dx: float = 0.0
    dy: float = 0.0
    scale: float = 1.0
    angle: float = 0.0
    opacity: float = 1.0


def pose_at(motion: Motion, seconds: float, duration_seconds: float) -> Pose:
    """The pose of a motion at a moment of its step.

    Args:
        motion: What the object does.
        seconds: Time since the step began.
        duration_seconds: Length of the step.

    Returns:
        The pose; travels are centred on the figure's place.
    """
    progress = min(max(seconds / duration_seconds, 0.0), 1.0)
    travel = progress - 0.5
    turn = 2 * math.pi * seconds
    poses: dict[Motion, Pose] = {
        "left": Pose(dx=-0.8 * travel),
        "right": Pose(dx=0.8 * travel),
        "up": Pose(dy=-0.6 * travel),
        "down": Pose(dy=0.6 * travel),
        "grow": Pose(scale=0.4 + 1.1 * progress),
        "shrink": Pose(scale=1.5 - 1.1 * progress),
        "spin": Pose(angle=0.5 * turn),
        "flash": Pose(opacity=1.0 if seconds % 1.0 < 0.55 else 0.0),
        "shake": Pose(dx=0.1 * math.sin(1.5 * turn)),
        "orbit": Pose(dx=0.17 * math.cos(0.5 * turn), dy=0.17 * math.sin(0.5 * turn)),
    }
    return poses[motion]


def draw_figure(canvas: FloatImage, figure: Figure, pose: Pose) -> None:
    """Paint a figure into a canvas, antialiased.

    Args:
        canvas: (H, W, 3) float32 in [0, 255]; changed in place.
        figure: The object.
        pose: How it stands at this moment.
    """
    if pose.opacity <= 0:
        return
    height, width = canvas.shape[:2]
    radius = figure.radius * pose.scale
    center_x, center_y = (figure.x + pose.dx) * height, (figure.y + pose.dy) * height
    reach = radius * height * 1.3 + 1
    left, right = max(0, int(center_x - reach)), min(width, int(center_x + reach) + 2)
    top, bottom = max(0, int(center_y - reach)), min(height, int(center_y + reach) + 2)
    if left >= right or top >= bottom:
        return
    pixel = np.float32(1 / (radius * height))
    across = ((np.arange(left, right, dtype=np.float32) + 0.5 - np.float32(center_x)) * pixel)[None, :]
    along = ((np.arange(top, bottom, dtype=np.float32) + 0.5 - np.float32(center_y)) * pixel)[:, None]
    angle = figure.angle + pose.angle
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    local_x = (across * cosine + along * sine).astype(np.float32, copy=False)
    local_y = (along * cosine - across * sine).astype(np.float32, copy=False)
    region = canvas[top:bottom, left:right]
    _blend(region, _distance(figure.shape, local_x, local_y), RGB[figure.colour], pixel, pose.opacity)
    marker_x = 0.75 if figure.shape == "ring" else 0.45
    marker = np.hypot(local_x - np.float32(marker_x), local_y) - np.float32(MARKER_RADIUS)
    _blend(region, marker, MARKER_RGB, pixel, pose.opacity)


def _blend(
    region: FloatImage,
    distance: FloatImage,
    colour: tuple[float, float, float],
    pixel: np.float32,
    opacity: float,
) -> None:
    coverage = np.clip(0.5 - distance / pixel, 0, 1)[..., None] * np.float32(opacity)
    region += coverage * (np.asarray(colour, dtype=np.float32) - region)


def _distance(shape: Shape, x: FloatImage, y: FloatImage) -> FloatImage:
    """Signed distance to the outline of a shape that fills the unit circle, negative inside."""
    distance: FloatImage
    if shape == "circle":
        distance = np.hypot(x, y) - np.float32(0.95)
    elif shape == "square":
        distance = np.maximum(np.abs(x), np.abs(y)) - np.float32(0.82)
    elif shape == "triangle":
        slanted = np.float32(math.sqrt(3) / 2) * np.abs(y) + np.float32(0.5) * x
        distance = np.maximum(slanted, -x) - np.float32(0.58)
    elif shape == "cross":
        wide = np.maximum(np.abs(x) - np.float32(1), np.abs(y) - np.float32(0.3))
        tall = np.maximum(np.abs(x) - np.float32(0.3), np.abs(y) - np.float32(1))
        distance = np.minimum(wide, tall)
    elif shape == "star":
        wave = np.cos(np.float32(5) * np.arctan2(y, x))
        distance = np.hypot(x, y) - (np.float32(0.72) + np.float32(0.33) * wave)
    else:
        distance = np.abs(np.hypot(x, y) - np.float32(0.72)) - np.float32(0.24)
    return distance.astype(np.float32, copy=False)


class BackgroundPool:
    """A fixed number of muted backgrounds that the videos of one world share.

    Videos that each had a background of their own would be told apart by it, and a network would learn the
    videos by heart instead of what happens in them.

    Args:
        num_backgrounds: Size of the pool.
        height: Frame height in pixels.
        width: Frame width in pixels.
        seed: Source of the patterns.
    """

    margin_share = 0.25

    def __init__(self, num_backgrounds: int, *, height: int, width: int, seed: int) -> None:
        if num_backgrounds < 1:
            raise ValueError(f"num_backgrounds must be at least 1, got {num_backgrounds}")
        self._margin = max(2, int(height * self.margin_share))
        self._height, self._width = height, width
        self._images = [
            _background(
                np.random.default_rng([seed, number]), height + self._margin, width + self._margin, height
            )
            for number in range(num_backgrounds)
        ]

    def view(self, number: int, *, offset_x: float, offset_y: float) -> FloatImage:
        """A copy of one background as a frame shows it.

        Args:
            number: Which background; taken modulo the size of the pool.
            offset_x: Place of the view in [0, 1] between the left and the right end.
            offset_y: The same from top to bottom.

        Returns:
            (H, W, 3) float32 in [0, 255].
        """
        left = round(min(max(offset_x, 0.0), 1.0) * self._margin)
        top = round(min(max(offset_y, 0.0), 1.0) * self._margin)
        image = self._images[number % len(self._images)]
        return image[top : top + self._height, left : left + self._width].copy()


def _background(generator: np.random.Generator, height: int, width: int, frame_height: int) -> FloatImage:
    """A muted picture: two greyish colours mixed by a smooth pattern of waves."""
    first, second = (60 + 110 * generator.random() + generator.uniform(-14, 14, size=3) for _ in range(2))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(frame_height)
    mix = np.zeros((height, width), dtype=np.float32)
    for _ in range(3):
        frequency = generator.uniform(-9, 9, size=2)
        mix += np.sin(frequency[0] * x + frequency[1] * y + generator.uniform(0, 6.3)).astype(np.float32)
    share = np.clip(mix / 3 * 0.5 + 0.5, 0, 1)[..., None]
    return np.asarray(first * (1 - share) + second * share, dtype=np.float32)
