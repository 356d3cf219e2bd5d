"""What every recipe learns with its smallest preset: `python benchmarks/recipes.py --write`.

Runs `narravid train NAME --preset tiny` for several seeds as a user would, and compares the measure of the
recipe on held-out data of the toy world before the first step and after the last one. A recipe has learned
something if the means lie further apart than three standard deviations over the seeds (the larger of both).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from narravid.training import read_log
from tables import fill_in, percent, spread

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "recipes.md"
NUM_DEVIATIONS = 3


@dataclass(frozen=True)
class Row:
    """A recipe, how it is run, and what it is judged by.

    Attributes:
        recipe: Its name on the command line.
        metric: Name of the number in the log.
        meaning: What the number is.
        preset: The preset.
        init: Recipe and preset of another row whose run it starts from.
    """

    recipe: str
    metric: str
    meaning: str
    preset: str = "tiny"
    init: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """What the table says."""
        return self.recipe if self.preset == "tiny" else f"{self.recipe} --preset {self.preset}"


ROWS = (
    Row("milnce", "R@10", "text to video R@10"),
    Row("vt-twins", "R@10", "text to video R@10"),
    Row("htm-aa", "R@10", "text to video R@10"),
    Row("cpd", "R@10", "text to video R@10"),
    Row("cpd-finetune", "top1", "top-1 accuracy"),
    Row("howto100m", "R@10", "text to video R@10"),
    Row("tan", "R@1", "alignment R@1"),
    Row("tan", "R@1", "alignment R@1", preset="tiny-stage2", init=("tan", "tiny")),
)


@dataclass(frozen=True)
class Outcome:
    """What one run came to: its measure at the start and at the end, in [0, 1], and seconds in all."""

    untrained: float
    trained: float
    seconds: float


def main() -> None:
    """Run every recipe for each seed, print a table, and put it into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", choices=sorted({row.recipe for row in ROWS}))
    parser.add_argument("--output", type=Path, help="keep the runs here; a temporary folder otherwise")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    rows = [row for row in ROWS if options.recipes is None or row.recipe in options.recipes]
    with tempfile.TemporaryDirectory() as temporary:
        runs = options.output or Path(temporary)
        lines = table(rows, options.seeds, runs)
    if options.write:
        fill_in(PAGE, lines, script="recipes.py")


def table(rows: Sequence[Row], seeds: Sequence[int], runs: Path) -> str:
    """Run everything; gives the lines of a Markdown table, printed as they come."""
    lines = [
        "| recipe | measure on held-out toy videos | untrained % | trained % | deviations apart | seconds |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    print("\n".join(lines))
    for row in rows:
        outcomes = [run(row, seed, runs) for seed in seeds]
        lines.append(line(row, outcomes))
        print(lines[-1], flush=True)
    return "\n".join(lines)


def run(row: Row, seed: int, runs: Path) -> Outcome:
    """One run as a user would start it."""
    output = folder_of(runs, row.recipe, row.preset, seed)
    words = ["train", row.recipe, "--preset", row.preset, "--seed", str(seed), "--output", str(output)]
    if row.init is not None:
        words += ["--init", str(folder_of(runs, *row.init, seed))]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "narravid", *words], capture_output=True, text=True, env=os.environ
    )
    if done.returncode != 0:
        raise SystemExit(f"narravid {' '.join(words)} failed:\n{done.stderr}")
    seconds = time.perf_counter() - started
    # A run that goes on from another is compared with the random weights that the other began with.
    begun = output if row.init is None else folder_of(runs, *row.init, seed)
    untrained, trained = (
        [entry[row.metric] for entry in read_log(folder) if entry["event"] == "evaluation"]
        for folder in (begun, output)
    )
    return Outcome(untrained[0], trained[-1], seconds)


def folder_of(runs: Path, recipe: str, preset: str, seed: int) -> Path:
    """Where a run lies."""
    return runs / f"{recipe}-{preset}-seed{seed}"


def line(row: Row, outcomes: Sequence[Outcome]) -> str:
    """The line of the table for one recipe."""
    untrained = [outcome.untrained for outcome in outcomes]
    trained = [outcome.trained for outcome in outcomes]
    deviation = max(spread(untrained), spread(trained))
    distance = statistics.mean(trained) - statistics.mean(untrained)
    share = distance / deviation if deviation > 0 else float("inf")
    mark = "" if share > NUM_DEVIATIONS else " (too near)"
    seconds = max(outcome.seconds for outcome in outcomes)
    return (
        f"| {row.name} | {row.meaning} | {percent(untrained)} | {percent(trained)} | {share:.1f}{mark} |"
        f" {seconds:.0f} |"
    )


if __name__ == "__main__":
    main()
