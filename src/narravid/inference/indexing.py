"""Filling an index: cut videos into overlapping windows, decode, embed, commit.

The numbers of a video must not depend on what else is indexed, or an interrupted run could not be repeated to
the bit. So a video's clips are embedded in batches of its own, and only whole videos are written.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from narravid.errors import DecodeError
from narravid.inference.clip_table import ClipTable, IndexedFile, VideoClips
from narravid.inference.embedder import Embedder
from narravid.inference.video_files import FileState
from narravid.progress import progress_bar
from narravid.types import Clip, ClipSpec, Span, VideoInfo
from narravid.video.sampling import sliding_windows

__all__ = ["ClipDecoder", "IndexReport", "index_videos"]

MAX_FAILURES_IN_A_ROW = 3
"""Windows that may fail one after the other before the rest of a video is given up: a file that claims hours
it does not have would otherwise cost a wait for each."""
MAX_PENDING_CLIPS = 4096
COMMITS_PER_COMPACTION = 64


class ClipDecoder(Protocol):
    """What indexing needs of a decoder; `video.watched.WatchedDecoder` is the one for files of strangers."""

    def probe(self, path: str) -> VideoInfo:
        """What the file says of itself."""

    def clips(self, path: str, starts: Sequence[float], spec: ClipSpec) -> Iterator[Clip]:
        """The clips that begin at `starts`, in seconds, in this order."""


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
    embedder: Embedder,
    decoder: ClipDecoder,
    stride_seconds: float,
    commit_seconds: float,
) -> IndexReport:
    """Add the videos that are new or changed.

    Args:
        table: Where the clips go.
        videos: Real paths with the states of the files.
        embedder: Makes the vectors.
        decoder: Reads the videos.
        stride_seconds: From the start of one window to the next.
        commit_seconds: Finished videos are written when this much time has passed since the last write: what
            a kill can cost.

    Returns:
        What was done.
    """
    present = table.files()
    report = IndexReport()
    todo = {path: state for path, state in videos.items() if not _is_current(present.get(path), state)}
    report.num_unchanged = len(videos) - len(todo)
    if not todo:
        return report
    with (
        progress_bar("indexing", len(todo), unit="videos") as bar,
        _Writer(table, set(present), commit_seconds) as writer,
    ):
        for path, state in todo.items():
            try:
                video, problem = _embed_video(path, state, embedder, decoder, stride_seconds=stride_seconds)
            except DecodeError as error:
                report.failed.append((path, error.reason))
            else:
                writer.add(video)
                report.num_clips += len(video.spans)
                (report.updated if path in present else report.added).append(path)
                if problem is not None:
                    report.partial.append((path, problem))
            bar.advance(note=f"{report.num_clips} clips")
    return report


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


def _embed_video(
    path: str, state: FileState, embedder: Embedder, decoder: ClipDecoder, *, stride_seconds: float
) -> tuple[VideoClips, str | None]:
    """The clips of one video, and what was wrong with it if not every window could be read."""
    duration = decoder.probe(path).duration_seconds
    if not (math.isfinite(duration) and duration > 0):
        raise DecodeError(path, f"its length is said to be {duration} seconds")
    spans = sliding_windows(duration, embedder.clip_spec.duration_seconds, stride_seconds=stride_seconds)
    reader = _WindowReader(path, spans, decoder, embedder.clip_spec)
    vectors = embedder.embed_clips(reader)
    if not reader.read_numbers:
        raise reader.first_error or DecodeError(path, "no frame could be read")
    if _state_or_none(path) != state:
        raise DecodeError(
            path, "the file changed while it was being read; index it again when it is complete"
        )
    video = VideoClips(
        path=path,
        state=state,
        num_windows=len(spans),
        window_numbers=tuple(reader.read_numbers),
        spans=tuple(spans[number] for number in reader.read_numbers),
        vectors=vectors,
    )
    if reader.first_error is None:
        return video, None
    num_missing = len(spans) - len(reader.read_numbers)
    return video, f"{num_missing} of {len(spans)} windows could not be read: {reader.first_error.reason}"


class _WindowReader:
    """Iterates over the clips of a video, stepping over windows that cannot be read."""

    def __init__(self, path: str, spans: Sequence[Span], decoder: ClipDecoder, spec: ClipSpec) -> None:
        self._path = path
        self._starts = [span.start_seconds for span in spans]
        self._decoder = decoder
        self._spec = spec
        self.read_numbers: list[int] = []
        self.first_error: DecodeError | None = None

    def __iter__(self) -> Iterator[Clip]:
        number = num_failures = 0
        while number < len(self._starts) and num_failures < MAX_FAILURES_IN_A_ROW:
            try:
                for clip in self._decoder.clips(self._path, self._starts[number:], self._spec):
                    self.read_numbers.append(number)
                    number += 1
                    num_failures = 0
                    yield clip
                if number < len(self._starts):
                    raise DecodeError(self._path, "the decoder ended early")
            except DecodeError as error:
                self.first_error = self.first_error or error
                number += 1
                num_failures += 1


def _state_or_none(path: str) -> FileState | None:
    try:
        return FileState.of(path)
    except OSError:
        return None
