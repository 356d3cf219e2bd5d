"""Filming the toy world: one video's scenery, objects, exposure and wandering camera, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from narravid.synthetic.narration import TimedStep
from narravid.synthetic.render import BackgroundPool, Figure, FloatImage, draw_figure, pose_at
from narravid.synthetic.steps import Colour, Shape, Step

__all__ = ["NUM_NOISES", "Camera", "Filmed", "SceneConfig", "Scenery"]

NUM_NOISES = 8
"""Pictures of noise that one video has."""


@dataclass(frozen=True, slots=True)
class SceneConfig:
    """How the videos of a world look.

    Attributes:
        width: Frame width in pixels (even).
        height: Frame height in pixels (even).
        fps: Frames per second.
        min_step_seconds: Shortest step.
        max_step_seconds: Longest step.
        max_pause_seconds: Longest pause between steps.
        min_radius: Smallest half extent of a moving object, in frame heights.
        max_radius: Largest.
        num_backgrounds: Backgrounds that all videos share.
        num_still_objects: Grey objects that stand about in every video and mean nothing.
        noise_std: Camera noise, in grey levels of 0-255.
        shake_share: How far the camera wanders, as a share of the background's margin in [0, 1].
        brightness_std: Deviation of a video's exposure, as a share.
    """

    width: int = 128
    height: int = 96
    fps: float = 10.0
    min_step_seconds: float = 3.5
    max_step_seconds: float = 5.5
    max_pause_seconds: float = 0.8
    min_radius: float = 0.17
    max_radius: float = 0.25
    num_backgrounds: int = 12
    num_still_objects: int = 1
    noise_std: float = 4.0
    shake_share: float = 0.2
    brightness_std: float = 0.08

    def __post_init__(self) -> None:
        if self.width < 16 or self.height < 16 or self.width % 2 or self.height % 2:
            raise ValueError(
                f"width and height must be even and at least 16, got {self.width} x {self.height}"
            )
        if not 0 < self.min_step_seconds <= self.max_step_seconds:
            raise ValueError(
                "min_step_seconds must be positive and at most max_step_seconds, got "
                f"{self.min_step_seconds} and {self.max_step_seconds}"
            )
        if not 0 < self.min_radius <= self.max_radius:
            raise ValueError(
                "min_radius must be positive and at most max_radius, got "
                f"{self.min_radius} and {self.max_radius}"
            )
        if self.fps <= 0:
            raise ValueError(f"fps must be positive, got {self.fps}")


class Filmed(Protocol):
    """What the camera must know of a video."""

    @property
    def steps(self) -> Sequence[TimedStep]:
        """What happens, in order."""

    @property
    def duration_seconds(self) -> float:
        """Its length."""

    @property
    def seed(self) -> Sequence[int]:
        """Source of its look."""


class Scenery:
    """What stands around the objects of one video: background, exposure, grey objects, a wandering camera.

    Args:
        scene: How the world looks.
        backgrounds: The backgrounds its videos share.
        generator: Source of the look. Objects and noise are drawn from it when they are asked for.
    """

    def __init__(
        self, scene: SceneConfig, backgrounds: BackgroundPool, generator: np.random.Generator
    ) -> None:
        self._scene = scene
        self._backgrounds = backgrounds
        self._generator = generator
        self._background = int(generator.integers(scene.num_backgrounds))
        self._origin = generator.uniform(0, 1, size=2)
        self._wander = generator.uniform(0.05, 0.25, size=2)
        self._exposure = float(1 + scene.brightness_std * generator.standard_normal())
        self._aspect = scene.width / scene.height
        self._still = [self._still_object() for _ in range(scene.num_still_objects)]

    def place(self, colour: Colour, shape: Shape) -> Figure:
        """Draw a place near the middle, a size and an angle for an object.

        Args:
            colour: Its colour.
            shape: Its shape.

        Returns:
            The object.
        """
        scene, generator = self._scene, self._generator
        return Figure(
            colour,
            shape,
            self._aspect / 2 + float(generator.uniform(-0.15, 0.15)),
            0.5 + float(generator.uniform(-0.1, 0.1)),
            float(generator.uniform(scene.min_radius, scene.max_radius)),
            float(generator.uniform(-0.25, 0.25)),
        )

    def noise_bank(self) -> FloatImage:
        """A few pictures of noise, used again and again: fresh noise costs more than drawing a frame.

        Returns:
            (NUM_NOISES, H, W, 3) float32 in grey levels, around 0.
        """
        scene = self._scene
        shape = (NUM_NOISES, scene.height, scene.width, 3)
        noise = self._generator.standard_normal(shape, dtype=np.float32)
        return noise * np.float32(scene.noise_std)

    def picture(
        self, seconds: float, noise: FloatImage, paint: Callable[[FloatImage], None]
    ) -> npt.NDArray[np.uint8]:
        """What the camera sees at one moment.

        Args:
            seconds: Time since it began to film.
            noise: (H, W, 3) float32 in grey levels, added last.
            paint: Paints the objects into the (H, W, 3) float32 canvas in [0, 255] that it is given.

        Returns:
            (H, W, 3) uint8, RGB.
        """
        sway = self._scene.shake_share * np.sin(2 * np.pi * self._wander * seconds)
        offset_x, offset_y = np.clip(self._origin + sway, 0, 1)
        canvas = self._backgrounds.view(self._background, offset_x=offset_x, offset_y=offset_y)
        for figure, grey in self._still:
            _draw_grey(canvas, figure, grey)
        paint(canvas)
        canvas *= np.float32(self._exposure)
        canvas += noise
        np.clip(canvas, 0, 255, out=canvas)
        return np.rint(canvas).astype(np.uint8)

    def _still_object(self) -> tuple[Figure, float]:
        """A small grey circle near the border, which is part of the scenery."""
        generator = self._generator
        x = float(generator.choice([0.12, self._aspect - 0.12]))
        figure = Figure("white", "circle", x, float(generator.uniform(0.1, 0.9)), 0.08, 0.0)
        return figure, float(generator.uniform(70, 180))


class Camera:
    """Draws the frames of one video.

    Args:
        scene: How the world looks.
        backgrounds: The backgrounds its videos share.
        video: What happens, how long it lasts, and the seed of its look.
    """

    def __init__(self, scene: SceneConfig, backgrounds: BackgroundPool, video: Filmed) -> None:
        self._fps = scene.fps
        self._video = video
        self._generator = np.random.default_rng([*video.seed, 1])
        self._scenery = Scenery(scene, backgrounds, self._generator)
        self._staged = [self._stage(timed.step) for timed in video.steps]

    def frames(self) -> Iterator[npt.NDArray[np.uint8]]:
        """The frames in order, each (H, W, 3) uint8; a camera films once."""
        num_frames = max(1, round(self._video.duration_seconds * self._fps))
        noise = self._scenery.noise_bank()
        for number in range(num_frames):
            seconds = number / self._fps
            chosen = noise[int(self._generator.integers(len(noise)))]
            yield self._scenery.picture(seconds, chosen, partial(self._act, seconds=seconds))

    def _act(self, canvas: FloatImage, *, seconds: float) -> None:
        for timed, (figure, reference) in zip(self._video.steps, self._staged, strict=True):
            if timed.span.start_seconds <= seconds < timed.span.end_seconds:
                _draw_step(canvas, timed, figure, reference, seconds - timed.span.start_seconds)

    def _stage(self, step: Step) -> tuple[Figure, Figure | None]:
        figure = self._scenery.place(step.colour, step.shape)
        if step.reference_colour is None or step.reference_shape is None:
            return figure, None
        # The reference stands half beside the moving object, so that both can be told when they overlap.
        side = 1.0 if self._generator.random() < 0.5 else -1.0
        reference = Figure(
            step.reference_colour,
            step.reference_shape,
            figure.x + side * 0.9 * figure.radius,
            figure.y,
            figure.radius * 0.8,
            float(self._generator.uniform(-0.25, 0.25)),
        )
        return figure, reference


def _draw_step(
    canvas: FloatImage, timed: TimedStep, figure: Figure, reference: Figure | None, seconds: float
) -> None:
    pose = pose_at(timed.step.motion, seconds, timed.span.duration_seconds)
    still = pose_at("spin", 0.0, 1.0)
    if reference is not None and timed.step.relation == "behind":
        draw_figure(canvas, figure, pose)
        draw_figure(canvas, reference, still)
        return
    if reference is not None:
        draw_figure(canvas, reference, still)
    draw_figure(canvas, figure, pose)


def _draw_grey(canvas: FloatImage, figure: Figure, grey: float) -> None:
    height, width = canvas.shape[:2]
    y, x = np.ogrid[0:height, 0:width]
    inside = (x - figure.x * height) ** 2 + (y - figure.y * height) ** 2 < (figure.radius * height) ** 2
    canvas[inside] = grey
