"""What a benchmark found: its numbers with intervals, what they rest on, what is missing, and examples."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from narravid.bad_items import BadItems
from narravid.metrics.bootstrap import Outcomes, bootstrap_interval, statistic
from narravid.types import Span

__all__ = [
    "BenchmarkResult",
    "Coverage",
    "Example",
    "Measure",
    "MeasureKind",
    "MissingItem",
    "PublishedRow",
    "Shown",
]

MeasureKind = Literal["share", "rank"]
"""A share in [0, 1], shown in percent, of which more is better; or a rank from 1, of which less is better."""

FILE_STEM = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class Measure:
    """One number with its 95 % bootstrap interval.

    Attributes:
        name: What it is called, such as `R@1`.
        value: The number; NaN where it is not defined.
        low: Lower end of the interval.
        high: Upper end.
        kind: What it is.
        outcomes: What it is made of, item by item.
        chance: What a model reaches that cannot tell anything apart; None where that is not known.
        reason: Why the number is not defined; empty where it is.
    """

    name: str
    value: float
    low: float
    high: float
    kind: MeasureKind
    outcomes: Outcomes = field(compare=False, repr=False)
    chance: float | None = None
    reason: str = ""

    @classmethod
    def of(
        cls,
        name: str,
        outcomes: Outcomes,
        *,
        kind: MeasureKind,
        chance: float | None = None,
        seed: int = 0,
        reason: str = "",
    ) -> Measure:
        """The number of some outcomes with its interval.

        Args:
            name: What it is called.
            outcomes: What it is made of.
            kind: What it is.
            chance: What a model reaches that cannot tell anything apart.
            seed: Of the resampling.
            reason: Why the number is not defined; empty where it is.
        """
        low, high = bootstrap_interval(outcomes, seed=seed)
        return cls(name, statistic(outcomes), low, high, kind, outcomes, chance, reason)

    @property
    def num_units(self) -> int:
        """How many units the number rests on."""
        return len(set(self.outcomes.units))

    def to_dict(self) -> dict[str, Any]:
        """The number without its outcomes as plain JSON types; what is not defined is None."""
        numbers = {"value": self.value, "low": self.low, "high": self.high, "chance": self.chance}
        return {
            "name": self.name,
            "kind": self.kind,
            **{key: None if value is None or math.isnan(value) else value for key, value in numbers.items()},
            "num_units": self.num_units,
            **({"reason": self.reason} if self.reason else {}),
        }


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """What a paper says of a model.

    Attributes:
        model: The model.
        values: Name of the measure → value; shares in [0, 1].
        source: Who says so.
        note: What is different, such as another gallery.
    """

    model: str
    values: Mapping[str, float]
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class MissingItem:
    """Something that a benchmark asks for and that could not be measured.

    Attributes:
        path: Its file, or its name where there is none.
        reason: Why not.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of how much of a benchmark the numbers are.

    Attributes:
        unit: What is counted, such as "videos".
        num_expected: How many the benchmark has.
        num_measured: Of how many the numbers are.
        missing: What could not be measured.

    Raises:
        ValueError: If more is measured than expected.
    """

    unit: str
    num_expected: int
    num_measured: int
    missing: tuple[MissingItem, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.num_measured <= self.num_expected:
            raise ValueError(f"{self.num_measured} of {self.num_expected} {self.unit} cannot be measured")

    @property
    def share(self) -> float:
        """Share in [0, 1] of the benchmark that was measured."""
        return self.num_measured / self.num_expected if self.num_expected else 0.0

    def missing_by_reason(self) -> Counter[str]:
        """How many of the missing each reason cost; reasons that differ in figures or paths only are one."""
        bad = BadItems()
        for number, item in enumerate(self.missing):
            bad.add(str(number), item.reason)
        return bad.by_reason()

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return {
            "unit": self.unit,
            "num_expected": self.num_expected,
            "num_measured": self.num_measured,
            "share": self.share,
            "missing_by_reason": dict(self.missing_by_reason().most_common()),
            "missing": [asdict(item) for item in self.missing],
        }


@dataclass(frozen=True, slots=True)
class Shown:
    """A clip on the page of examples.

    Attributes:
        path: The video file.
        span: The part; None for the whole video.
        note: What is written under it.
        is_right: Whether it is what should have been found.
    """

    path: str
    span: Span | None
    note: str
    is_right: bool


@dataclass(frozen=True, slots=True)
class Example:
    """One item that went well or badly, such as a query and what it found.

    Attributes:
        title: The query, or what the item is.
        note: How it went.
        good: Whether it went well.
        shown: Clips, the best first.
    """

    title: str
    note: str
    good: bool
    shown: tuple[Shown, ...] = ()


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """Everything that is to be told of one model on one benchmark.

    Attributes:
        benchmark: Name of the benchmark, such as `msrvtt`.
        title: The same for people.
        measures: Its numbers, the first the most important.
        further: More numbers by heading, such as the other direction or each split.
        card: The protocol: everything that the numbers depend on, as JSON values.
        coverage: Of how much of the benchmark they are.
        published: What papers say, to be printed beside.
        plots: Name of a file, without its ending → PNG.
        best: Items that went best.
        worst: Items that went worst.

    Raises:
        ValueError: If there is no measure, a name is there twice, or a plot's name is no name of a file.
    """

    benchmark: str
    title: str
    measures: tuple[Measure, ...]
    further: Mapping[str, tuple[Measure, ...]]
    card: Mapping[str, Any]
    coverage: Coverage
    published: tuple[PublishedRow, ...] = ()
    plots: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    best: tuple[Example, ...] = ()
    worst: tuple[Example, ...] = ()

    def __post_init__(self) -> None:
        if not self.measures:
            raise ValueError(f"a result of {self.benchmark} needs at least one measure")
        for heading, measures in {"": self.measures, **self.further}.items():
            names = [measure.name for measure in measures]
            if len(set(names)) < len(names):
                raise ValueError(f"a measure is there twice in {heading or self.benchmark!r}: {names}")
        for name in self.plots:
            if not FILE_STEM.fullmatch(name):
                raise ValueError(f"a plot needs a plain name of a file, got {name!r}")

    def to_dict(self) -> dict[str, Any]:
        """Everything but outcomes and pictures as plain JSON types, shares in [0, 1]."""
        return {
            "benchmark": self.benchmark,
            "title": self.title,
            "measures": [measure.to_dict() for measure in self.measures],
            "further": {
                heading: [measure.to_dict() for measure in measures]
                for heading, measures in self.further.items()
            },
            "card": dict(self.card),
            "coverage": self.coverage.to_dict(),
            "published": [asdict(row) | {"values": dict(row.values)} for row in self.published],
            "best": [asdict(example) for example in self.best],
            "worst": [asdict(example) for example in self.worst],
        }
