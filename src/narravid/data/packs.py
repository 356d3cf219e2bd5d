"""Opening packs: what they hold, in a folder or at an address."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from narravid.data.corpus import NarratedVideo
from narravid.data.pack_files import LocalFiles, PackFiles, is_address, pack_files
from narravid.data.pack_format import INFO_NAME, PLAN_PLACE, VIDEOS_NAME, PackError, PackInfo, parse_info
from narravid.data.pack_table import PackedVideos, read_videos
from narravid.files import remove_leftovers, write_atomically
from narravid.locks import hold_lock
from narravid.models.cache import default_cache
from narravid.progress import progress_bar
from narravid.text.captions import CaptionTrack

__all__ = ["Pack", "PackVideos", "is_pack", "open_pack", "read_info"]

TABLE_PART_BYTES = 16 * 2**20
BYTES_PER_MB = 1_000_000

_log = logging.getLogger(__name__)


class PackVideos(Sequence[NarratedVideo]):
    """The narrated videos of a pack, each made when asked for; its path is that below the archive's root.

    Args:
        pack: The pack.
    """

    def __init__(self, pack: Pack) -> None:
        self.pack = pack

    def __len__(self) -> int:
        return len(self.pack.rows)

    @overload
    def __getitem__(self, index: int) -> NarratedVideo: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[NarratedVideo]: ...

    def __getitem__(self, index: int | slice) -> NarratedVideo | Sequence[NarratedVideo]:
        """The video, or the videos, with captions."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        row = self.pack.rows[index]
        return NarratedVideo(Path(row.path), CaptionTrack(row.captions), row.video_id)


@dataclass(frozen=True)
class Pack:
    """An opened pack.

    Attributes:
        root: The folder or address that was opened.
        info: What it says of itself.
        rows: Its table.
        files: Where its shards are read from.
    """

    root: str
    info: PackInfo
    rows: PackedVideos
    files: PackFiles

    @property
    def videos(self) -> PackVideos:
        """Its narrated videos in the order of the corpus; with the bad ones, to draw as from files."""
        return PackVideos(self)


def is_pack(root: str | Path) -> bool:
    """Whether this is meant as a pack, complete or not: any address, or a folder with what packs have."""
    if is_address(str(root)):
        return True
    return any((Path(root) / name).exists() for name in (INFO_NAME, VIDEOS_NAME, PLAN_PLACE))


def open_pack(root: str | Path) -> Pack:
    """Open a pack; nothing of its shards is read.

    Args:
        root: Its folder, or its address: `file://`, `http(s)://`, or what fsspec knows (`s3://`, `gs://`).
            The table of a pack at an address is copied to the cache of this machine once.

    Raises:
        MissingExtraError: If a library for this kind of address is not installed.
        PackError: If there is no complete pack, it is damaged, or of another version.
    """
    files = pack_files(root)
    info = read_info(files)
    is_local = isinstance(files, LocalFiles)
    table = Path(files.place(VIDEOS_NAME)) if is_local else _copied_table(files, info)
    rows = read_videos(table)
    if len(rows) != info.num_videos or table.stat().st_size != info.videos_bytes:
        raise PackError(
            files.place(VIDEOS_NAME),
            f"has {len(rows)} videos in {table.stat().st_size:,} bytes, and {INFO_NAME} says"
            f" {info.num_videos} in {info.videos_bytes:,}: they are of different packs; copy the pack again",
        )
    return Pack(str(root), info, rows, files)


def read_info(files: PackFiles) -> PackInfo:
    """What a pack says of itself.

    Raises:
        PackError: If there is no complete pack, it is damaged, or of another version.
    """
    content = files.read(INFO_NAME)
    if content is None:
        raise PackError(
            files.root,
            f"there is no {INFO_NAME}, so this is no pack or one that is not complete; finish it with the"
            " same `narravid pack ...` command, which goes on where it stopped, or copy all of its files",
        )
    return parse_info(content, files.place(INFO_NAME))


def _copied_table(files: PackFiles, info: PackInfo) -> Path:
    """The table of a pack at an address, copied to this machine's cache unless it is there."""
    folder = default_cache() / "packs" / info.videos_sha256
    path = folder / VIDEOS_NAME
    if _is_whole(path, info):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    waiting = f"another process copies {files.place(VIDEOS_NAME)} to {folder}"
    with hold_lock(folder, busy=waiting, on_wait=lambda: _log.info(waiting)):
        if not _is_whole(path, info):
            remove_leftovers(folder)
            write_atomically(path, lambda temporary: _copy_table(files, info, temporary))
    return path


def _is_whole(path: Path, info: PackInfo) -> bool:
    """Whether the copy is there, with all that it had."""
    return path.is_file() and path.stat().st_size == info.videos_bytes


def _copy_table(files: PackFiles, info: PackInfo, target: Path) -> None:
    digest = hashlib.sha256()
    with (
        target.open("wb") as file,
        progress_bar("copying the table of the pack", info.videos_bytes / BYTES_PER_MB, unit="MB") as bar,
    ):
        for start in range(0, info.videos_bytes, TABLE_PART_BYTES):
            part = files.read_part(VIDEOS_NAME, start, min(TABLE_PART_BYTES, info.videos_bytes - start))
            digest.update(part)
            file.write(part)
            bar.advance(len(part) / BYTES_PER_MB)
    if digest.hexdigest() != info.videos_sha256:
        raise PackError(
            files.place(VIDEOS_NAME),
            f"is not the table that {INFO_NAME} describes (its SHA-256 is {digest.hexdigest()}); if the pack"
            " is being replaced, open it when that is done, else copy it again",
        )
