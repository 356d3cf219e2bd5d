"""What the files of scores are made of besides the scores: what was asked for, and how numbers are called."""

from __future__ import annotations

from dataclasses import dataclass

from narravid.inference.trajectories import Deviation
from narravid.inference.trajectory_scores import TrajectoryScores

__all__ = ["ScoreReport", "as_utf8", "count_text", "left_out", "scores_label", "without_timeline"]


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """What a report of scores says and holds beside the scores themselves.

    Attributes:
        command: The command that makes the same files again; empty for none.
        notes: Remarks for the reader, one paragraph each.
        normalise: Whether groups are also shown with each prompt's scores centred over all trajectories and
            divided by their deviation.
        deviation: Of the groups: divided by n ("population") or by n - 1 ("sample").
    """

    command: str = ""
    notes: tuple[str, ...] = ()
    normalise: bool = False
    deviation: Deviation = "population"


def scores_label(scores: TrajectoryScores) -> str:
    """What the scores are, in a few words."""
    if scores.baseline is None:
        return "cosine similarity"
    return f"score, {scores.baseline.form} with α = {scores.baseline.alpha:g}"


def left_out(scores: TrajectoryScores) -> dict[str, str]:
    """Path → reason of each video that has no scores."""
    scored = {seen.listed.path for seen in scores.trajectories}
    return {path: reason for path, reason in sorted(scores.bad.reasons.items()) if path not in scored}


def without_timeline(scores: TrajectoryScores) -> dict[str, str]:
    """Path → reason of each video that has scores as a whole, but could not be scored over time."""
    scored = {seen.listed.path for seen in scores.trajectories}
    return {path: reason for path, reason in sorted(scores.bad.reasons.items()) if path in scored}


def count_text(number: int, name: str) -> str:
    """A number of things in words.

    >>> count_text(1, "video"), count_text(2000, "trajectory")
    ('1 video', '2,000 trajectories')
    """
    if number == 1:
        return f"1 {name}"
    return f"{number:,} {name.removesuffix('y')}ies" if name.endswith("y") else f"{number:,} {name}s"


def as_utf8(text: str) -> str:
    """A text that can be written as UTF-8: bytes of file names that are no text become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
