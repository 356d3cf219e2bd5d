"""CrossTask: the table of annotated steps, and the files of the official release.

Zhukov et al. 2019, arXiv 1903.08225. The repositories of MIL-NCE and VT-TWINS publish the steps of the
videos they evaluate as a table `end,start,task_id,text,video_id` (seconds; 2,640 rows, steps in words). The
release holds `tasks_primary.txt` and `tasks_related.txt` (five lines for each task: number, title, address,
number of steps, steps with commas between; then a blank one), `videos.csv` and `videos_val.csv` without a
header (task, video, address), and for each annotated video `annotations/TASK_VIDEO.csv` without a header
(number of the step from 1, start, end in seconds).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from narravid.annotation_files import read_lines, read_rows, read_table
from narravid.errors import AnnotationError
from narravid.types import Span

__all__ = [
    "CrossTaskClip",
    "CrossTaskRelease",
    "CrossTaskStep",
    "CrossTaskTask",
    "CrossTaskVideo",
    "read_crosstask_clips",
    "read_crosstask_release",
    "read_crosstask_steps",
    "read_crosstask_tasks",
    "read_crosstask_videos",
]

LINES_PER_TASK = 5


@dataclass(frozen=True, slots=True)
class CrossTaskClip:
    """A stretch of a video in which a step is done.

    Attributes:
        video_id: YouTube's name of the video.
        task_id: Number of the task.
        span: The stretch.
        text: The step in words.
    """

    video_id: str
    task_id: str
    span: Span
    text: str

    @property
    def places(self) -> tuple[str, ...]:
        """Where the video may lie, without suffix."""
        return _places(self.task_id, self.video_id)


@dataclass(frozen=True, slots=True)
class CrossTaskTask:
    """A task and its steps.

    Attributes:
        task_id: Its number.
        title: Its name.
        url: The page of instructions that it was taken from.
        steps: Its steps in words, in the order of the instructions.
    """

    task_id: str
    title: str
    url: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CrossTaskVideo:
    """A video of a task.

    Attributes:
        task_id: Number of the task.
        video_id: YouTube's name of the video.
        url: Where the video was.
    """

    task_id: str
    video_id: str
    url: str

    @property
    def places(self) -> tuple[str, ...]:
        """Where the video may lie, without suffix."""
        return _places(self.task_id, self.video_id)


@dataclass(frozen=True, slots=True)
class CrossTaskStep:
    """A stretch of a video in which a step of its task is done.

    Attributes:
        number: Which step of the task, counted from 1 as in the file.
        span: The stretch.
    """

    number: int
    span: Span


@dataclass(frozen=True, slots=True)
class CrossTaskRelease:
    """All of the release.

    Attributes:
        primary: The tasks with annotated videos.
        related: The tasks without.
        videos: The videos of all tasks; a video may belong to several.
        validation: Those that the paper's validation set consists of.
        steps: What is annotated, by number of the task and name of the video.
    """

    primary: tuple[CrossTaskTask, ...]
    related: tuple[CrossTaskTask, ...]
    videos: tuple[CrossTaskVideo, ...]
    validation: tuple[CrossTaskVideo, ...]
    steps: Mapping[tuple[str, str], tuple[CrossTaskStep, ...]]


def _places(task_id: str, video_id: str) -> tuple[str, ...]:
    return f"videos/{task_id}/{video_id}", f"{task_id}/{video_id}", video_id


def read_crosstask_clips(path: Path) -> tuple[CrossTaskClip, ...]:
    """Read the table of annotated steps.

    Args:
        path: The CSV file (2,640 rows as published).

    Returns:
        The clips in order.

    Raises:
        AnnotationError: If the table has a fault.
    """
    return tuple(
        CrossTaskClip(row.text("video_id"), row.text("task_id"), row.span("start", "end"), row.text("text"))
        for row in read_table(path, ("end", "start", "task_id", "text", "video_id"))
    )


def read_crosstask_tasks(path: Path) -> tuple[CrossTaskTask, ...]:
    """Read a list of tasks, `tasks_primary.txt` (18 tasks) or `tasks_related.txt` (65).

    Args:
        path: The text file.

    Returns:
        The tasks in order.

    Raises:
        AnnotationError: If the file cannot be read, a task lacks lines, has another number of steps than it
            says, or is there twice.
    """
    lines = list(read_lines(path))
    tasks: dict[str, CrossTaskTask] = {}
    for first in range(0, len(lines), LINES_PER_TASK):
        block = lines[first : first + LINES_PER_TASK]
        line = block[0][0]
        if len(block) < LINES_PER_TASK:
            reason = f"a task has {LINES_PER_TASK} lines (number, title, address, number of steps, steps)"
            raise AnnotationError(path, f"{reason}, the last one {len(block)}", line=line)
        task_id, title, url, num_steps, listed = (text for _, text in block)
        steps = tuple(step.strip() for step in listed.split(","))
        if num_steps != str(len(steps)):
            reason = f"must be {len(steps)}, the number of steps on the next line, got {num_steps!r}"
            raise AnnotationError(path, reason, line=block[3][0], field="number of steps")
        if not all(steps):
            raise AnnotationError(path, f"a step is empty: {listed!r}", line=block[4][0], field="steps")
        if task_id in tasks or not task_id.isdecimal():
            reason = "is there twice" if task_id in tasks else f"must be a number, got {task_id!r}"
            raise AnnotationError(path, reason, line=line, field="task")
        tasks[task_id] = CrossTaskTask(task_id, title, url, steps)
    return tuple(tasks.values())


def read_crosstask_videos(
    path: Path, *, task_ids: Collection[str] | None = None
) -> tuple[CrossTaskVideo, ...]:
    """Read a list of videos, `videos.csv` (4,700 rows) or `videos_val.csv` (360).

    Args:
        path: The CSV file.
        task_ids: The tasks there are, None if that is not known.

    Returns:
        The videos in order.

    Raises:
        AnnotationError: If the table has a fault or names a task that there is not.
    """
    videos = []
    for row in read_rows(path, ("task_id", "video_id", "url")):
        task_id = row.text("task_id")
        if task_ids is not None and task_id not in task_ids:
            raise row.wrong("task_id", f"one of the {len(task_ids)} tasks")
        videos.append(CrossTaskVideo(task_id, row.text("video_id"), row.text("url")))
    return tuple(videos)


def read_crosstask_steps(path: Path, *, num_steps: int | None = None) -> tuple[CrossTaskStep, ...]:
    """Read what is annotated in one video, `annotations/TASK_VIDEO.csv`.

    Args:
        path: The CSV file.
        num_steps: How many steps the task has, None if that is not known.

    Returns:
        The stretches in order.

    Raises:
        AnnotationError: If the table has a fault or names a step that the task has not.
    """
    return tuple(
        CrossTaskStep(row.integer("step", at_least=1, at_most=num_steps), row.span("start", "end"))
        for row in read_rows(path, ("step", "start", "end"))
    )


def read_crosstask_release(folder: Path) -> CrossTaskRelease:
    """Read the folder of the release.

    Args:
        folder: The folder, as it comes out of `crosstask_release.zip`.

    Returns:
        Its tasks, videos and steps.

    Raises:
        AnnotationError: If a file is absent or has a fault, a video belongs to no task, or something other
            than a primary task is annotated.
    """
    primary = read_crosstask_tasks(folder / "tasks_primary.txt")
    related = read_crosstask_tasks(folder / "tasks_related.txt")
    task_ids = {task.task_id for task in (*primary, *related)}
    num_steps = {task.task_id: len(task.steps) for task in primary}
    annotated = folder / "annotations"
    if not annotated.is_dir():
        raise AnnotationError(annotated, "is no folder; the release has one with a file for each video")
    steps = {}
    for path in sorted(annotated.glob("*.csv")):
        task_id, _, video_id = path.stem.partition("_")
        if task_id not in num_steps or not video_id:
            raise AnnotationError(path, "the name must be TASK_VIDEO.csv with a task of tasks_primary.txt")
        steps[task_id, video_id] = read_crosstask_steps(path, num_steps=num_steps[task_id])
    return CrossTaskRelease(
        primary,
        related,
        videos=read_crosstask_videos(folder / "videos.csv", task_ids=task_ids),
        validation=read_crosstask_videos(folder / "videos_val.csv", task_ids=task_ids),
        steps=steps,
    )
