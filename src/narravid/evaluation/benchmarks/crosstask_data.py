"""CrossTask as it is evaluated: which videos, which steps are looked for in each, and when they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from narravid.data.annotations.crosstask import (
    CrossTaskClip,
    CrossTaskTask,
    CrossTaskVideo,
    read_crosstask_clips,
    read_crosstask_release,
)
from narravid.errors import AnnotationError
from narravid.types import Span

__all__ = ["CrossTaskData", "CrossTaskSubset", "ListedVideo", "Task", "read_crosstask"]

CrossTaskSubset = Literal["validation", "all"]
"""Which videos of the release: those of `videos_val.csv`, or all that are annotated."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task.

    Attributes:
        task_id: Its number.
        title: Its name; the number where the name is not known.
        steps: Its steps in words.
    """

    task_id: str
    title: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A video that is to be measured.

    Attributes:
        task: What it shows.
        video_id: YouTube's name of it.
        places: Where it may lie below the folder of the videos, without suffix.
        annotations: (step, span) of each interval in which a step of the task, counted from 0, is shown.
            Empty for a video that is not annotated.
    """

    task: Task
    video_id: str
    places: tuple[str, ...]
    annotations: tuple[tuple[int, Span], ...]

    @property
    def name(self) -> str:
        """Task and video: a video may belong to several tasks."""
        return f"{self.task.task_id}/{self.video_id}"


@dataclass(frozen=True, slots=True)
class CrossTaskData:
    """What is to be measured.

    Attributes:
        videos: Its videos, in the order of their list.
        has_order: Whether the order of the steps is known, which placing them in time needs.
    """

    videos: tuple[ListedVideo, ...]
    has_order: bool

    @property
    def galleries(self) -> dict[str, tuple[str, ...]]:
        """For each task's number the different texts of its annotated steps, from which segments choose."""
        texts: dict[str, dict[str, None]] = {}
        for video in self.videos:
            for step, _ in video.annotations:
                texts.setdefault(video.task.task_id, {})[video.task.steps[step]] = None
        return {task: tuple(known) for task, known in texts.items()}


def read_crosstask(path: Path, *, subset: CrossTaskSubset = "validation") -> CrossTaskData:
    """Read the annotations.

    Args:
        path: The folder of the release, or the table of steps of MIL-NCE and VT-TWINS, which has the same
            intervals of the validation videos and not the order of the steps.
        subset: Which videos of the release.

    Returns:
        The videos with their intervals.

    Raises:
        AnnotationError: If a file is absent or has a fault, or no video is annotated.
    """
    videos = _videos_of_release(path, subset) if path.is_dir() else _videos_of_table(path)
    if not any(video.annotations for video in videos):
        raise AnnotationError(path, "none of its videos is annotated")
    return CrossTaskData(tuple(videos), has_order=path.is_dir())


def _videos_of_release(folder: Path, subset: CrossTaskSubset) -> list[ListedVideo]:
    release = read_crosstask_release(folder)
    tasks = {task.task_id: _task(task) for task in release.primary}
    listed: Sequence[CrossTaskVideo] = release.validation
    if subset == "all":
        listed = [CrossTaskVideo(task_id, video_id, "") for task_id, video_id in release.steps]
    return [
        ListedVideo(
            tasks[video.task_id],
            video.video_id,
            video.places,
            tuple(
                (step.number - 1, step.span)
                for step in release.steps.get((video.task_id, video.video_id), ())
            ),
        )
        for video in listed
        if video.task_id in tasks
    ]


def _task(task: CrossTaskTask) -> Task:
    return Task(task.task_id, task.title, task.steps)


def _videos_of_table(path: Path) -> list[ListedVideo]:
    clips = read_crosstask_clips(path)
    texts: dict[str, dict[str, None]] = {}
    by_video: dict[tuple[str, str], list[CrossTaskClip]] = {}
    for clip in clips:
        texts.setdefault(clip.task_id, {})[clip.text] = None
        by_video.setdefault((clip.task_id, clip.video_id), []).append(clip)
    tasks = {number: Task(number, number, tuple(steps)) for number, steps in texts.items()}
    return [
        ListedVideo(
            tasks[task_id],
            video_id,
            own[0].places,
            tuple((tasks[task_id].steps.index(clip.text), clip.span) for clip in own),
        )
        for (task_id, video_id), own in by_video.items()
    ]
