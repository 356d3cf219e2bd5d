"""What there is to say of a pack, complete or in the making; nothing of its shards is read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from narravid.config import to_dict
from narravid.data.pack_files import LocalFiles, pack_files
from narravid.data.pack_format import (
    FORMAT_VERSION,
    INFO_NAME,
    PLAN_PLACE,
    PackedVideo,
    PackInfo,
    parse_plan,
    rows_place,
    shard_name,
)
from narravid.data.pack_table import read_videos
from narravid.data.packs import read_info

__all__ = ["pack_facts"]

SECONDS_PER_HOUR = 3600
HOW_TO_GO_ON = "run the same `narravid pack` command again, which goes on where it stopped"


def pack_facts(root: str | Path) -> dict[str, Any]:
    """What there is to say of a pack, as JSON values.

    Args:
        root: Its folder, or its address; one in the making is known by its folder only.

    Returns:
        What it holds and how it was made. Of a pack in the making: what is done, and what is missing. Of one
        in a folder also the shards that are not there in full.

    Raises:
        MissingExtraError: If a library for this kind of address is not installed.
        PackError: If there is no pack, what it says is damaged, or it is of another version.
    """
    files = pack_files(root)
    if not isinstance(files, LocalFiles):
        return _facts(read_info(files))
    folder = Path(files.root)
    if not (folder / INFO_NAME).exists() and (plan := files.read(PLAN_PLACE)) is not None:
        return _unfinished_facts(folder, plan)
    info = read_info(files)
    changed = [
        shard_name(shard)
        for shard, num_bytes in enumerate(info.shard_bytes)
        if _size(folder / shard_name(shard)) != num_bytes
    ]
    return {**_facts(info), "shards_not_as_packed": changed}


def _facts(info: PackInfo) -> dict[str, Any]:
    return {
        "is_complete": True,
        "format_version": info.format_version,
        "num_videos": info.num_videos,
        "num_bad_videos": info.num_bad_videos,
        "num_captions": info.num_captions,
        "num_segments": info.num_segments,
        "hours_of_video": _hours(info.video_seconds),
        "hours_held": _hours(info.segment_seconds),
        "num_shards": len(info.shard_bytes),
        "num_bytes": sum(info.shard_bytes),
        "settings": to_dict(info.settings),
        "corpus_sha256": info.corpus_sha256,
    }


def _unfinished_facts(folder: Path, plan: bytes) -> dict[str, Any]:
    """Of a pack in the making: what `narravid pack` would find done."""
    settings, num_videos = parse_plan(plan, str(folder / PLAN_PLACE))
    num_shards = math.ceil(num_videos / settings.videos_per_shard)
    done = [
        shard
        for shard in range(num_shards)
        if (folder / rows_place(shard)).exists() and (folder / shard_name(shard)).exists()
    ]
    num_done = num_bad = num_segments = 0
    video_seconds = held_seconds = 0.0
    for row in _rows(folder, done):
        num_done += 1
        num_bad += row.bad is not None
        video_seconds += row.duration_seconds if row.bad is None else 0.0
        num_segments += len(row.segments)
        held_seconds += sum(part.end_seconds - part.start_seconds for part in row.segments)
    return {
        "is_complete": False,
        "how_to_go_on": HOW_TO_GO_ON,
        "format_version": FORMAT_VERSION,
        "num_shards_done": len(done),
        "num_shards": num_shards,
        "num_videos_done": num_done,
        "num_videos": num_videos,
        "num_bad_videos": num_bad,
        "num_segments": num_segments,
        "hours_of_video": _hours(video_seconds),
        "hours_held": _hours(held_seconds),
        "num_bytes": sum(_size(folder / shard_name(shard)) for shard in done),
        "settings": to_dict(settings),
    }


def _rows(folder: Path, shards: Iterable[int]) -> Iterator[PackedVideo]:
    """Rows of the videos of shards that are done, without captions."""
    for shard in shards:
        table = read_videos(folder / rows_place(shard))
        for index in range(len(table)):
            yield table.row(index, with_captions=False)


def _size(path: Path) -> int:
    """Bytes of a file; -1 if there is none."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return -1


def _hours(seconds: float) -> float:
    return round(seconds / SECONDS_PER_HOUR, 4)
