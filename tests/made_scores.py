"""Scores of invented trajectories, for tests of what is drawn and written of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from narravid.inference.trajectory_baseline import Baseline
from narravid.inference.trajectory_lists import ListedPrompt, ListedTrajectory
from narravid.inference.trajectory_scores import ScoredTrajectory, TrajectoryScores
from narravid.inference.trajectory_timeline import ScoreTimeline
from narravid.video.frame_strip import frame_strip


def scored(name: str, *, group: str | None = None, num_frames: int = 4) -> ScoredTrajectory:
    """A video of so many grey frames, from dark to bright, at 10 frames per second."""
    greys = torch.linspace(20, 235, num_frames).to(torch.uint8)
    frames = greys[:, None, None, None].expand(num_frames, 12, 16, 3).contiguous()
    return ScoredTrajectory(
        listed=ListedTrajectory(f"videos/{name}.mp4", name, group),
        frame_numbers=tuple(range(num_frames)),
        times_seconds=tuple(number / 10 for number in range(num_frames)),
        num_video_frames=num_frames,
        strip=frame_strip(frames, num_shown=16, height_pixels=96),
    )


def made_scores(
    similarity: Sequence[Sequence[float]],
    names: Sequence[str],
    prompts: Sequence[str],
    *,
    groups: tuple[Sequence[str | None], Sequence[str | None]] | None = None,
    baseline: Baseline | None = None,
) -> TrajectoryScores:
    """Scores as they come from a model; with a baseline half the cosines."""
    of_rows, of_columns = groups or ([None] * len(names), [None] * len(prompts))
    cosines = np.array(similarity, dtype=np.float32)
    return TrajectoryScores(
        trajectories=tuple(scored(name, group=group) for name, group in zip(names, of_rows, strict=True)),
        prompts=tuple(ListedPrompt(text, group) for text, group in zip(prompts, of_columns, strict=True)),
        similarity=cosines,
        scores=cosines if baseline is None else cosines / 2,
        baseline=baseline,
        card={"model": "a & b", "num_frames": 4, "similarity": "cosine", "baseline": None},
    )


def made_timeline(
    scores: Sequence[Sequence[float]],
    starts: Sequence[float],
    *,
    name: str = "a video",
    reason: str | None = None,
) -> ScoreTimeline:
    """Windows of 2 seconds; the prompts are called prompt 0, prompt 1 and so on."""
    values = np.array(scores, dtype=np.float32)
    return ScoreTimeline(
        trajectory=ListedTrajectory(f"videos/{name}.mp4", name),
        prompts=tuple(ListedPrompt(f"prompt {number}") for number in range(values.shape[1])),
        starts_seconds=np.array(starts, dtype=np.float64),
        ends_seconds=np.array(starts, dtype=np.float64) + 2,
        scores=values,
        reason=reason,
    )
