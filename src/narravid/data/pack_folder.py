"""The folder of a pack in the making: what is done, who works on it, and what makes it complete.

    parts/plan.json            settings and corpus; another plan is refused
    parts/shard-000000.arrow   rows of the videos of a shard; written last, its presence says that it is done
    parts/of-2/part-1/.lock    held by whoever writes the shards of part 1 of 2

The rows become the table of the pack when all shards are done, and `parts` goes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from narravid.bad_items import BAD_ITEMS_NAME, BadItems
from narravid.data.pack_format import (
    INFO_NAME,
    PLAN_PLACE,
    VIDEOS_NAME,
    PackedVideo,
    PackError,
    PackInfo,
    parse_info,
    rows_place,
    shard_name,
    write_info,
)
from narravid.data.pack_plan import PackPart, PackPlan
from narravid.data.pack_table import read_videos, write_videos
from narravid.files import file_sha256, read_json, remove_leftovers, write_json
from narravid.locks import hold_lock

__all__ = ["PackFolder"]


class PackFolder:
    """A pack in the making.

    Args:
        folder: Where it is made.
        plan: What is packed, and how.
    """

    def __init__(self, folder: Path, plan: PackPlan) -> None:
        self.folder = folder
        self._plan = plan
        self._plan_path = folder / PLAN_PLACE
        self._parts = self._plan_path.parent

    @property
    def info(self) -> PackInfo | None:
        """The description of the pack when it is complete."""
        path = self.folder / INFO_NAME
        return parse_info(path.read_bytes(), str(path)) if path.exists() else None

    @contextmanager
    def work_on(self, part: PackPart) -> Iterator[None]:
        """Hold a part of the shards while the block runs; nobody else can write them.

        Raises:
            PackError: If the folder holds something else, or was begun for another corpus or with other
                settings.
            NarravidError: If another program works on the part, or on parts of another division.
            OSError: If nothing can be written there.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise PackError(self.folder, "is a file; a pack needs a folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            with self._locked():
                if self.info is None:
                    self._begin(part)
                    own = self._part_folder(part)
                    own.mkdir(parents=True, exist_ok=True)
                    held.enter_context(
                        hold_lock(own, busy=f"another program packs part {part} of {self.folder}")
                    )
                    self._remove_leftovers(part)
                else:
                    self._plan.check(self._plan.of_pack(self.info), self.folder)
            yield

    def is_done(self, shard: int) -> bool:
        """Whether a shard is there, and its rows."""
        return self._rows_path(shard).exists() and (self.folder / shard_name(shard)).exists()

    def finish_shard(self, shard: int, rows: Iterable[PackedVideo]) -> None:
        """Say that a shard is done, after it was written."""
        write_videos(self._rows_path(shard), rows)

    def rows(self, shards: Iterable[int], *, with_captions: bool = True) -> Iterator[PackedVideo]:
        """Rows of the videos of shards that are done."""
        for shard in shards:
            if self._rows_path(shard).exists():
                table = read_videos(self._rows_path(shard))
                yield from (table.row(index, with_captions=with_captions) for index in range(len(table)))

    def complete(self, corpus_bad: Iterable[tuple[Path, str]]) -> PackInfo | None:
        """Put the pack together if all shards are done, by whomever.

        Args:
            corpus_bad: (path, reason) of videos that are not in the corpus.

        Returns:
            The description; None while shards are missing.
        """
        with self._locked():
            info = self.info
            if info is not None:
                shutil.rmtree(self._parts, ignore_errors=True)
                return info
            remove_leftovers(self.folder, of=(VIDEOS_NAME, BAD_ITEMS_NAME, INFO_NAME))
            if not all(self.is_done(shard) for shard in range(self._plan.num_shards)):
                return None
            tally = _Tally(self._plan.root, corpus_bad)
            table = self.folder / VIDEOS_NAME
            write_videos(table, (tally.add(row) for row in self.rows(range(self._plan.num_shards))))
            tally.bad.write(self.folder / BAD_ITEMS_NAME)
            shards = [self.folder / shard_name(shard) for shard in range(self._plan.num_shards)]
            info = PackInfo(
                settings=self._plan.settings,
                corpus_sha256=self._plan.corpus_sha256,
                videos_sha256=file_sha256(table),
                videos_bytes=table.stat().st_size,
                num_videos=tally.num_videos,
                num_bad_videos=tally.num_bad_videos,
                num_captions=self._plan.num_captions,
                num_segments=tally.num_segments,
                shard_bytes=tuple(shard.stat().st_size for shard in shards),
                video_seconds=tally.video_seconds,
                segment_seconds=tally.segment_seconds,
            )
            write_info(self.folder, info)
            shutil.rmtree(self._parts, ignore_errors=True)
            return info

    def write_bad_items(self, corpus_bad: Iterable[tuple[Path, str]], *, more: BadItems) -> BadItems:
        """Write the table of bad items of a pack that is not complete, as far as they are known.

        Args:
            corpus_bad: (path, reason) of videos that are not in the corpus.
            more: Those of shards that are not done.

        Returns:
            What the table says.
        """
        tally = _Tally(self._plan.root, corpus_bad)
        for row in self.rows(range(self._plan.num_shards), with_captions=False):
            tally.add(row)
        for path, reason in more.reasons.items():
            if path not in tally.bad.reasons:
                tally.bad.add(path, reason)
        with self._locked():
            if self.info is None:
                tally.bad.write(self.folder / BAD_ITEMS_NAME)
        return tally.bad

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder for a moment; others wait."""
        with hold_lock(self.folder, busy=f"{self.folder} is in use", on_wait=lambda: None):
            yield

    def _begin(self, part: PackPart) -> None:
        if self._plan_path.exists():
            self._plan.check(read_json(self._plan_path), self.folder)
        else:
            there = (*self.folder.iterdir(), *self._parts.glob("*"))
            strangers = [path for path in there if not path.name.startswith(".") and path != self._parts]
            if strangers:
                stranger = min(strangers).relative_to(self.folder)
                raise PackError(
                    self.folder, f"is not empty and holds no pack ({stranger}); choose another folder"
                )
            remove_leftovers(self._parts)
            write_json(self._plan_path, self._plan.to_json())
        for other in sorted(self._parts.glob("of-*/part-*")):
            if other.parent != self._part_folder(part).parent:
                busy = f"another program packs {other.name} {other.parent.name} of {self.folder}"
                with hold_lock(other, busy=f"{busy}; a pack can be divided in one way at a time"):
                    pass

    def _remove_leftovers(self, part: PackPart) -> None:
        """What killed runs left half written among the shards of a part."""
        shards = part.of(self._plan.num_shards)
        remove_leftovers(self.folder, of={shard_name(shard) for shard in shards})
        remove_leftovers(self._parts, of={self._rows_path(shard).name for shard in shards})

    def _part_folder(self, part: PackPart) -> Path:
        return self._parts / f"of-{part.count}" / f"part-{part.number}"

    def _rows_path(self, shard: int) -> Path:
        return self.folder / rows_place(shard)


class _Tally:
    """Counts the rows of a pack and gathers its bad items."""

    def __init__(self, root: Path, corpus_bad: Iterable[tuple[Path, str]]) -> None:
        self._root = root
        self.bad = BadItems()
        for path, reason in corpus_bad:
            self.bad.add(path, reason)
        self.num_videos = self.num_bad_videos = self.num_segments = 0
        self.video_seconds = self.segment_seconds = 0.0

    def add(self, row: PackedVideo) -> PackedVideo:
        """Count a row, and hand it on."""
        self.num_videos += 1
        self.num_segments += len(row.segments)
        self.segment_seconds += sum(part.end_seconds - part.start_seconds for part in row.segments)
        if row.bad is None:
            self.video_seconds += row.duration_seconds
        else:
            self.num_bad_videos += 1
            self.bad.add(self._root / row.path, row.bad)
        return row
