"""Packing a narrated archive: in parallel, in order, and so that a kill at any moment costs one shard."""

from __future__ import annotations

import errno
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from narravid.bad_items import MAX_BAD_SHARE, BadItems
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
        bad: The bad videos of its part, and those with faulty captions.
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
        ValueError: If there is no video, or `num_workers` is below 1.
        PackError: If `output` holds something else, or was begun for other videos or settings.
        TooManyBadItemsError: If more videos were bad.
        NarravidError: If the disk is full, a file name is no text, or another run packs the same part.
    """
    if not found.videos:
        raise ValueError(f"{root} has no narrated video to pack")
    _check_names(found)
    part = part or PackPart()
    plan = PackPlan(root, found.videos, settings)
    folder = PackFolder(output, plan)
    with folder.work_on(part):
        log = _Log(output / (LOG_NAME if part.count == 1 else f"pack-{part.number}-of-{part.count}.log"))
        job = _Job(plan, folder, part, faulty=found.faulty, max_bad_share=max_bad_share, log=log)
        try:
            if folder.info is None:
                job.run(num_workers)
            info = folder.complete(found.bad)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise _no_room_error(output, error) from error
            raise
        except (NarravidError, KeyboardInterrupt) as stop:
            log.write(f"stopped: {type(stop).__name__} {stop}")
            folder.write_bad_items(found.bad, more=job.bad)
            raise
        num_missing = 0 if info else sum(not folder.is_done(shard) for shard in range(plan.num_shards))
        log.write("complete" if info else f"part {part} is done, {num_missing} shards of others are missing")
        return PackReport(info, job.num_written, job.num_kept, num_missing, job.bad, plan.archive_bytes)


def _check_names(found: FoundVideos) -> None:
    """Names go into tables of text, but a file system takes any bytes."""
    for video in found.videos:
        try:
            str(video.path).encode()
        except UnicodeEncodeError as error:
            raise NarravidError(
                f"the name of {str(video.path)!r} is no UTF-8 text; rename the file"
            ) from error


def _no_room_error(output: Path, error: OSError) -> NarravidError:
    return NarravidError(
        f"{output} cannot be written ({os.strerror(error.errno or 0)}); what is packed is kept: make room and"
        " run the same command again"
    )


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
        log: _Log,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._max_bad_share = max_bad_share
        self._log = log
        self._shards = part.of(plan.num_shards)
        self._num_expected = sum(len(plan.videos_of(shard)) for shard in self._shards)
        self._started = time.monotonic()
        self._seconds_cut = 0.0
        self.num_written = self.num_kept = 0
        self.bad = BadItems()
        self._num_faulty = len(faulty)
        for path, reason in faulty:
            self.bad.add(path, reason)

    def run(self, num_workers: int) -> None:
        """Write the shards, in order."""
        todo = [shard for shard in self._shards if not self._folder.is_done(shard)]
        for row in self._folder.rows(shard for shard in self._shards if shard not in set(todo)):
            self.num_kept += 1
            if row.bad is not None:
                self.bad.add(self._plan.root / row.path, row.bad)
        num_todo = self._num_expected - self.num_kept
        self._log.write(f"packing {num_todo} videos of {len(todo)} shards; {self.num_kept} were done before")
        self._check_share()
        numbers = itertools.chain.from_iterable(self._plan.videos_of(shard) for shard in todo)
        cut = cut_videos(
            (self._plan.videos[number] for number in numbers),
            self._plan.settings,
            num_workers=num_workers,
            folder=self._folder.folder,
        )
        with closing(cut), progress_bar("packing", num_todo, unit="videos") as bar:
            for shard in todo:
                self._write(shard, cut, bar)

    def _write(self, shard: int, cut: Iterator[CutVideo], bar: ProgressBar) -> None:
        numbers = self._plan.videos_of(shard)
        path = self._folder.folder / shard_name(shard)
        rows = write_shard(
            path,
            shard,
            zip(numbers, cut, strict=False),
            root=self._plan.root,
            on_video=lambda video: self._note(video, bar),
        )
        self._folder.finish_shard(shard, rows)
        num_segments = sum(len(row.segments) for row in rows)
        self._log.write(
            f"{path.name}: {len(rows)} videos, {num_segments} segments, {path.stat().st_size} bytes"
        )

    def _note(self, cut: CutVideo, bar: ProgressBar) -> None:
        self.num_written += 1
        self._seconds_cut += 0.0 if cut.bad else cut.duration_seconds
        if cut.bad is not None:
            self.bad.add(cut.video.path, cut.bad)
            self._log.write(f"bad: {cut.video.path}: {cut.bad}")
        rate = self._seconds_cut / max(time.monotonic() - self._started, 1e-9)
        bar.advance(note=f"{rate:.1f} h of video an hour, {len(self.bad)} bad")
        self._check_share()

    def _check_share(self) -> None:
        self.bad.check_share(
            self._num_faulty + self.num_kept + self.num_written,
            num_expected=self._num_faulty + self._num_expected,
            max_share=self._max_bad_share,
        )
