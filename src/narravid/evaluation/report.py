"""Results for people and for programs: a table on the terminal, a JSON file beside it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from narravid.evaluation.retrieval import RetrievalResult
from narravid.files import write_json

__all__ = ["print_retrieval", "write_retrieval"]

MAX_LISTED = 20


def print_retrieval(result: RetrievalResult, *, console: Console | None = None) -> None:
    """Print both directions beside chance, the protocol, and what had to be left out.

    Args:
        result: What to print.
        console: Where; standard output when None.
    """
    console = console or Console()
    table = Table(title=f"retrieval among {result.gallery_size} clips, {result.num_texts} sentences")
    table.add_column("")
    for name in result.text_to_video:
        table.add_column(f"{name} %" if name.startswith("R@") else name, justify="right")
    for label, metrics in [
        ("text to video", result.text_to_video),
        ("video to text", result.video_to_text),
        ("chance (text to video)", result.chance),
    ]:
        table.add_row(label, *(_cell(name, value) for name, value in metrics.items()))
    console.print(table)
    clip = result.card["clip"]
    console.print(
        f"{result.card['num_windows']} windows of {clip['num_frames']} frames at {clip['fps']:g} fps, "
        f"{clip['size_pixels']} px {clip['crop']} crop; similarity {result.card['similarity']}; "
        f"no test-time tricks; ties shared out",
        highlight=False,
        soft_wrap=True,
    )
    if result.missing:
        _print_missing(result, console)


def write_retrieval(result: RetrievalResult, path: Path) -> None:
    """Write the result with its protocol card as JSON, shares in [0, 1].

    Args:
        result: What to write.
        path: The file; replaced if it exists.
    """
    write_json(path, result.to_dict())


def _cell(name: str, value: float) -> str:
    return f"{100 * value:.1f}" if name.startswith("R@") else f"{value:.1f}"


def _print_missing(result: RetrievalResult, console: Console) -> None:
    num_pairs = len(result.missing) + result.num_texts
    lines = [
        f"{len(result.missing)} of {num_pairs} pairs are missing from the gallery; "
        f"the numbers are of the other {result.share_of_pairs:.1%}:"
    ]
    lines += [f"  {item.pair.path}: {item.reason}" for item in result.missing[:MAX_LISTED]]
    if len(result.missing) > MAX_LISTED:
        lines.append(f"  and {len(result.missing) - MAX_LISTED} more; by reason:")
        reasons = result.missing_by_reason().most_common(MAX_LISTED)
        lines += [f"  {count} x {reason}" for reason, count in reasons]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
