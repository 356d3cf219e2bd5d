"""Filling an index: what is new or changed is embedded and committed, whole videos only."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from narravid.bad_items import BadItems
from narravid.errors import DecodeError
from narravid.inference.clip_table import ClipTable, IndexedFile, VideoClips
from narravid.inference.video_files import FileState
from narravid.progress import ProgressBar, progress_bar

__all__ = ["EmbedVideo", "IndexReport", "index_videos"]

MAX_PENDING_CLIPS = 4096
COMMITS_PER_COMPACTION = 64
STEPS_PER_VIDEO = 64
"""Moves of the progress bar; a power of two, so that the sum of all is exact."""

MIN_FILES_TO_JUDGE = 1000
"""With fewer files the share of bad ones stops nothing: what is good of them is indexed in minutes."""

Embedded = tuple[VideoClips, str | None]


class EmbedVideo(Protocol):
    """Makes the clips of one video; see `narravid.inference.video_clips.embed_video`."""

    def __call__(self, path: str, state: FileState, *, on_progress: Callable[[float], None]) -> Embedded:
        """The clips, and what was wrong with the file if some are missing."""


@dataclass(slots=True)
class IndexReport:
    """What an indexing run did.

    Attributes:
        added: Paths that were not in the index before.
        updated: Paths whose earlier clips gave way to new ones, because the file had changed.
        num_unchanged: Files that were in the index already.
        num_clips: Clips written.
        failed: (path, reason) of each file that could not be indexed; its earlier clips, if any, stay.
        partial: (path, reason) of each file of which some windows could not be read.
        passed_over: Files of folders without a video suffix.
        num_repeated: Paths that led to a file named before.
    """

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    num_unchanged: int = 0
    num_clips: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    partial: list[tuple[str, str]] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    num_repeated: int = 0

    @property
    def num_indexed(self) -> int:
        """Files that are in the index now, of those named."""
        return len(self.added) + len(self.updated) + self.num_unchanged


def index_videos(
    table: ClipTable,
    videos: Mapping[str, FileState],
    *,
    embed_video: EmbedVideo,
    report: IndexReport,
    commit_seconds: float,
    num_workers: int = 1,
    max_bad_share: float = 1.0,
) -> None:
    """Add the videos that are new or changed.

    Args:
        table: Where the clips go.
        videos: Real paths with the states of the files.
        embed_video: Makes the clips of one.
        report: Filled as the work goes on; what has failed already counts among the bad.
        commit_seconds: Finished videos are written when this much time has passed since the last write: what
            a kill can cost.
        num_workers: Videos that are read at once; `embed_video` must allow as many threads. The rows do not
            depend on it.
        max_bad_share: Share of the files that may be bad; judged only where there are a thousand or more.

    Raises:
        TooManyBadItemsError: If more are bad. What is finished is written.
    """
    present = table.files()
    todo = {path: state for path, state in videos.items() if not _is_current(present.get(path), state)}
    report.num_unchanged = len(videos) - len(todo)
    if not todo:
        return
    judge = _Judge(report, num_expected=len(videos) + len(report.failed), max_bad_share=max_bad_share)
    with (
        progress_bar("indexing", len(todo), unit="videos") as bar,
        _Writer(table, set(present), commit_seconds) as writer,
    ):
        progress = _Progress(bar)

        def embed(path: str) -> Embedded:
            return embed_video(path, todo[path], on_progress=progress.of_video(path))

        outcomes = _in_order(list(todo), embed, num_workers=num_workers, stop=progress.stop)
        with closing(outcomes):  # ends the threads at once when this one fails
            for path, outcome in outcomes:
                _note_outcome(report, path, outcome, writer=writer, is_new=path not in present)
                progress.finish_video(path, note=f"{report.num_clips} clips")
                judge.check()


class _Judge:
    """Stops a long run of which too much is bad."""

    def __init__(self, report: IndexReport, *, num_expected: int, max_bad_share: float) -> None:
        self._report = report
        self._num_expected = num_expected
        self._max_bad_share = max_bad_share
        self._bad = BadItems()
        self._num_noted = 0

    def check(self) -> None:
        """Look at what has been added to the report since the last time.

        Raises:
            TooManyBadItemsError: If too much is bad.
        """
        report = self._report
        for path, reason in report.failed[self._num_noted :]:
            self._bad.add(path, reason)
        self._num_noted = len(report.failed)
        if self._num_expected >= MIN_FILES_TO_JUDGE:
            num_met = report.num_indexed + len(report.failed)
            self._bad.check_share(num_met, num_expected=self._num_expected, max_share=self._max_bad_share)


def _note_outcome(
    report: IndexReport, path: str, outcome: Future[Embedded], *, writer: _Writer, is_new: bool
) -> None:
    try:
        video, problem = outcome.result()
    except DecodeError as error:
        report.failed.append((path, error.reason))
        return
    writer.add(video)
    report.num_clips += len(video.spans)
    (report.added if is_new else report.updated).append(path)
    if problem is not None:
        report.partial.append((path, problem))


def _in_order(
    paths: list[str], embed: Callable[[str], Embedded], *, num_workers: int, stop: Callable[[], None]
) -> Generator[tuple[str, Future[Embedded]]]:
    """Each path with its outcome, in order, while a few later ones are in work."""
    waiting: deque[tuple[str, Future[Embedded]]] = deque()
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="index")
    try:
        for path in paths:
            waiting.append((path, pool.submit(embed, path)))
            if len(waiting) > num_workers:
                yield waiting.popleft()
        yield from waiting
    finally:
        stop()
        pool.shutdown(cancel_futures=True)


class _Progress:
    """Moves the bar by shares of videos, so that a long one is seen to go on; stops the work when told to."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._shown: defaultdict[str, float] = defaultdict(float)

    def stop(self) -> None:
        """Let the videos in work end at their next window."""
        self._stopped.set()

    def of_video(self, path: str) -> Callable[[float], None]:
        """A callback for the share of one video that is done."""

        def on_progress(share: float) -> None:
            if self._stopped.is_set():
                raise CancelledError
            rounded = int(STEPS_PER_VIDEO * share) / STEPS_PER_VIDEO
            with self._lock:
                if self._shown[path] < rounded < 1:
                    self._bar.advance(rounded - self._shown[path])
                    self._shown[path] = rounded

        return on_progress

    def finish_video(self, path: str, *, note: str) -> None:
        """Count a video as done, however far it came."""
        with self._lock:
            self._bar.advance(1.0 - self._shown.pop(path, 0.0), note=note)


class _Writer:
    """Collects finished videos and commits them now and then, and at the end even after an error."""

    def __init__(self, table: ClipTable, present: set[str], commit_seconds: float) -> None:
        self._table = table
        self._present = present
        self._commit_seconds = commit_seconds
        self._pending: list[VideoClips] = []
        self._last_commit = time.monotonic()
        self._num_commits = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._commit()
        if kind is None and self._num_commits > 0:
            self._table.compact()

    def add(self, video: VideoClips) -> None:
        """Take a finished video."""
        self._pending.append(video)
        is_due = time.monotonic() - self._last_commit >= self._commit_seconds
        if is_due or sum(len(video.spans) for video in self._pending) >= MAX_PENDING_CLIPS:
            self._commit()

    def _commit(self) -> None:
        if self._pending:
            replace = any(video.path in self._present for video in self._pending)
            self._table.commit(self._pending, replace=replace)
            self._pending = []
            self._num_commits += 1
            if self._num_commits % COMMITS_PER_COMPACTION == 0:
                self._table.compact()
        self._last_commit = time.monotonic()


def _is_current(indexed: IndexedFile | None, state: FileState) -> bool:
    return indexed is not None and indexed.state == state
