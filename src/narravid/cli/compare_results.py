"""`narravid compare-results A B ...`: results of one benchmark side by side, with a paired test."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from narravid.errors import NarravidError
from narravid.evaluation.result_comparison import Comparison, compare_results
from narravid.evaluation.result_files import read_result
from narravid.evaluation.result_print import print_table
from narravid.files import write_json

__all__ = ["CompareResults"]


@dataclass(frozen=True)
class CompareResults:
    """Put results of one benchmark into one table, and test each against the first.

    Attributes:
        results: Folders that `narravid evaluate --output` wrote, at least two; the first is what the others
            are compared with.
        further: Also compare the numbers under further headings, such as the other direction.
        num_resamples: Resamples of the paired bootstrap.
        seed: Of its draws.
        output: JSON file for the comparison; none is written when absent.
    """

    results: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER FOLDER ...")]
    further: bool = False
    num_resamples: int = 2000
    seed: int = 0
    output: Path | None = None

    def run(self) -> int:
        """Compare, print, write."""
        if self.num_resamples < 1:
            raise ValueError(f"num_resamples must be at least 1, got {self.num_resamples}")
        names = _names(self.results)
        found = {name: read_result(path) for name, path in zip(names, self.results, strict=True)}
        comparison = compare_results(
            found, further=self.further, num_resamples=self.num_resamples, seed=self.seed
        )
        _print(comparison)
        if self.output is not None:
            write_json(self.output, _to_json(comparison))
            print(f"comparison written to {self.output}")
        return 0


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise NarravidError(f"a result is given twice: {', '.join(map(str, folders))}")
    for length in range(1, max(map(len, parts), default=1)):
        names = ["/".join(own[-length:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _print(comparison: Comparison) -> None:
    console = Console()
    lines = []
    if comparison.protocol:
        lines.append(f"NOT MEASURED THE SAME WAY. {comparison.names[0]} against:")
        for name in dict.fromkeys(one.result for one in comparison.protocol):
            lines.append(f"  {name}:")
            lines += [f"    {one.in_words()}" for one in comparison.protocol if one.result == name]
        lines.append("What differs below may come from that and not from the models.")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    print_table(comparison.numbers_table(), console)
    print_table(comparison.differences_table(), console)


def _to_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "title": comparison.title,
        "results": [
            {
                "name": name,
                "measured_share": share,
                "measures": {key: measure.to_dict() for key, measure in own.items()},
            }
            for name, own, share in zip(
                comparison.names, comparison.measures, comparison.coverage, strict=True
            )
        ],
        "protocol_differences": [dataclasses.asdict(one) for one in comparison.protocol],
        "paired_bootstrap": [
            {"result": one.result, "measure": one.measure, "kind": one.kind, **dataclasses.asdict(one.found)}
            for one in comparison.differences
        ],
    }
