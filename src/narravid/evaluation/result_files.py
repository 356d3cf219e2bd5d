"""A benchmark's result as files: JSON for programs, a table, pictures and a page for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from narravid.errors import NarravidError
from narravid.evaluation.result import BenchmarkResult, Coverage, Measure, MissingItem, PublishedRow
from narravid.evaluation.result_page import write_examples
from narravid.evaluation.result_text import (
    TextTable,
    card_lines,
    coverage_lines,
    further_tables,
    main_table,
    undefined_lines,
)
from narravid.files import file_sha256, read_json, write_atomically, write_json, write_text
from narravid.metrics.bootstrap import Outcomes
from narravid.video.watched import WatchedDecoder

__all__ = ["RESULT_NAME", "read_result", "write_result"]

FORMAT = 2
RESULT_NAME = "result.json"
OUTCOMES_NAME = "outcomes.json"
TABLE_NAME = "table.md"
PAGE_NAME = "examples.html"


def write_result(result: BenchmarkResult, folder: Path, *, decoder: WatchedDecoder) -> None:
    """Write everything: result.json, outcomes.json, table.md, the plots as PNG, examples.html.

    Args:
        result: What to write.
        folder: Where; made if needed. Files of these names are replaced.
        decoder: Reads the frames of the examples; those that cannot be read say why.
    """
    for name, plot in result.plots.items():
        write_atomically(folder / f"{name}.png", partial(_write_bytes, plot))
    write_text(folder / TABLE_NAME, _as_markdown(result))
    write_examples(result, folder / PAGE_NAME, decoder=decoder)
    write_json(folder / OUTCOMES_NAME, _outcomes_to_json(result))
    digest = file_sha256(folder / OUTCOMES_NAME)
    write_json(folder / RESULT_NAME, {"format": FORMAT, "outcomes_sha256": digest, **result.to_dict()})


def read_result(folder: Path) -> BenchmarkResult:
    """Read a result back, without pictures and examples.

    Args:
        folder: What `write_result` wrote, or its result.json.

    Returns:
        The result with the outcomes of each measure.

    Raises:
        NarravidError: If there is no result, or its files are damaged or do not belong together.
    """
    folder = folder.parent if folder.name == RESULT_NAME else folder
    path = folder / RESULT_NAME
    if not path.is_file():
        raise NarravidError(
            f"{folder} holds no result: there is no {RESULT_NAME}; `narravid evaluate NAME --output FOLDER` "
            "writes one"
        )
    try:
        values = read_json(path)
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']!r} is not known, only {FORMAT}")
        if values["outcomes_sha256"] != file_sha256(folder / OUTCOMES_NAME):
            raise ValueError(f"{RESULT_NAME} and {OUTCOMES_NAME} were not written together; evaluate anew")
        outcomes = _outcomes_from_json(read_json(folder / OUTCOMES_NAME))
        return _result_from_json(values, outcomes)
    except (OSError, KeyError, TypeError, IndexError, ValueError) as error:
        raise NarravidError(
            f"{folder} is no result that can be read: {type(error).__name__}: {error}"
        ) from error


def _write_bytes(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def _as_markdown(result: BenchmarkResult) -> str:
    main = main_table(result)
    parts = [f"# {_escaped(main.title)}", _table_as_markdown(main)]
    for table in further_tables(result):
        parts += [f"## {_escaped(table.title)}", _table_as_markdown(table)]
    parts += [_escaped(line) for line in undefined_lines(result)]
    protocol = [f"- {_escaped(line)}" for line in card_lines(result.card)]
    parts += ["## Protocol", "\n".join(protocol), "## Coverage"]
    coverage = [f"- {_escaped(line.strip())}" for line in coverage_lines(result.coverage)]
    return "\n\n".join([*parts, "\n".join(coverage)]) + "\n"


def _table_as_markdown(table: TextTable) -> str:
    marks = [":--", *("--:" for _ in table.header[1:])]
    rows = [table.header, tuple(marks), *table.rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in rows)


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _all_measures(result: BenchmarkResult) -> Iterable[tuple[str | None, Measure]]:
    yield from ((None, measure) for measure in result.measures)
    for heading, measures in result.further.items():
        yield from ((heading, measure) for measure in measures)


def _outcomes_to_json(result: BenchmarkResult) -> dict[str, Any]:
    """Outcomes with every list of names kept once: many measures share theirs."""
    names: dict[tuple[str, ...], int] = {}
    measures = []
    for heading, measure in _all_measures(result):
        own = measure.outcomes
        entry: dict[str, Any] = {"heading": heading, "name": measure.name, "statistic": own.statistic}
        entry["units"] = names.setdefault(own.units, len(names))
        if own.groups is not None:
            entry["groups"] = names.setdefault(own.groups, len(names))
        for key in ("values", "weights", "labels"):
            array = getattr(own, key)
            if array is not None:
                entry[key] = array.tolist()
        measures.append(entry)
    return {"names": [list(one) for one in names], "measures": measures}


def _outcomes_from_json(values: Mapping[str, Any]) -> dict[tuple[str | None, str], Outcomes]:
    names = [tuple(map(str, one)) for one in values["names"]]
    found = {}
    for entry in values["measures"]:
        weights, labels, groups = (entry.get(key) for key in ("weights", "labels", "groups"))
        found[entry["heading"], entry["name"]] = Outcomes(
            entry["statistic"],
            np.array(entry["values"], dtype=np.float64),
            names[entry["units"]],
            weights=None if weights is None else np.array(weights, dtype=np.float64),
            labels=None if labels is None else np.array(labels, dtype=bool),
            groups=None if groups is None else names[groups],
        )
    return found


def _result_from_json(
    values: Mapping[str, Any], outcomes: Mapping[tuple[str | None, str], Outcomes]
) -> BenchmarkResult:
    def measure(heading: str | None, entry: Mapping[str, Any]) -> Measure:
        value, low, high = (
            math.nan if entry[key] is None else float(entry[key]) for key in ("value", "low", "high")
        )
        own = outcomes[heading, entry["name"]]
        return Measure(
            entry["name"], value, low, high, entry["kind"], own, entry["chance"], entry.get("reason", "")
        )

    coverage = values["coverage"]
    return BenchmarkResult(
        benchmark=values["benchmark"],
        title=values["title"],
        measures=tuple(measure(None, entry) for entry in values["measures"]),
        further={
            heading: tuple(measure(heading, entry) for entry in entries)
            for heading, entries in values["further"].items()
        },
        card=dict(values["card"]),
        coverage=Coverage(
            coverage["unit"],
            coverage["num_expected"],
            coverage["num_measured"],
            tuple(MissingItem(**item) for item in coverage["missing"]),
        ),
        published=tuple(PublishedRow(**row) for row in values["published"]),
    )
