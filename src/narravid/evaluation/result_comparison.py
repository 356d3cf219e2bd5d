"""Several results of one benchmark side by side: what their protocols differ in, and which numbers differ."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from narravid.errors import NarravidError
from narravid.evaluation.result import BenchmarkResult, Measure, MeasureKind
from narravid.evaluation.result_text import UNKNOWN, TextTable, column_title, figure, with_interval
from narravid.metrics.bootstrap import Outcomes, PairedDifference, paired_bootstrap

__all__ = ["Comparison", "MeasuredDifference", "ProtocolDifference", "compare_results"]

OF_THE_MODEL = ("model", "models", "model_class", "weights_hash", "lead_over_baselines")
"""Entries of a card that say which model it was or how it did: to differ there is what results are compared
for."""

OF_PLACES = ("path", "feature_files")
"""Last parts of entries that say where files lie."""

FITS = "fits"
"""Entries that begin so say how fits to a model's features went, such as `fits` and `fits, the pixels`."""

OF_THE_RUN = ("batch_size",)
"""Entries on which no number depends but in its last digits."""


@dataclass(frozen=True, slots=True)
class ProtocolDifference:
    """An entry of the protocol card in which a result differs from the first.

    Attributes:
        result: Name of the result.
        entry: The entry, dotted.
        first: What the first result's card says; None if nothing.
        other: What this one's says.
    """

    result: str
    entry: str
    first: Any
    other: Any

    def in_words(self) -> str:
        """One line without the names of the results."""
        return f"{self.entry}: {_said(self.first)} against {_said(self.other)}"


@dataclass(frozen=True, slots=True)
class MeasuredDifference:
    """How a result's number differs from the first's on what both measured.

    Attributes:
        result: Name of the result.
        measure: Name of the number.
        kind: What it is.
        found: The difference with its interval and p-value.
    """

    result: str
    measure: str
    kind: MeasureKind
    found: PairedDifference


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several results of one benchmark beside each other.

    Attributes:
        title: The benchmark.
        names: Names of the results, the first of which the others are compared with.
        measures: Of each result its numbers by name.
        coverage: Of each result the share of the benchmark that was measured.
        protocol: Where the protocols differ.
        differences: The paired tests.
    """

    title: str
    names: tuple[str, ...]
    measures: tuple[Mapping[str, Measure], ...]
    coverage: tuple[float, ...]
    protocol: tuple[ProtocolDifference, ...]
    differences: tuple[MeasuredDifference, ...]

    def numbers_table(self) -> TextTable:
        """All numbers with their intervals, a column for each result."""
        kinds = {name: measure.kind for own in self.measures for name, measure in own.items()}
        rows = [
            (
                column_title(name, kind),
                *(with_interval(own[name]) if name in own else UNKNOWN for own in self.measures),
            )
            for name, kind in kinds.items()
        ]
        shares = [f"{100 * share:.1f}" for share in self.coverage]
        rows.append(("measured share %", *shares))
        return TextTable(self.title, ("", *self.names), tuple(rows))

    def differences_table(self) -> TextTable:
        """The paired tests, a row for each result and number."""
        rows = []
        for one in self.differences:
            found = one.found
            low, high = _signed(found.low, one.kind), _signed(found.high, one.kind)
            difference = f"{_signed(found.difference, one.kind)} [{low}, {high}]"
            unit = "points" if one.kind == "share" else "ranks"
            label = f"{one.result}: {one.measure}, {unit}"
            rows.append((label, difference, f"{found.p_value:.4f}", f"{found.num_units:,}"))
        header = ("", "difference", "p", "common units")
        return TextTable(f"paired bootstrap against {self.names[0]}", header, tuple(rows))


def compare_results(
    results: Mapping[str, BenchmarkResult], *, further: bool = False, num_resamples: int = 2000, seed: int = 0
) -> Comparison:
    """Put results of one benchmark side by side, and test each against the first on what both measured.

    Args:
        results: At least two results by name.
        further: Whether the numbers under further headings are compared too.
        num_resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        The comparison; `protocol` says where the results were measured otherwise.

    Raises:
        NarravidError: If there are fewer than two, they are of different benchmarks, or one has no unit in
            common with the first.
    """
    names = tuple(results)
    if len(names) < 2:
        raise NarravidError("there must be at least two results to compare")
    first = results[names[0]]
    for name in names[1:]:
        if results[name].benchmark != first.benchmark:
            raise NarravidError(
                f"{name} is a result of {results[name].benchmark}, {names[0]} one of {first.benchmark}: "
                "only results of one benchmark can be compared"
            )
    measures = tuple(_measures(results[name], further=further) for name in names)
    differences = [
        MeasuredDifference(
            name,
            key,
            measure.kind,
            _paired(
                (measures[0][key], measure),
                _common_units(first, results[name], (measures[0][key].outcomes, measure.outcomes)),
                names=(names[0], name),
                bootstrap=(num_resamples, seed),
            ),
        )
        for name, own in zip(names[1:], measures[1:], strict=True)
        for key, measure in own.items()
        if key in measures[0]
    ]
    protocol = [
        difference for name in names[1:] for difference in _protocol(name, first.card, results[name].card)
    ]
    coverage = tuple(results[name].coverage.share for name in names)
    return Comparison(first.title, names, measures, coverage, tuple(protocol), tuple(differences))


def _measures(result: BenchmarkResult, *, further: bool) -> dict[str, Measure]:
    found = {measure.name: measure for measure in result.measures}
    if further:
        found |= {
            f"{heading}: {measure.name}": measure
            for heading, measures in result.further.items()
            for measure in measures
        }
    return found


def _paired(
    measures: tuple[Measure, Measure],
    outcomes: tuple[Outcomes, Outcomes],
    *,
    names: tuple[str, str],
    bootstrap: tuple[int, int],
) -> PairedDifference:
    num_resamples, seed = bootstrap
    try:
        return paired_bootstrap(*outcomes, num_resamples=num_resamples, seed=seed)
    except ValueError as error:
        raise NarravidError(
            f"{measures[0].name} of {names[0]} and {names[1]} cannot be compared: {error}"
        ) from error


def _common_units(
    first: BenchmarkResult, second: BenchmarkResult, outcomes: tuple[Outcomes, Outcomes]
) -> tuple[Outcomes, Outcomes]:
    """The outcomes under names that both sides share.

    Where no name is common, both sides name files by their whole paths, and the annotations are the same, it
    is one archive in two places: names then count from the folder that holds all that the benchmark names.
    """
    one, other = outcomes
    hashes = [_hashes(result.card) for result in (first, second)]
    is_absolute = all(os.path.isabs(unit) for own in outcomes for unit in own.units)
    if set(one.units) & set(other.units) or not is_absolute or not hashes[0] or hashes[0] != hashes[1]:
        return outcomes
    return _below_archive(first, one), _below_archive(second, other)


def _hashes(card: Mapping[str, Any]) -> dict[str, Any]:
    """The hashes of all files that a card names; none if one of them could not be hashed."""
    found = {entry: value for entry, value in _flat(card).items() if entry.endswith(".sha256")}
    return {} if None in found.values() else found


def _below_archive(result: BenchmarkResult, outcomes: Outcomes) -> Outcomes:
    missing = [item.path for item in result.coverage.missing if os.path.isabs(item.path)]
    archive = os.path.commonpath([os.path.dirname(path) for path in (*outcomes.units, *missing)])
    return replace(outcomes, units=tuple(os.path.relpath(unit, archive) for unit in outcomes.units))


def _protocol(name: str, first: Mapping[str, Any], other: Mapping[str, Any]) -> list[ProtocolDifference]:
    cards = [_flat(card) for card in (first, other)]
    entries = dict.fromkeys([*cards[0], *cards[1]])
    return [
        ProtocolDifference(name, entry, cards[0].get(entry), cards[1].get(entry))
        for entry in entries
        if _matters(entry) and cards[0].get(entry) != cards[1].get(entry)
    ]


def _flat(card: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in card.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


def _matters(entry: str) -> bool:
    """Of files only their content matters, not where they lie."""
    if entry.split(".")[-1] in OF_PLACES:
        return False
    top = entry.split(".")[0]
    return top not in (*OF_THE_MODEL, *OF_THE_RUN) and not top.startswith(FITS)


def _said(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _signed(value: float, kind: MeasureKind) -> str:
    text = figure(value, kind)
    return text if text.startswith(("-", UNKNOWN)) else f"+{text}"
