"""What a model makes of CrossTask: a score for each second and step, the best step for each segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from narravid.evaluation.benchmarks.crosstask_data import ListedVideo
from narravid.evaluation.benchmarks.long_videos import encode_each
from narravid.evaluation.comparisons import DualEncoderComparison
from narravid.evaluation.seconds import second_windows
from narravid.evaluation.session import EvaluationSession
from narravid.evaluation.windows import WindowItem, spread_windows
from narravid.metrics import PlacedSteps, StepVideo, find_steps, rank_counts
from narravid.types import ClipSpec, Span

__all__ = ["FoundVideo", "JudgedSegment", "ScoredVideo", "judge_segments", "score_videos"]


@dataclass(frozen=True, slots=True)
class FoundVideo:
    """A listed video whose file is there.

    Attributes:
        listed: The video.
        path: Its file.
    """

    listed: ListedVideo
    path: str


@dataclass(frozen=True, slots=True, eq=False)
class ScoredVideo:
    """A video with its steps placed.

    Attributes:
        video: The video.
        scores: (T, K) float64 score of each second for each step.
        placed: Where the steps were placed, and which were found.
    """

    video: FoundVideo
    scores: torch.Tensor
    placed: PlacedSteps

    @property
    def recall(self) -> float:
        """Share of its annotated steps that were found, in [0, 1]."""
        return float(self.placed.found.nanmean())

    @property
    def num_steps(self) -> int:
        """How many of its steps are annotated, those behind its end among them."""
        return int((~self.placed.found.isnan()).sum())


@dataclass(frozen=True, slots=True)
class JudgedSegment:
    """An annotated interval of a video, and whether its step was told from the others of its task.

    Attributes:
        video: The video.
        span: The interval.
        hit: Whether its own step scored best, in [0, 1]; a share where several did.
        answer: The step that scored best, in words.
        text: Its own step, in words.
    """

    video: FoundVideo
    span: Span
    hit: float
    answer: str
    text: str


def score_videos(
    session: EvaluationSession,
    comparison: DualEncoderComparison,
    videos: Sequence[FoundVideo],
    *,
    spec: ClipSpec,
) -> tuple[list[ScoredVideo], dict[str, str]]:
    """Score each second of each video for each step of its task, and place the steps in order.

    Args:
        session: The run.
        comparison: How embeddings are compared.
        videos: Annotated videos whose steps are in order.
        spec: What the window of a second looks like.

    Returns:
        The videos with their scores, and path → reason of those that have none.

    Raises:
        TooManyBadItemsError: If more videos than the session allows cannot be read.
    """
    items = [WindowItem(video.path) for video in videos]
    text: dict[str, torch.Tensor] = {}
    scored: dict[int, ScoredVideo] = {}
    reasons: dict[str, str] = {}
    encoder = session.clip_encoder("embedding")
    for number, vectors in encode_each(session, encoder, items, rule=second_windows(spec)):
        video = videos[number]
        task = video.listed.task
        if isinstance(vectors, str):
            reasons[video.path] = vectors
        elif len(vectors) < len(task.steps):
            reasons[video.path] = f"its {len(vectors)} s are too few for {len(task.steps)} steps in order"
        else:
            if task.task_id not in text:
                text[task.task_id] = comparison.encode_text(task.steps)
            similarity = comparison.compare(torch.tensor(vectors), text[task.task_id]).similarity
            scores = similarity.T.contiguous()
            step_video = StepVideo(video.listed.name, task.title, scores, video.listed.annotations)
            scored[number] = ScoredVideo(video, scores, find_steps(step_video))
    return [scored[number] for number in sorted(scored)], reasons


def judge_segments(
    session: EvaluationSession,
    comparison: DualEncoderComparison,
    videos: Sequence[FoundVideo],
    *,
    galleries: dict[str, tuple[str, ...]],
    plan: tuple[ClipSpec, int],
) -> tuple[list[JudgedSegment], dict[str, str]]:
    """Let each annotated interval choose among the steps of its task.

    An interval is the mean of its L2-normalised window embeddings, as in VT-TWINS' evaluation.

    Args:
        session: The run.
        comparison: How embeddings are compared: by cosine.
        videos: Annotated videos.
        galleries: The steps in words for each task's number.
        plan: What a window looks like, and how many windows an interval has.

    Returns:
        The intervals, and path → reason of the videos of which one cannot be read.

    Raises:
        TooManyBadItemsError: If more intervals than the session allows cannot be read.
    """
    wanted = [(video, step, span) for video in videos for step, span in video.listed.annotations]
    items = [WindowItem(video.path, span) for video, _, span in wanted]
    text = {task: comparison.encode_text(gallery) for task, gallery in galleries.items()}
    judged: dict[int, JudgedSegment] = {}
    reasons: dict[str, str] = {}
    encoder = session.clip_encoder("embedding")
    for number, vectors in encode_each(session, encoder, items, rule=spread_windows(*plan)):
        video, step, span = wanted[number]
        task = video.listed.task
        if isinstance(vectors, str):
            reasons.setdefault(video.path, vectors)
            continue
        mean = F.normalize(torch.tensor(vectors).double(), dim=-1).mean(dim=0, keepdim=True)
        scores = comparison.compare(mean, text[task.task_id]).similarity.T
        gallery = galleries[task.task_id]
        own = gallery.index(task.steps[step])
        hit = rank_counts(scores, np.array([own])).hits(1)
        answer = gallery[int(scores.argmax())]
        judged[number] = JudgedSegment(video, span, float(hit), answer, task.steps[step])
    return [judged[number] for number in sorted(judged)], reasons
