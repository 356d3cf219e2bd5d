"""`narravid demo --output DIR`: the whole of Narravid on a toy world, in a few minutes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from narravid.recipes.demo import DemoRecipe, DemoResult

__all__ = ["Demo"]

ROWS = (
    ("trained", "trained on narration"),
    ("control", "trained on true alignment"),
    ("untrained", "untrained"),
    ("chance", "chance"),
)


@dataclass(frozen=True)
class Demo:
    """Make a narrated toy world, learn from it, measure, index, search, and write a report.

    Interrupted, it goes on where it stood when it is run again with the same options.

    Attributes:
        output: Folder for world, runs, index, report.html and metrics.json.
        seed: Seed of the world, the training and the queries.
        steps: Training steps of each model, 64 clips each.
        control: Also train on the true alignment, to show what noisy narration costs.
    """

    output: Path
    seed: int = 0
    steps: int = DemoRecipe.num_steps
    control: bool = True

    def run(self) -> int:
        """Run the demo and print what came of it."""
        recipe = DemoRecipe(seed=self.seed, num_steps=self.steps, control=self.control)
        _print_result(recipe.run(self.output))
        return 0


def _print_result(result: DemoResult) -> None:
    metrics = result.metrics
    retrieval = metrics["retrieval"]
    size = retrieval["gallery_size"]
    table = Table(title=f"{size} sentences find their clips among {size} held-out ones", title_justify="left")
    table.add_column("model")
    for column in ("R@1 %", "R@5 %", "R@10 %", "median rank"):
        table.add_column(column, justify="right")
    for name, label in ROWS:
        if name in retrieval:
            row = retrieval[name]
            recalls = [f"{100 * row[key]:.1f}" for key in ("R@1", "R@5", "R@10")]
            table.add_row(label, *recalls, f"{row['MedR']:g}")
    console = Console()
    console.print(table)
    num_correct = sum(query["correct"] for query in metrics["queries"])
    seconds = metrics["seconds"]["total"]
    console.print(
        f"{num_correct} of {len(metrics['queries'])} searches find the moment within five hits "
        f"({seconds:.0f} s in all)",
        highlight=False,
    )
    console.print(f"report: {result.report}", highlight=False, soft_wrap=True)
