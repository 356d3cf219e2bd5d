"""The toy world as a Gymnasium environment: an agent moves one shape, and a camera of the world films it.

An episode looks like a video of the world: background, grey objects, exposure, noise and the wandering camera
are drawn by the same parts, anew for each episode. It needs the extra `rl`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from narravid.config import check_choices
from narravid.extras import import_extra
from narravid.synthetic.camera import SceneConfig, Scenery
from narravid.synthetic.render import BackgroundPool, Figure, FloatImage, Pose, draw_figure
from narravid.synthetic.steps import Colour, Shape
from narravid.synthetic.world import preset

if TYPE_CHECKING:
    import gymnasium
else:
    gymnasium = import_extra("gymnasium", extra="rl", feature="the toy world as an environment")

__all__ = ["Direction", "ToyEnvironmentConfig", "ToyWorldEnv"]

Direction = Literal["left", "right", "up", "down"]
"""Where the true reward wants the shape to go."""

WAYS: dict[Direction, tuple[float, float]] = {
    "left": (-1.0, 0.0),
    "right": (1.0, 0.0),
    "up": (0.0, -1.0),
    "down": (0.0, 1.0),
}
BORDER = 0.12
"""The centre of the shape stays this far from the edges of the frame, in frame heights, as in the videos."""

ENTRY_POINT = f"{__name__}:ToyWorldEnv"

FloatVector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ToyEnvironmentConfig:
    """What the agent moves, and how.

    Speed and inertia were chosen by how well a text judged episodes of `examples/text_reward.py`, others than
    those that it reports: a shape may go two to three times as fast as those of the videos.

    Attributes:
        colour: Colour of the shape.
        shape: The shape.
        goal: The direction that the true reward counts.
        episode_seconds: Length of an episode; one step of the agent is one frame.
        max_speed: Speed along one axis that the largest command asks for, in frame heights per second.
        inertia: Share of its velocity, in [0, 1), that the shape keeps from one step to the next.
        scene: How episodes look, with the size and the rate of frames.
        background_seed: Seed of the backgrounds; a world made with this seed has the same.
    """

    colour: Colour = "red"
    shape: Shape = "square"
    goal: Direction = "left"
    episode_seconds: float = 2.5
    max_speed: float = 0.8
    inertia: float = 0.8
    scene: SceneConfig = field(default_factory=lambda: preset("demo").scene)
    background_seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        for name, value in (("max_speed", self.max_speed), ("episode_seconds", self.episode_seconds)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if self.background_seed < 0:
            raise ValueError(f"background_seed must not be negative, got {self.background_seed}")
        if not 0 <= self.inertia < 1:
            raise ValueError(f"inertia must lie in [0, 1), got {self.inertia}")
        if self.num_steps < 2:
            raise ValueError(
                f"an episode needs at least 2 steps, and episode_seconds {self.episode_seconds} at "
                f"{self.scene.fps:g} frames per second has {self.num_steps}"
            )
        if self.scene.width < self.scene.height / 2:
            raise ValueError(
                "a frame narrower than half its height leaves the shape no room, got "
                f"{self.scene.width} x {self.scene.height}"
            )

    @property
    def num_steps(self) -> int:
        """Steps of an episode; it has one frame more."""
        return round(self.episode_seconds * self.scene.fps)


class ToyWorldEnv(gymnasium.Env[FloatVector, FloatVector]):
    """An agent moves one shape of the toy world for a few seconds.

    An action is the velocity that the shape is to take, (2,) float32 in [-1, 1], to the right and down. An
    observation is where the shape is between the edges of the frame, and its velocity: x, y, along x and
    along y, (4,) float32 in [-1, 1]. The reward of a step is the way made towards the goal, in frame heights,
    so that the return of an episode is its progress from the first frame to the last. Every episode has the
    same length, and is truncated at its end.

    `info["progress"]` is the way made since the beginning. The environment is not registered with Gymnasium:
    `gymnasium.make` takes its `spec`, not a name.

    Args:
        config: What is moved, and how; None for a red square that is to go left.
        render_mode: "rgb_array" for frames of (H, W, 3) uint8; None for none.

    Raises:
        ValueError: If the render mode is unknown.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, config: ToyEnvironmentConfig | None = None, *, render_mode: str | None = None) -> None:
        self.config = config = config or ToyEnvironmentConfig()
        self.metadata = {**type(self).metadata, "render_fps": config.scene.fps}
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        self.render_mode = render_mode
        self.spec = gymnasium.envs.registration.EnvSpec(
            "ToyWorld-v0", entry_point=ENTRY_POINT, kwargs={"config": config}
        )
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = gymnasium.spaces.Box(-1, 1, (4,), np.float32)
        scene = config.scene
        self._backgrounds = BackgroundPool(
            scene.num_backgrounds, height=scene.height, width=scene.width, seed=config.background_seed
        )
        self._furthest = np.array([scene.width / scene.height, 1.0]) - BORDER
        self._way = np.array(WAYS[config.goal])
        self._episode: _Episode | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatVector, dict[str, Any]]:
        """Begin an episode with a look, a size and a place of its own.

        Args:
            seed: Source of this episode and those that follow; None goes on with the source there is.
            options: Not used.

        Returns:
            Observation and info.
        """
        super().reset(seed=seed)
        self._episode = episode = _Episode(self.config, self._backgrounds, self.np_random)
        episode.place = np.clip(episode.place, BORDER, self._furthest)
        return self._observe(episode), {"progress": 0.0}

    def step(self, action: FloatVector) -> tuple[FloatVector, float, bool, bool, dict[str, Any]]:
        """Move for one frame.

        Args:
            action: (2,) wanted velocity; values beyond [-1, 1] count as the nearest within.

        Returns:
            Observation, way made, False, whether this was the last step, and info.

        Raises:
            ResetNeeded: If there is no episode, or it is over.
            ValueError: If the action is not two finite numbers.
        """
        episode = self._running()
        config = self.config
        if episode.number == config.num_steps:
            raise gymnasium.error.ResetNeeded("the episode is over; call reset() before the next step")
        command = np.asarray(action, dtype=np.float64)
        if command.shape != (2,) or not np.isfinite(command).all():
            raise ValueError(f"an action must be two finite numbers, got {action}")
        wanted = np.clip(command, -1, 1) * config.max_speed
        before = episode.place
        velocity = config.inertia * episode.velocity + (1 - config.inertia) * wanted
        free = before + velocity / config.scene.fps
        episode.place = np.clip(free, BORDER, self._furthest)
        episode.velocity = np.where(episode.place == free, velocity, 0.0)  # an edge stops it
        episode.number += 1
        reward = float((episode.place - before) @ self._way)
        episode.progress += reward
        over = episode.number == config.num_steps
        return self._observe(episode), reward, False, over, {"progress": episode.progress}

    def render(self) -> npt.NDArray[np.uint8] | None:
        """The frame of this moment; the same however often it is asked for.

        Returns:
            (H, W, 3) uint8, RGB; None without a render mode.

        Raises:
            ResetNeeded: If there is no episode.
        """
        if self.render_mode is None:
            return None
        return self._running().frame()

    def _running(self) -> _Episode:
        if self._episode is None:
            raise gymnasium.error.ResetNeeded("there is no episode yet; call reset() first")
        return self._episode

    def _observe(self, episode: _Episode) -> FloatVector:
        place = 2 * (episode.place - BORDER) / (self._furthest - BORDER) - 1
        state = np.concatenate([place, episode.velocity / self.config.max_speed])
        return np.asarray(np.clip(state, -1, 1), dtype=np.float32)


class _Episode:
    """The state of one episode and its camera; all that is drawn is drawn at the beginning."""

    def __init__(
        self, config: ToyEnvironmentConfig, backgrounds: BackgroundPool, generator: np.random.Generator
    ) -> None:
        self._fps = config.scene.fps
        self._scenery = Scenery(config.scene, backgrounds, generator)
        self._figure: Figure = self._scenery.place(config.colour, config.shape)
        self._noise = self._scenery.noise_bank()
        self._noise_numbers = generator.integers(len(self._noise), size=config.num_steps + 1)
        self.place = np.array([self._figure.x, self._figure.y])
        self.velocity = np.zeros(2)
        self.progress = 0.0
        self.number = 0

    def frame(self) -> npt.NDArray[np.uint8]:
        noise = self._noise[self._noise_numbers[self.number]]
        return self._scenery.picture(self.number / self._fps, noise, self._paint)

    def _paint(self, canvas: FloatImage) -> None:
        dx, dy = self.place - (self._figure.x, self._figure.y)
        draw_figure(canvas, self._figure, Pose(dx=float(dx), dy=float(dy)))
