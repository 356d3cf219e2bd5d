"""What can happen in the toy world: steps made of colour, shape, motion and relation, and how they are told.

A step has one canonical sentence ("a red square slides left behind the blue circle") and many paraphrases, as
narrators do not use one wording.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

__all__ = [
    "COLOURS",
    "MOTIONS",
    "RELATIONS",
    "SHAPES",
    "Colour",
    "Motion",
    "Relation",
    "Shape",
    "Step",
    "StepSpace",
]

Colour = Literal["red", "green", "blue", "yellow", "purple", "white", "orange", "cyan"]
Shape = Literal["circle", "square", "triangle", "cross", "star", "ring"]
Motion = Literal["left", "right", "up", "down", "grow", "shrink", "spin", "flash", "shake", "orbit"]
Relation = Literal["alone", "behind", "in front of"]

COLOURS: tuple[Colour, ...] = get_args(Colour)
SHAPES: tuple[Shape, ...] = get_args(Shape)
MOTIONS: tuple[Motion, ...] = get_args(Motion)
RELATIONS: tuple[Relation, ...] = get_args(Relation)

# The first wording of each list is the canonical one.
MOTION_WORDINGS: dict[Motion, tuple[str, ...]] = {
    "left": ("slides left", "moves to the left", "goes left"),
    "right": ("slides right", "moves to the right", "goes right"),
    "up": ("rises", "moves up", "goes upwards"),
    "down": ("falls", "moves down", "goes downwards"),
    "grow": ("grows", "gets bigger", "becomes larger"),
    "shrink": ("shrinks", "gets smaller", "becomes tiny"),
    "spin": ("spins", "turns around", "rotates"),
    "flash": ("flashes", "blinks", "goes on and off"),
    "shake": ("shakes", "wobbles", "trembles"),
    "orbit": ("orbits", "travels in a loop", "runs in circles"),
}
SHAPE_WORDINGS: dict[Shape, tuple[str, ...]] = {
    "circle": ("circle", "disc", "ball"),
    "square": ("square", "box", "block"),
    "triangle": ("triangle", "wedge", "pyramid"),
    "cross": ("cross", "plus"),
    "star": ("star", "asterisk"),
    "ring": ("ring", "donut", "hoop"),
}
COLOUR_WORDINGS: dict[Colour, tuple[str, ...]] = {
    "red": ("red", "crimson"),
    "green": ("green", "emerald"),
    "blue": ("blue", "navy"),
    "yellow": ("yellow", "golden"),
    "purple": ("purple", "violet"),
    "white": ("white", "ivory"),
    "orange": ("orange", "amber"),
    "cyan": ("cyan", "turquoise"),
}
OPENINGS = ("", "now", "here", "and then", "you see", "next", "okay so", "as you can see", "so")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens: an object of a colour and shape makes a motion, perhaps past a still object.

    Attributes:
        colour: Colour of the moving object.
        shape: Its shape.
        motion: What it does.
        relation: "alone", or how it stands to the reference object.
        reference_colour: Colour of the still object it is related to; None when alone.
        reference_shape: Shape of that object; None when alone.

    Raises:
        ValueError: If a related step lacks its reference, or a step alone has one.
    """

    colour: Colour
    shape: Shape
    motion: Motion
    relation: Relation = "alone"
    reference_colour: Colour | None = None
    reference_shape: Shape | None = None

    def __post_init__(self) -> None:
        has_reference = self.reference_colour is not None and self.reference_shape is not None
        if has_reference != (self.relation != "alone"):
            raise ValueError(f"relation {self.relation!r} does not fit reference {self.reference_shape!r}")

    @property
    def sentence(self) -> str:
        """The canonical sentence, such as "a red square slides left"."""
        return self._tell(self.colour, self.shape, MOTION_WORDINGS[self.motion][0])

    def paraphrase(self, generator: np.random.Generator, *, canonical_share: float = 0.4) -> str:
        """A wording that a narrator might use.

        Args:
            generator: Source of the choices.
            canonical_share: Probability in [0, 1] that a word is the canonical one instead of any synonym.

        Returns:
            A sentence without full stop, as speech recognition writes it.
        """

        def choose(wordings: Sequence[str]) -> str:
            if generator.random() < canonical_share:
                return wordings[0]
            return wordings[int(generator.integers(len(wordings)))]

        told = self._tell(
            choose(COLOUR_WORDINGS[self.colour]),
            choose(SHAPE_WORDINGS[self.shape]),
            choose(MOTION_WORDINGS[self.motion]),
        )
        if generator.random() < 0.5:
            told = "the " + told.split(" ", 1)[1]
        return f"{choose(OPENINGS)} {told}".strip()

    def _tell(self, colour: str, shape: str, motion: str) -> str:
        article = "an" if colour[0] in "aeiou" else "a"
        told = f"{article} {colour} {shape} {motion}"
        if self.relation == "alone":
            return told
        return f"{told} {self.relation} the {self.reference_colour} {self.reference_shape}"


@dataclass(frozen=True, slots=True)
class StepSpace:
    """The steps a world is made of: every combination of the given attributes.

    Attributes:
        colours: Colours of moving objects.
        shapes: Shapes of moving objects.
        motions: What they do.
        relations: "alone" and relations to a still object, whose colour and shape follow from those of the
            moving one (the next in the lists), so that relations multiply the steps by their number only.
    """

    colours: tuple[Colour, ...] = COLOURS
    shapes: tuple[Shape, ...] = SHAPES
    motions: tuple[Motion, ...] = MOTIONS
    relations: tuple[Relation, ...] = ("alone",)

    def __post_init__(self) -> None:
        for name in ("colours", "shapes", "motions", "relations"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} must be a non-empty list without repetition, got {values}")
        if self.relations != ("alone",) and min(len(self.colours), len(self.shapes)) < 2:
            raise ValueError("relations need at least two colours and two shapes")

    def steps(self) -> tuple[Step, ...]:
        """All distinct steps, in a fixed order."""
        combinations = itertools.product(self.colours, self.shapes, self.motions, self.relations)
        return tuple(self._step(*combination) for combination in combinations)

    def _step(self, colour: Colour, shape: Shape, motion: Motion, relation: Relation) -> Step:
        if relation == "alone":
            return Step(colour, shape, motion)
        next_colour = self.colours[(self.colours.index(colour) + 1) % len(self.colours)]
        next_shape = self.shapes[(self.shapes.index(shape) + 1) % len(self.shapes)]
        return Step(colour, shape, motion, relation, next_colour, next_shape)
