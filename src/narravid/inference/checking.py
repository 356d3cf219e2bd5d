"""Checking an archive before days of work depend on it: files in parallel, none of which stops the rest."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

from narravid.bad_items import BadItems
from narravid.data.corpus import NarratedVideo, find_narrated_videos
from narravid.errors import DecodeError
from narravid.inference.checked_files import CheckedFiles, WholeFile
from narravid.inference.video_files import FoundFiles
from narravid.progress import progress_bar
from narravid.video.decode_check import CheckedVideo

__all__ = ["CheckReport", "Narration", "VideoChecker", "check_videos", "find_narration"]

FILES_AHEAD = 2
SECONDS_PER_HOUR = 3600.0
CAPTION_TOLERANCE_SECONDS = 1.0
"""How long after the end of the video a last caption may start: recognisers are not exact."""

Narration = Mapping[str, float | str]
"""Real path of a video → when its last caption starts, in seconds, or why it has no captions."""


class VideoChecker(Protocol):
    """What checking needs of a decoder; `video.watched.WatchedDecoder` is the one for files of strangers."""

    def check(self, path: str, *, whole: bool) -> CheckedVideo:
        """Look for damage in one file; several threads may ask at once."""

    def close(self) -> None:
        """Give up what is under way."""


@dataclass(slots=True)
class CheckReport:
    """What a check found.

    Attributes:
        bad: What is wrong with which path.
        num_files: Files that were looked for, good and bad.
        num_known: Of these, the files that an earlier check found whole and that have not changed.
        video_seconds: Length of all good files together.
        not_looked_at: How many files of folders were passed over, by their suffix; "none" is no suffix.
        num_repeated: Paths that led to a file that is counted already.
    """

    bad: BadItems = field(default_factory=BadItems)
    num_files: int = 0
    num_known: int = 0
    video_seconds: float = 0.0
    not_looked_at: Counter[str] = field(default_factory=Counter)
    num_repeated: int = 0

    @property
    def num_good(self) -> int:
        """Files with which nothing is wrong."""
        return self.num_files - len(self.bad)


def find_narration(roots: Iterable[Path], *, captions: Path | None) -> dict[str, float | str]:
    """The captions of all videos below some folders, read as training reads them.

    Args:
        roots: Folders of videos; of a file, the folder it lies in.
        captions: Where the captions are, see `find_narrated_videos`; None for beside the videos.

    Returns:
        For each video when its last caption starts, or why it cannot be used.

    Raises:
        ValueError: If `captions` does not exist.
        AnnotationError: If a file with the captions of all videos has a fault.
    """
    narration: dict[str, float | str] = {}
    for root in dict.fromkeys(root if root.is_dir() else root.parent for root in roots):
        if not root.is_dir():
            continue
        found = find_narrated_videos(root, captions=captions)
        for video in found.videos:
            narration[os.path.realpath(video.path)] = _last_start(video)
        for path, reason in found.bad:
            narration[os.path.realpath(path)] = reason
    return narration


def _last_start(video: NarratedVideo) -> float:
    return max(caption.span.start_seconds for caption in video.track)


def check_videos(
    found: FoundFiles,
    *,
    checker: VideoChecker,
    checked_files: CheckedFiles,
    whole: bool,
    num_workers: int = 1,
    narration: Narration | None = None,
    report: CheckReport | None = None,
) -> CheckReport:
    """Check files, several at once.

    Args:
        found: The files.
        checker: Looks at one; crashes and stalls are its business.
        checked_files: Which files need no second look; what is found whole is added at once.
        whole: Decode every packet; otherwise samples.
        num_workers: Files that are checked at once.
        narration: What is known of the captions; None when captions do not matter.
        report: Filled as the check goes on, for whoever wants what was found before it was stopped.

    Returns:
        What was found.
    """
    report = CheckReport() if report is None else report
    report.num_files += len(found.videos) + len(found.problems)
    report.not_looked_at.update(Path(path).suffix or "none" for path in found.passed_over)
    report.num_repeated += found.num_repeated
    for path, reason in found.problems:
        report.bad.add(path, reason)
    todo = []
    for path, state in found.videos.items():
        known = checked_files.find(path, state, decoded=whole)
        if known is None:
            todo.append(path)
        else:
            report.num_known += 1
            _note_whole(report, path, known.duration_seconds, narration)
    outcomes = _in_any_order(todo, checker, whole=whole, num_workers=num_workers)
    with progress_bar("checking", len(todo), unit="files") as bar, closing(outcomes):
        started, earlier_seconds = time.monotonic(), report.video_seconds
        for path, outcome in outcomes:
            if isinstance(outcome, str):
                report.bad.add(path, outcome)
            else:
                whole_file = WholeFile(found.videos[path], outcome.duration_seconds, whole)
                checked_files.add(path, whole_file)
                _note_whole(report, path, outcome.duration_seconds, narration)
            speed = (report.video_seconds - earlier_seconds) / max(time.monotonic() - started, 1e-9)
            bar.advance(note=f"{speed:,.0f} h of video/h, {len(report.bad):,} bad")
    return report


def _note_whole(report: CheckReport, path: str, duration_seconds: float, narration: Narration | None) -> None:
    """Count a file with which nothing is wrong, if its captions agree."""
    if narration is not None:
        fault = _caption_fault(narration.get(path), duration_seconds)
        if fault is not None:
            report.bad.add(path, fault)
            return
    report.video_seconds += duration_seconds


def _caption_fault(captions: float | str | None, duration_seconds: float) -> str | None:
    if captions is None:
        return "not among the videos that training would find: it lies behind a link to a folder"
    if isinstance(captions, str):
        return captions
    if captions > duration_seconds + CAPTION_TOLERANCE_SECONDS:
        return (
            f"captions of another video: the last starts at {captions:.1f} s, "
            f"the video ends at {duration_seconds:.1f} s"
        )
    return None


def _in_any_order(
    paths: Sequence[str], checker: VideoChecker, *, whole: bool, num_workers: int
) -> Generator[tuple[str, CheckedVideo | str]]:
    """Each path with what was found or what is wrong, as they are done: a long film holds nothing up."""

    def check(path: str) -> tuple[str, CheckedVideo | str]:
        try:
            found = checker.check(path, whole=whole)
        except DecodeError as error:
            return path, error.reason
        if not (math.isfinite(found.duration_seconds) and found.duration_seconds > 0):
            return path, f"its length is said to be {found.duration_seconds} seconds"
        return path, found.fault or found

    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="check")
    rest = iter(paths)
    pending: set[Future[tuple[str, CheckedVideo | str]]] = set()
    try:
        while True:
            free = FILES_AHEAD * num_workers - len(pending)
            pending |= {pool.submit(check, path) for path in islice(rest, free)}
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if pending:
            checker.close()  # a film in work may need minutes yet
        pool.shutdown()
