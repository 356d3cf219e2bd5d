"""Packing a narrated archive: in parallel, in order, and so that a kill at any moment costs one shard."""

from __future__ import annotations

import errno
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from narravid.bad_items import BAD_ITEMS_NAME, MAX_BAD_SHARE, BadItems
from narravid.data.corpus import FoundVideos
from narravid.data.pack_cutting import CutVideo, cut_videos
from narravid.data.pack_folder import PackFolder
from narravid.data.pack_format import PackInfo, PackSettings, shard_name
from narravid.data.pack_plan import PackPart, PackPlan
from narravid.data.pack_shards import write_shard
from narravid.errors import NarravidError
from narravid.progress import ProgressBar, progress_bar

__all__ = ["LOG_NAME", "PackReport", "pack_archive"]

LOG_NAME = "pack.log"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class PackReport:
    """What a packing run did.

    Attributes:
        info: The description of the pack; None while shards of other parts are missing.
        num_written: Videos that this run packed, bad ones included.
        num_kept: Videos of this run's part that earlier runs had packed.
        num_shards_missing: Shards that no run has packed yet.
        bad: What is not packed, and why: as the table of a complete pack says it; else the videos without
            captions to use, and the bad ones of all shards that are done.
        archive_bytes: Size of all video files of the archive together.
    """

    info: PackInfo | None
    num_written: int
    num_kept: int
    num_shards_missing: int
    bad: BadItems
    archive_bytes: int


def pack_archive(
    found: FoundVideos,
    root: Path,
    output: Path,
    *,
    settings: PackSettings,
    num_workers: int = 1,
    part: PackPart | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
) -> PackReport:
    """Cut the videos of an archive into the shards of a pack.

    Shards that are there already are kept: a run that was killed, or stopped by Ctrl-C, is finished by
    running it again, and the pack has the bytes that it would have had. Several machines can write parts of
    one pack on a disk that they share; whichever finds all shards done completes it.

    Args:
        found: The videos (see `find_narrated_videos`); those that cannot be used go into the table of bad
            items.
        root: The folder of the archive.
        output: The folder of the pack; made when missing.
        settings: How videos are cut and encoded.
        num_workers: Videos that are cut at the same time.
        part: Which part of the shards to write; None writes all.
        max_bad_share: Share of the videos that may be bad, by their captions or undecodable, before packing
            stops; 1 never stops.

    Returns:
        What was done.

    Raises:
        ValueError: If there is no video, `num_workers` is below 1, or `max_bad_share` not from 0 to 1.
        PackError: If `output` holds something else, or was begun for other videos or settings.
        TooManyBadItemsError: If more videos were bad.
        NarravidError: If nothing can be written, a file name is no text, or another run packs the same part.
    """
    if num_workers < 1:
        raise ValueError(f"num_workers must be at least 1, got {num_workers}")
    if not 0 <= max_bad_share <= 1:
        raise ValueError(f"max_bad_share must be from 0 to 1, got {max_bad_share}")
    if not found.videos:
        raise ValueError(f"{root} has no narrated video to pack")
    _check_names(found)
    part = part or PackPart()
    plan = PackPlan(root, found.videos, settings)
    folder = PackFolder(output, plan)
    try:
        with folder.work_on(part):
            job = _Job(plan, folder, part, faulty=found.faulty, max_bad_share=max_bad_share)
            return _finish(job, found, num_workers=num_workers)
    except OSError as error:
        raise _cannot_write_error(output, error) from error


def _finish(job: _Job, found: FoundVideos, *, num_workers: int) -> PackReport:
    """Do the job unless the pack is complete, and complete it if nothing is missing."""
    folder = job.folder
    was_complete = folder.info is not None
    try:
        if not was_complete:
            job.run(num_workers)
        info = folder.complete(found.bad)
    except (NarravidError, KeyboardInterrupt) as stop:
        job.log.write(f"stopped: {type(stop).__name__} {stop}")
        folder.write_bad_items(found.bad, more=job.bad)
        raise
    num_missing = 0
    if info is None:
        num_missing = sum(not folder.is_done(shard) for shard in range(job.plan.num_shards))
        bad = folder.write_bad_items(found.bad, more=job.bad)
        job.log.write(f"part {job.part} is done, {num_missing} shards of others are missing")
    else:
        bad = BadItems.read(folder.folder / BAD_ITEMS_NAME)
        if not was_complete:
            job.log.write("complete")
    return PackReport(info, job.num_written, job.num_kept, num_missing, bad, job.plan.archive_bytes)


def _check_names(found: FoundVideos) -> None:
    """Names go into tables of text, but a file system takes any bytes."""
    for video in found.videos:
        try:
            str(video.path).encode()
        except UnicodeEncodeError as error:
            raise NarravidError(
                f"the name of {str(video.path)!r} is no UTF-8 text; rename the file"
            ) from error


def _cannot_write_error(output: Path, error: OSError) -> NarravidError:
    remedy = "mend that and run the same command again, or choose another folder"
    if error.errno in NO_ROOM:
        remedy = "what is packed is kept: make room and run the same command again"
    return NarravidError(f"{output} cannot be written ({error.strerror or error}); {remedy}")


class _Log:
    """Appends lines with the time to a file of text."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, line: str) -> None:
        with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")


class _Job:
    """Writes the shards of one part that are missing."""

    def __init__(
        self,
        plan: PackPlan,
        folder: PackFolder,
        part: PackPart,
        *,
        faulty: Sequence[tuple[Path, str]],
        max_bad_share: float,
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.part = part
        self.log = _Log(
            folder.folder / (LOG_NAME if part.count == 1 else f"pack-{part.number}-of-{part.count}.log")
        )
        self._max_bad_share = max_bad_share
        self._shards = part.of(plan.num_shards)
        self._num_expected = sum(len(plan.videos_of(shard)) for shard in self._shards)
        self._started = time.monotonic()
        self._seconds_cut = 0.0
        self.num_written = self.num_kept = 0
        self.bad = BadItems()
        # each part answers for its share of what is bad by its captions, or small parts would stop for all
        for index in part.of(len(faulty)):
            self.bad.add(*faulty[index])
        self._num_faulty = len(self.bad)

    def run(self, num_workers: int) -> None:
        """Write the shards, in order."""
        done = {shard for shard in self._shards if self.folder.is_done(shard)}
        todo = [shard for shard in self._shards if shard not in done]
        for row in self.folder.rows(sorted(done), with_captions=False):
            self.num_kept += 1
            if row.bad is not None:
                self.bad.add(self.plan.root / row.path, row.bad)
        num_todo = self._num_expected - self.num_kept
        self.log.write(f"packing {num_todo} videos of {len(todo)} shards; {self.num_kept} were done before")
        self._check_share()
        numbers = itertools.chain.from_iterable(self.plan.videos_of(shard) for shard in todo)
        cut = cut_videos(
            (self.plan.videos[number] for number in numbers),
            self.plan.settings,
            num_workers=num_workers,
            folder=self.folder.folder,
        )
        with closing(cut), progress_bar("packing", num_todo, unit="videos") as bar:
            for shard in todo:
                self._write(shard, cut, bar)

    def _write(self, shard: int, cut: Iterator[CutVideo], bar: ProgressBar) -> None:
        numbers = self.plan.videos_of(shard)
        path = self.folder.folder / shard_name(shard)
        rows = write_shard(
            path,
            shard,
            zip(numbers, cut, strict=False),
            root=self.plan.root,
            on_video=lambda video: self._note(video, bar),
        )
        self.folder.finish_shard(shard, rows)
        num_segments = sum(len(row.segments) for row in rows)
        self.log.write(
            f"{path.name}: {len(rows)} videos, {num_segments} segments, {path.stat().st_size} bytes"
        )

    def _note(self, cut: CutVideo, bar: ProgressBar) -> None:
        self.num_written += 1
        self._seconds_cut += 0.0 if cut.bad else cut.duration_seconds
        if cut.bad is not None:
            self.bad.add(cut.video.path, cut.bad)
            self.log.write(f"bad: {cut.video.path}: {cut.bad}")
        rate = self._seconds_cut / max(time.monotonic() - self._started, 1e-9)
        bar.advance(note=f"{rate:.1f} h of video an hour, {len(self.bad)} bad")
        self._check_share()

    def _check_share(self) -> None:
        self.bad.check_share(
            self._num_faulty + self.num_kept + self.num_written,
            num_expected=self._num_faulty + self._num_expected,
            max_share=self._max_bad_share,
        )
