"""Scores of whole videos on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from narravid.cli.bad_item_lines import MAX_LISTED
from narravid.evaluation.picture_values import num_decimals
from narravid.evaluation.reward_diagnostics import RewardDiagnostics
from narravid.inference.trajectory_groups import GroupTable
from narravid.inference.trajectory_scores import ScoredTrajectory, TrajectoryScores
from narravid.inference.trajectory_timeline import ScoreTimeline

__all__ = [
    "print_diagnostics",
    "print_groups",
    "print_scores",
    "print_timelines",
    "repeated_lines",
    "unknown_word_lines",
]

MAX_ROWS = 40
COLUMN_WIDTH = 10
"""Characters that a column of figures takes, with its borders."""

NAMES_WIDTH = 44
"""Characters that are kept for the name of a video and its best prompt."""


def print_scores(scores: TrajectoryScores, console: Console, *, verbose: bool = False) -> None:
    """Print the prompts, which of them fits each video best, and as many scores as stand side by side.

    Args:
        scores: What was measured, of at least one video.
        console: Where.
        verbose: Print all scores of all videos, and the frames that were taken of each.
    """
    max_rows = None if verbose else MAX_ROWS
    num_columns = max(1, (console.width - NAMES_WIDTH) // COLUMN_WIDTH)
    num_prompts = len(scores.prompts)
    _say(console, [f"{number:>4}  {prompt.text}" for number, prompt in enumerate(scores.prompts, start=1)])
    fits = num_prompts <= num_columns
    console.print(_scores_table(scores, range(num_prompts if fits else 0), with_best=True, max_rows=max_rows))
    if verbose and not fits:
        for start in range(0, num_prompts, num_columns):
            columns = range(start, min(start + num_columns, num_prompts))
            console.print(_scores_table(scores, columns, with_best=False, max_rows=max_rows))
    if max_rows is not None and len(scores.trajectories) > max_rows:
        _say(console, [f"and {len(scores.trajectories) - max_rows:,} more videos (--verbose shows all)"])
    if verbose:
        _say(console, map(_frames_line, scores.trajectories))
    _say(console, repeated_lines(scores.trajectories))


def _scores_table(
    scores: TrajectoryScores, columns: Sequence[int], *, with_best: bool, max_rows: int | None
) -> Table:
    table = Table(title="cosines" if scores.baseline is None else "scores")
    table.add_column("video", overflow="fold")
    if with_best:
        table.add_column("best prompt", overflow="fold")
        table.add_column("score", justify="right", no_wrap=True)
    for column in columns:
        table.add_column(str(column + 1), justify="right", no_wrap=True)
    decimals = num_decimals(scores.scores)
    for trajectory, row in list(zip(scores.trajectories, scores.scores, strict=True))[:max_rows]:
        best = int(np.argmax(row))
        text = f"{best + 1}  {scores.prompts[best].text}"
        about_best = [text, _figure(row[best], decimals)] if with_best else []
        figures = [_figure(row[column], decimals) for column in columns]
        table.add_row(*map(escape, [trajectory.listed.name, *about_best, *figures]))
    return table


def _frames_line(trajectory: ScoredTrajectory) -> str:
    numbers = " ".join(map(str, trajectory.frame_numbers))
    return f"{trajectory.listed.name}: frames {numbers} of {trajectory.num_video_frames:,}"


def unknown_word_lines(unknown_words: Mapping[str, Sequence[str]]) -> list[str]:
    """What the model leaves out of prompts, a line each."""
    return [
        f"left out of {text!r}, not in the model's vocabulary: {', '.join(words)}"
        for text, words in unknown_words.items()
    ]


def repeated_lines(trajectories: Sequence[ScoredTrajectory]) -> list[str]:
    """A line for each of the first videos with too few frames, and how many more there are."""
    short = [trajectory for trajectory in trajectories if trajectory.num_repeated]
    lines = [
        f"frames repeated: {trajectory.listed.name} has {trajectory.num_video_frames}, and "
        f"{len(trajectory.frame_numbers)} were to be taken"
        for trajectory in short[:MAX_LISTED]
    ]
    more = len(short) - len(lines)
    return [*lines, f"and of {more:,} more videos"] if more else lines


def print_groups(groups: GroupTable, console: Console) -> None:
    """Print mean and deviation of each group of videos with each group of prompts."""
    table = Table(
        title=f"groups: mean ± {groups.deviation} deviation" + (", normalised" if groups.normalised else "")
    )
    table.add_column("videos", overflow="fold")
    for name in groups.prompt_groups:
        table.add_column(escape(name), justify="right", overflow="fold")
    decimals = num_decimals(np.stack([groups.mean - groups.std, groups.mean + groups.std]))
    for name, means, deviations in zip(groups.trajectory_groups, groups.mean, groups.std, strict=True):
        cells = [
            f"{_figure(mean, decimals)} ± {_figure(std, decimals)}"
            for mean, std in zip(means, deviations, strict=True)
        ]
        table.add_row(escape(name), *cells)
    console.print(table)


def print_diagnostics(diagnostics: Sequence[RewardDiagnostics], console: Console) -> None:
    """Print how far the scores of each prompt put videos into the order of their true returns."""
    _say(console, ["scores against true returns:"] if diagnostics else [])
    _say(console, [f"  {prompt.name}: {prompt.correlation}" for prompt in diagnostics])


def print_timelines(timelines: Sequence[ScoreTimeline], console: Console, *, verbose: bool = False) -> None:
    """Print when each video fits each prompt best; nothing where there are no timelines.

    Args:
        timelines: Scores over time.
        console: Where.
        verbose: Print all, however many there are.
    """
    if not timelines:
        return
    decimals = num_decimals(np.concatenate([timeline.scores.max(axis=0) for timeline in timelines]))
    rows = [
        _moment(timeline, column, decimals)
        for timeline in timelines
        for column in range(len(timeline.prompts))
    ]
    table = Table(title="when each prompt fits best")
    table.add_column("video", overflow="fold")
    table.add_column("prompt", overflow="fold")
    for name in ("from", "to", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    max_rows = None if verbose else MAX_ROWS
    for row in rows[:max_rows]:
        table.add_row(*map(escape, row))
    console.print(table)
    if max_rows is not None and len(rows) > max_rows:
        _say(console, [f"and {len(rows) - max_rows:,} more (--verbose shows all)"])
    _say(console, [f"{line.trajectory.path}: {line.reason}" for line in timelines if line.reason])


def _moment(timeline: ScoreTimeline, column: int, decimals: int) -> tuple[str, str, str, str, str]:
    best = int(np.argmax(timeline.scores[:, column]))
    return (
        timeline.trajectory.name,
        timeline.prompts[column].text,
        f"{timeline.starts_seconds[best]:.2f}",
        f"{timeline.ends_seconds[best]:.2f}",
        _figure(timeline.scores[best, column], decimals),
    )


def _figure(value: float, decimals: int) -> str:
    return f"{value:z.{decimals}f}"


def _say(console: Console, lines: Iterable[str]) -> None:
    """Lines as they are: not cut, coloured or taken for markup."""
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
