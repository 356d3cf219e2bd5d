"""Results in words and figures: the rows of their tables, the lines of their cards."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from narravid.evaluation.result import BenchmarkResult, Coverage, Measure, MeasureKind, PublishedRow

__all__ = [
    "TextTable",
    "card_lines",
    "column_title",
    "coverage_lines",
    "figure",
    "further_tables",
    "main_table",
    "source_lines",
    "undefined_lines",
    "with_interval",
]

MAX_LISTED = 20
MAX_COLUMNS = 6
UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table in words.

    Attributes:
        title: What stands above.
        header: Titles of the columns; the first names the rows.
        rows: Cells, as many as there are titles.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def figure(value: float | None, kind: MeasureKind) -> str:
    """A share in percent, a rank as it is, each with one digit behind the point.

    >>> figure(0.3, "share"), figure(29.5, "rank"), figure(None, "rank")
    ('30.0', '29.5', '–')
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    return f"{100 * value:.1f}" if kind == "share" else f"{value:.1f}"


def with_interval(measure: Measure) -> str:
    """The number with its interval, such as `30.0 [21.0, 39.0]`."""
    if math.isnan(measure.low):
        return figure(measure.value, measure.kind)
    low, high = figure(measure.low, measure.kind), figure(measure.high, measure.kind)
    return f"{figure(measure.value, measure.kind)} [{low}, {high}]"


def column_title(name: str, kind: MeasureKind) -> str:
    """The name of a measure as the title of a column, with its unit."""
    return f"{name} %" if kind == "share" else name


def main_table(result: BenchmarkResult, *, with_sources: bool = True) -> TextTable:
    """What was measured, chance, and what is published, one below the other.

    Args:
        result: The result.
        with_sources: Whether the last column says who published a row.
    """
    measures = result.measures
    rows = [("measured", *map(with_interval, measures), "95 % intervals")]
    if any(measure.chance is not None for measure in measures):
        rows.append(("chance", *(figure(measure.chance, measure.kind) for measure in measures), ""))
    for row in result.published:
        figures = (figure(row.values.get(measure.name), measure.kind) for measure in measures)
        rows.append((row.model, *figures, _source(row)))
    header = ("", *(column_title(measure.name, measure.kind) for measure in measures), "source")
    kept = slice(None) if with_sources else slice(-1)
    model = result.card.get("model")
    title = result.title if model is None else f"{result.title}: {model}"
    return TextTable(title, header[kept], tuple(row[kept] for row in rows))


def source_lines(result: BenchmarkResult) -> list[str]:
    """Who published the rows below what was measured, one line for each."""
    return [f"{row.model}: {_source(row)}" for row in result.published]


def undefined_lines(result: BenchmarkResult) -> list[str]:
    """Why a number is not defined, one line for each that is not."""
    headed = [("", result.measures), *((f"{heading}: ", own) for heading, own in result.further.items())]
    return [
        f"{heading}{measure.name} is not defined: {measure.reason}"
        for heading, measures in headed
        for measure in measures
        if measure.reason
    ]


def _source(row: PublishedRow) -> str:
    return f"{row.source}; {row.note}" if row.note else row.source


def further_tables(result: BenchmarkResult) -> Iterator[TextTable]:
    """The other numbers: headings with few of them are rows of one table, one with many has its own."""
    short = {heading: own for heading, own in result.further.items() if 0 < len(own) <= MAX_COLUMNS}
    columns = {measure.name: measure.kind for own in short.values() for measure in own}
    if short and len(columns) <= MAX_COLUMNS:
        rows = []
        for heading, own in short.items():
            found = {measure.name: with_interval(measure) for measure in own}
            rows.append((heading, *(found.get(name, UNKNOWN) for name in columns)))
        yield TextTable("further", ("", *(column_title(*column) for column in columns.items())), tuple(rows))
    else:
        short = {}
    for heading, own in result.further.items():
        if own and heading not in short:
            yield _own_table(heading, own)


def _own_table(heading: str, measures: Sequence[Measure]) -> TextTable:
    rows = [
        (
            column_title(measure.name, measure.kind),
            with_interval(measure),
            figure(measure.chance, measure.kind),
            f"{measure.num_units:,}",
        )
        for measure in measures
    ]
    return TextTable(heading, ("", "measured", "chance", "units"), tuple(rows))


def card_lines(card: Mapping[str, Any]) -> list[str]:
    """The protocol card, one line for each entry.

    >>> card_lines({"windows": 10, "clip": {"fps": 10.0, "crop": "center"}, "splits": ["1", "2"]})
    ['windows: 10', 'clip: fps 10, crop center', 'splits: 1, 2']
    """
    return [f"{key}: {_in_words(value)}" for key, value in card.items()]


def _in_words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_inside(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_inside(part) for part in value) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def _inside(value: object) -> str:
    return f"({_in_words(value)})" if isinstance(value, Mapping | list | tuple) else _in_words(value)


def coverage_lines(coverage: Coverage) -> list[str]:
    """Of how much the numbers are, and what is missing: all where it is little, else by reason."""
    if coverage.num_measured == coverage.num_expected and not coverage.missing:
        return [f"all {coverage.num_expected:,} {coverage.unit} were measured"]
    lines = [
        f"{coverage.num_measured:,} of {coverage.num_expected:,} {coverage.unit} were measured: the numbers "
        f"are of {coverage.share:.1%} of the benchmark"
    ]
    lines += [f"  {item.path}: {item.reason}" for item in coverage.missing[:MAX_LISTED]]
    if len(coverage.missing) > MAX_LISTED:
        lines.append(f"  and {len(coverage.missing) - MAX_LISTED:,} more; by reason:")
        reasons = coverage.missing_by_reason().most_common(MAX_LISTED)
        lines += [f"  {count:,} x {reason}" for reason, count in reasons]
    return lines
