"""The plan of a narrated toy world: which steps happen in which video, when, and what is said about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from narravid.synthetic.camera import Camera, SceneConfig
from narravid.synthetic.narration import NarrationConfig, TimedStep, ToldCaption, narrate
from narravid.synthetic.render import BackgroundPool
from narravid.synthetic.steps import StepSpace
from narravid.types import Span

__all__ = ["PRESETS", "Split", "ToyVideo", "ToyWorld", "WorldConfig", "preset"]

Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """A toy world.

    Attributes:
        num_train_videos: Videos to learn from.
        num_test_repetitions: How often every step happens in the held-out videos.
        steps_per_video: Steps in one video.
        space: The steps there are.
        scene: How videos look.
        narration: How they are told.
    """

    num_train_videos: int = 200
    num_test_repetitions: int = 2
    steps_per_video: int = 12
    space: StepSpace = field(default_factory=StepSpace)
    scene: SceneConfig = field(default_factory=SceneConfig)
    narration: NarrationConfig = field(default_factory=NarrationConfig)

    def __post_init__(self) -> None:
        for name in ("num_train_videos", "num_test_repetitions"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.steps_per_video < 1:
            raise ValueError(f"steps_per_video must be at least 1, got {self.steps_per_video}")


PRESETS: dict[str, WorldConfig] = {
    "tiny": WorldConfig(
        space=StepSpace(
            colours=("red", "green", "blue", "yellow"),
            shapes=("circle", "square", "triangle"),
            motions=("left", "right", "grow", "spin"),
        ),
        num_train_videos=48,
        scene=SceneConfig(
            width=64,
            height=48,
            fps=8.0,
            min_step_seconds=2.0,
            max_step_seconds=3.0,
            max_pause_seconds=0.5,
            min_radius=0.2,
            max_radius=0.28,
            num_backgrounds=6,
        ),
        narration=NarrationConfig(alignable_share=0.8, timing_std_seconds=0.7, canonical_share=0.6),
    ),
    "demo": WorldConfig(
        space=StepSpace(
            colours=("red", "green", "blue", "yellow", "purple"),
            shapes=("circle", "square", "triangle", "cross"),
            motions=("left", "right", "up", "grow", "spin", "flash"),
        ),
        num_train_videos=120,
        scene=SceneConfig(fps=8.0, min_radius=0.2, max_radius=0.28),
        narration=NarrationConfig(alignable_share=0.7, timing_std_seconds=2.0, canonical_share=0.6),
    ),
    "howto": WorldConfig(
        num_train_videos=400,
        space=StepSpace(
            motions=("left", "right", "up", "down", "grow", "shrink", "spin", "flash"),
            relations=("alone", "behind", "in front of"),
        ),
        narration=NarrationConfig(alignable_share=0.3, told_share=0.6, timing_std_seconds=3.3, cut_share=0.3),
    ),
}


def preset(name: str) -> WorldConfig:
    """A world by name.

    Args:
        name: One of `PRESETS`.

    Returns:
        Its configuration.

    Raises:
        ValueError: If there is no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; there are {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


@dataclass(frozen=True, slots=True)
class ToyVideo:
    """The plan of one video; `frames` draws it.

    Attributes:
        video_id: Its name, the stem of its file.
        split: "train" or "test".
        steps: What happens, in order.
        captions: What is said, by start.
        duration_seconds: Its length.
        seed: Source of its look.
    """

    video_id: str
    split: Split
    steps: tuple[TimedStep, ...]
    captions: tuple[ToldCaption, ...]
    duration_seconds: float
    seed: tuple[int, ...]


class ToyWorld:
    """All videos of a world as plans, a pure function of configuration and seed.

    Args:
        config: The world.
        seed: Source of everything in it.
    """

    def __init__(self, config: WorldConfig, *, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.steps = config.space.steps()
        scene = config.scene
        self._backgrounds = BackgroundPool(
            scene.num_backgrounds, height=scene.height, width=scene.width, seed=seed
        )
        train = self._plan_split("train", config.num_train_videos * config.steps_per_video)
        test = self._plan_split("test", config.num_test_repetitions * len(self.steps))
        self.videos: tuple[ToyVideo, ...] = (*train, *test)

    def split(self, split: Split) -> tuple[ToyVideo, ...]:
        """The videos of one split."""
        return tuple(video for video in self.videos if video.split == split)

    def frames(self, video: ToyVideo) -> Iterator[npt.NDArray[np.uint8]]:
        """Draw a video.

        Args:
            video: One of this world's.

        Returns:
            Its frames in order, each (H, W, 3) uint8, RGB.
        """
        return Camera(self.config.scene, self._backgrounds, video).frames()

    def _plan_split(self, split: Split, num_steps: int) -> list[ToyVideo]:
        """Cut a balanced random sequence of steps into videos."""
        number_of_split = 0 if split == "train" else 1
        generator = np.random.default_rng([self.seed, number_of_split])
        order: list[int] = []
        while len(order) < num_steps:
            order.extend(generator.permutation(len(self.steps)).tolist())
        order = order[:num_steps]
        size = self.config.steps_per_video
        return [
            self._plan_video(split, number, order[first : first + size], (self.seed, number_of_split, number))
            for number, first in enumerate(range(0, len(order), size))
        ]

    def _plan_video(
        self, split: Split, number: int, step_indices: list[int], seed: tuple[int, ...]
    ) -> ToyVideo:
        scene = self.config.scene
        generator = np.random.default_rng([*seed, 0])
        steps: list[TimedStep] = []
        now = 0.0
        for index in step_indices:
            now += generator.uniform(0, scene.max_pause_seconds)
            length = generator.uniform(scene.min_step_seconds, scene.max_step_seconds)
            steps.append(TimedStep(self.steps[index], Span(round(now, 3), round(now + length, 3))))
            now += length
        duration = round(now + generator.uniform(0, scene.max_pause_seconds), 3)
        captions = narrate(
            steps,
            self.config.narration,
            duration_seconds=duration,
            all_steps=self.steps,
            generator=generator,
        )
        return ToyVideo(f"{split}{number:04d}", split, tuple(steps), captions, duration, seed)
