"""Scores of trajectories as files: the heat map, tables for programs, pictures and a page for people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narravid.bad_items import BAD_ITEMS_NAME
from narravid.evaluation.reward_diagnostics import RewardDiagnostics
from narravid.evaluation.score_folder import ScoreFolder
from narravid.evaluation.trajectory_page import ScorePictures, write_score_page
from narravid.evaluation.trajectory_pictures import (
    group_bars,
    reward_scatter,
    score_heat_map,
    timeline_picture,
)
from narravid.evaluation.trajectory_report import ScoreReport, as_utf8, scores_label
from narravid.files import write_atomically
from narravid.inference.trajectory_groups import GroupTable
from narravid.inference.trajectory_scores import TrajectoryScores
from narravid.inference.trajectory_timeline import ScoreTimeline

__all__ = ["ScoreFiles", "write_scores"]

PAGE_NAME = "page.html"
MAX_SCATTERS = 12
MAX_NAME_CHARACTERS = 40
NO_REPORT = ScoreReport()


@dataclass(frozen=True, slots=True)
class ScoreFiles:
    """Where the results lie.

    Attributes:
        heat_map: The picture of all scores.
        page: The page for people.
        folder: What holds everything but the heat map.
        others: All further files, as paths relative to the folder.
    """

    heat_map: Path
    page: Path
    folder: Path
    others: tuple[str, ...]


def write_scores(
    scores: TrajectoryScores,
    folder: Path,
    *,
    experiment: str,
    timelines: Sequence[ScoreTimeline] = (),
    diagnostics: Sequence[RewardDiagnostics] = (),
    report: ScoreReport = NO_REPORT,
) -> ScoreFiles:
    """Write everything: `experiment`.png, the heat map, and a folder of that name with all the rest.

    That is similarities.csv, .npy and .json; with a baseline scores.csv and .npy, the regularised ones; with
    groups groups.csv and .png, and the same with normalised scores if that is asked for; for each timeline a
    table and a picture in timelines/; with diagnostics rank_correlations.csv and pictures; bad_items.csv;
    page.html. Files that an earlier run wrote there and this one does not are removed, also when that run did
    not come to its end.

    Args:
        scores: What was measured, of at least one trajectory.
        folder: Where; made if needed.
        experiment: A name for files, without slashes.
        timelines: Scores over time.
        diagnostics: Scores beside true returns, for each prompt.
        report: What else the page says, and how groups are computed.

    Returns:
        Where everything lies.

    Raises:
        ValueError: If `experiment` is no name of a file, or a score is not finite.
        OSError: If a file cannot be written.
    """
    if not experiment or experiment in (".", "..") or re.search(r"[/\\\0]", experiment):
        raise ValueError(f"experiment must be a name for files, got {experiment!r}")
    out = ScoreFolder(folder / experiment)
    heat_map = _heat_map(scores, title=experiment)
    _add_matrices(out, scores)
    pictures = ScorePictures(
        heat_map=heat_map,
        groups=_add_groups(out, scores, report),
        timelines=_add_timelines(out, timelines, value_label=scores_label(scores)),
        scatters=_add_diagnostics(out, diagnostics),
    )
    out.add(BAD_ITEMS_NAME, scores.bad.write)
    write_page = partial(
        write_score_page,
        scores=scores,
        pictures=pictures,
        experiment=experiment,
        timelines=timelines,
        diagnostics=diagnostics,
        report=report,
    )
    out.add(PAGE_NAME, write_page)
    picture_path = folder / f"{experiment}.png"
    write_atomically(picture_path, partial(_write_bytes, heat_map))
    out.write(_document(scores))
    others = tuple(name for name in out.names if name != PAGE_NAME)
    return ScoreFiles(picture_path, out.path / PAGE_NAME, out.path, others)


def _heat_map(scores: TrajectoryScores, *, title: str) -> bytes:
    return score_heat_map(
        scores.scores,
        [seen.listed.name for seen in scores.trajectories],
        [prompt.text for prompt in scores.prompts],
        title=title,
        value_label=scores_label(scores),
    )


def _add_matrices(out: ScoreFolder, scores: TrajectoryScores) -> None:
    matrices = {"similarities": scores.similarity}
    if scores.baseline is not None:
        matrices["scores"] = scores.scores
    for name, values in matrices.items():
        head = ["trajectory", *(prompt.text for prompt in scores.prompts)]
        rows = zip(scores.trajectories, values, strict=True)
        out.add_table(f"{name}.csv", [head, *([seen.listed.name, *_numbers(row)] for seen, row in rows)])
        out.add_array(f"{name}.npy", values)


def _add_groups(
    out: ScoreFolder, scores: TrajectoryScores, report: ScoreReport
) -> tuple[tuple[GroupTable, bytes], ...]:
    if not scores.has_groups:
        return ()
    written = []
    for normalise in (False, True) if report.normalise else (False,):
        table = scores.groups(normalise=normalise, deviation=report.deviation)
        name = "groups_normalised" if normalise else "groups"
        head = ("trajectory_group", "prompt_group", "num_pairs", "mean", "std")
        rows = [
            (
                row_name,
                column_name,
                table.num_pairs[row, column],
                table.mean[row, column],
                table.std[row, column],
            )
            for row, row_name in enumerate(table.trajectory_groups)
            for column, column_name in enumerate(table.prompt_groups)
        ]
        out.add_table(f"{name}.csv", [head, *rows])
        written.append((table, out.add_bytes(f"{name}.png", group_bars(table))))
    return tuple(written)


def _add_timelines(
    out: ScoreFolder, timelines: Sequence[ScoreTimeline], *, value_label: str
) -> tuple[bytes, ...]:
    pictures = []
    for name, timeline in zip(_timeline_names(timelines), timelines, strict=True):
        head = ["start_seconds", "end_seconds", *(prompt.text for prompt in timeline.prompts)]
        times = zip(timeline.starts_seconds, timeline.ends_seconds, timeline.scores, strict=True)
        out.add_table(
            f"timelines/{name}.csv", [head, *([start, end, *_numbers(row)] for start, end, row in times)]
        )
        picture = timeline_picture(timeline, title=timeline.trajectory.name, value_label=value_label)
        pictures.append(out.add_bytes(f"timelines/{name}.png", picture))
    return tuple(pictures)


def _timeline_names(timelines: Sequence[ScoreTimeline]) -> list[str]:
    """Names for files, different from each other on file systems that do not tell capitals either."""
    names: list[str] = []
    for timeline in timelines:
        short = re.sub(r"[^\w.-]+", "_", as_utf8(timeline.trajectory.name)).lstrip(".")
        base = short[:MAX_NAME_CHARACTERS] or "trajectory"
        taken = {name.casefold() for name in names}
        name, number = base, 1
        while name.casefold() in taken:
            number += 1
            name = f"{base}_{number}"
        names.append(name)
    return names


def _add_diagnostics(out: ScoreFolder, diagnostics: Sequence[RewardDiagnostics]) -> tuple[bytes, ...]:
    if not diagnostics:
        return ()
    found = [one.correlation for one in diagnostics]
    head = ("prompt", "rank_correlation", "low", "high", "num_trajectories", "remark")
    rows = [
        (one.name, own.correlation, own.low, own.high, own.num_episodes, own.remark)
        for one, own in zip(diagnostics, found, strict=True)
    ]
    out.add_table("rank_correlations.csv", [head, *rows])
    return tuple(
        out.add_bytes(
            f"rank_correlations/prompt_{number}.png",
            reward_scatter(one.rewards, one.true_returns, title=one.name, note=str(one.correlation)),
        )
        for number, one in enumerate(diagnostics[:MAX_SCATTERS], start=1)
    )


def _numbers(row: npt.NDArray[np.float32]) -> list[str]:
    """The shortest figures that give the same float32 when they are read."""
    return [str(value) for value in row]


def _document(scores: TrajectoryScores) -> dict[str, Any]:
    values: dict[str, Any] = {
        "card": scores.card,
        "trajectories": [
            {
                **asdict(seen.listed),
                "num_video_frames": seen.num_video_frames,
                "frame_numbers": seen.frame_numbers,
                "times_seconds": seen.times_seconds,
            }
            for seen in scores.trajectories
        ],
        "prompts": [asdict(prompt) for prompt in scores.prompts],
        "similarity": scores.similarity.tolist(),
    }
    if scores.baseline is not None:
        values["scores"] = scores.scores.tolist()
    return values


def _write_bytes(data: bytes, path: Path) -> None:
    path.write_bytes(data)
