"""The page of trajectories' scores: each video's frames beside its scores, groups, time, returns."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from narravid.evaluation.page import Bar, Picture, ScoredStrip, Section, Table, write_page
from narravid.evaluation.picture_values import num_decimals, number_text
from narravid.evaluation.reward_diagnostics import RewardDiagnostics
from narravid.evaluation.trajectory_report import (
    ScoreReport,
    count_text,
    left_out,
    scores_label,
    without_timeline,
)
from narravid.inference.trajectory_groups import GroupTable
from narravid.inference.trajectory_scores import ScoredTrajectory, TrajectoryScores
from narravid.inference.trajectory_timeline import ScoreTimeline

__all__ = ["ScorePictures", "write_score_page"]

MAX_STRIPS = 200
MAX_TIMELINES = 100
MAX_BARS_OPEN = 8
NUM_BARS_OPEN = 5
FRAMES_PER_ROW = 8
ROW_GAP_PIXELS = 2
HEAT_MAP_CAPTION = "Trajectories (rows) against prompts (columns)"
PAGE_PIXELS_PER_INCH = 100
"""Letters of 7.5 points, the smallest of labels, are 10 pixels high then."""

PAGE_PIXELS, MOST_SHRUNK = 1040, 1.15
"""What is a little wider than the page is made to fit: 7.5 points keep 9 pixels. What is wider scrolls."""


@dataclass(frozen=True, slots=True)
class ScorePictures:
    """The pictures of a page, as PNG.

    Attributes:
        heat_map: All scores.
        groups: Tables of groups with their pictures.
        timelines: For each timeline its picture.
        scatters: For the first diagnostics their pictures.
    """

    heat_map: bytes
    groups: tuple[tuple[GroupTable, bytes], ...] = ()
    timelines: tuple[bytes, ...] = ()
    scatters: tuple[bytes, ...] = ()


def write_score_page(
    path: Path,
    scores: TrajectoryScores,
    *,
    pictures: ScorePictures,
    experiment: str,
    timelines: Sequence[ScoreTimeline] = (),
    diagnostics: Sequence[RewardDiagnostics] = (),
    report: ScoreReport,
) -> None:
    """Write one self-contained page.

    Args:
        path: The HTML file.
        scores: What was measured.
        pictures: What is shown besides the frames of the videos.
        experiment: Its title.
        timelines: Scores over time, one for each picture of them.
        diagnostics: Scores beside true returns.
        report: What else is said.
    """
    sections = [
        Section("Scores", paragraphs=report.notes, pictures=[_shown(pictures.heat_map, HEAT_MAP_CAPTION)])
    ]
    sections.append(_videos(scores))
    sections += _groups(pictures.groups)
    sections += _timelines(timelines, pictures.timelines)
    sections += _diagnostics(diagnostics, pictures.scatters)
    sections += _left_out(scores)
    card = [(key.replace("_", " "), _plain(value)) for key, value in scores.card.items()]
    code = [report.command] if report.command else []
    sections.append(Section("How it was done", tables=[Table(("", "value"), card, numeric=False)], code=code))
    videos = count_text(len(scores.trajectories), "trajectory")
    against = f"{videos} against {count_text(len(scores.prompts), 'prompt')}"
    summary = f"{against}: {scores_label(scores)}. Higher fits better; the best prompt of each is green."
    write_page(path, experiment, sections, summary=summary)


def _shown(data: bytes, alternative: str, *, caption: str = "") -> Picture:
    """A picture at the size at which its letters are read, or of the page if that is a little less."""
    with Image.open(io.BytesIO(data)) as picture:
        width = round(
            PAGE_PIXELS_PER_INCH * picture.width / picture.info.get("dpi", (PAGE_PIXELS_PER_INCH,))[0]
        )
    fits = width <= MOST_SHRUNK * PAGE_PIXELS
    shown = min(width, PAGE_PIXELS) if fits else width
    return Picture(data, caption, width_pixels=shown, alternative=alternative)


def _videos(scores: TrajectoryScores) -> Section:
    values = scores.scores.astype(np.float64)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    room = (low, high if high > low else 1.0)
    decimals = num_decimals(values)
    prompts = [prompt.text for prompt in scores.prompts]
    strips = [
        _strip(seen, _bars(row, prompts, room=room, decimals=decimals))
        for seen, row in zip(scores.trajectories[:MAX_STRIPS], values, strict=False)
    ]
    hidden = len(scores.trajectories) - len(strips)
    paragraphs = ["The frames that the model saw (at most 16 of them, evenly chosen), and the scores."]
    if hidden:
        paragraphs.append(f"The first {MAX_STRIPS}; the tables hold {count_text(hidden, 'trajectory')} more.")
    return Section("Each video", paragraphs=paragraphs, strips=strips)


def _bars(
    row: npt.NDArray[np.float64], prompts: Sequence[str], *, room: tuple[float, float], decimals: int
) -> list[Bar]:
    """Bars from zero, in the order of the prompts; with many prompts from the best to the worst."""
    low, high = room
    best = int(row.argmax()) if row.max() > row.min() else -1
    order = range(len(row)) if len(row) <= MAX_BARS_OPEN else np.argsort(-row, kind="stable").tolist()
    bars = []
    for column in order:
        ends = sorted((0.0, float(row[column])))
        start, end = ((end - low) / (high - low) for end in ends)
        text = number_text(float(row[column]), decimals)
        bars.append(Bar(prompts[column], text, start, min(1.0, end), best=column == best))
    return bars


def _strip(seen: ScoredTrajectory, bars: Sequence[Bar]) -> ScoredStrip:
    num_shown = len(bars) if len(bars) <= MAX_BARS_OPEN else NUM_BARS_OPEN
    listed = seen.listed
    notes = [listed.path]
    if listed.group is not None:
        notes.append(f"group {listed.group}")
    if listed.true_return is not None:
        notes.append(f"return {listed.true_return:g}")
    return ScoredStrip(
        listed.name,
        " · ".join(notes),
        Picture(_in_rows(seen), _frames_line(seen)),
        bars[:num_shown],
        folded=bars[num_shown:],
        folded_title=f"the other {len(bars) - num_shown} prompts",
    )


def _frames_line(seen: ScoredTrajectory) -> str:
    chosen = len(set(seen.frame_numbers))
    text = f"{count_text(chosen, 'frame')} of {seen.num_video_frames:,}"
    if seen.times_seconds:
        text += f", {seen.times_seconds[0]:.1f} to {seen.times_seconds[-1]:.1f} s"
    if seen.num_repeated:
        text += f"; it has too few, {count_text(seen.num_repeated, 'frame')} seen again"
    return text


def _in_rows(seen: ScoredTrajectory) -> bytes:
    """The strip broken into two rows where it has many frames, so that it fits beside the scores."""
    with Image.open(io.BytesIO(seen.strip)) as strip:
        strip.load()
    num_frames = min(16, len(set(seen.frame_numbers)))
    if num_frames <= FRAMES_PER_ROW:
        return seen.strip
    in_first = (num_frames + 1) // 2
    # Frames lie side by side with narrow gaps: an equal share of the width ends within a gap.
    cut = round(strip.width * in_first / num_frames)
    rows = Image.new("RGB", (cut, 2 * strip.height + ROW_GAP_PIXELS), "white")
    rows.paste(strip.crop((0, 0, cut, strip.height)), (0, 0))
    rows.paste(strip.crop((cut, 0, strip.width, strip.height)), (0, strip.height + ROW_GAP_PIXELS))
    buffer = io.BytesIO()
    rows.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


def _groups(groups: Sequence[tuple[GroupTable, bytes]]) -> Iterator[Section]:
    for table, picture in groups:
        decimals = num_decimals(np.stack([table.mean - table.std, table.mean + table.std]))
        rows = [
            [
                name,
                *(
                    f"{number_text(m, decimals)} ± {number_text(s, decimals)}"
                    for m, s in zip(*line, strict=True)
                ),
            ]
            for name, *line in zip(table.trajectory_groups, table.mean, table.std, strict=True)
        ]
        text = "Mean ± deviation over all pairs of a trajectory and a prompt of two groups."
        if table.deviation == "sample":
            text += " The variance is divided by n - 1; a single pair has deviation 0."
        if table.normalised:
            text += " Each prompt was first centred over all trajectories and divided by its deviation."
        title = "Groups, normalised" if table.normalised else "Groups"
        header = ("group", *table.prompt_groups)
        yield Section(
            title, paragraphs=[text], tables=[Table(header, rows)], pictures=[_shown(picture, title)]
        )


def _timelines(timelines: Sequence[ScoreTimeline], pictures: Sequence[bytes]) -> Iterator[Section]:
    shown = list(zip(timelines, pictures, strict=True))[:MAX_TIMELINES]
    if shown:
        text = ["Windows that slide along each video, each scored at its middle."]
        if len(timelines) > len(shown):
            text.append(
                f"The first {len(shown)} of {len(timelines):,} videos; the folder timelines holds all."
            )
        drawn = [_shown(picture, line.trajectory.name, caption=line.reason or "") for line, picture in shown]
        yield Section("Over time", paragraphs=text, pictures=drawn)


def _diagnostics(diagnostics: Sequence[RewardDiagnostics], pictures: Sequence[bytes]) -> Iterator[Section]:
    if diagnostics:
        text = (
            "Spearman's rank correlation of the scores with the true returns, with 95 % bootstrap intervals."
        )
        rows = [(one.name, str(one.correlation)) for one in diagnostics]
        drawn = [_shown(picture, one.name) for one, picture in zip(diagnostics, pictures, strict=False)]
        tables = [Table(("prompt", "result"), rows, numeric=False)]
        yield Section("Scores and true returns", paragraphs=[text], tables=tables, pictures=drawn)


def _left_out(scores: TrajectoryScores) -> Iterator[Section]:
    for title, reasons in (("Left out", left_out(scores)), ("No timeline", without_timeline(scores))):
        if reasons:
            yield Section(title, tables=[Table(("video", "reason"), [*reasons.items()], numeric=False)])


def _plain(value: object) -> str:
    """A JSON value for people."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
