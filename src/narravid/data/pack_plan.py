"""What a pack is to be, and whether one in the making is to be the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from narravid.config import to_dict
from narravid.data.corpus import NarratedVideo
from narravid.data.fingerprint import CorpusFingerprint
from narravid.data.pack_format import FORMAT_VERSION, PackError, PackInfo, PackSettings

__all__ = ["PackPart", "PackPlan"]

SIZES = ("num_videos", "num_captions", "archive_bytes")
FINGERPRINTS = ("corpus_sha256", "files_sha256")
EXPLANATIONS = {
    "num_videos": " (videos with captions)",
    "archive_bytes": " (size of the video files)",
    "corpus_sha256": " (names and captions of the videos)",
    "files_sha256": " (paths and sizes of the video files)",
}


@dataclass(frozen=True, slots=True)
class PackPart:
    """Which part of the shards a run writes, so that several machines can share the work.

    Attributes:
        number: From 1 on.
        count: How many parts there are.

    Raises:
        ValueError: If there is no such part.
    """

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"part must be I/N with 1 <= I <= N, got {self.number}/{self.count}")

    def of(self, num_items: int) -> range:
        """Its share of so many items; the shares of all parts make up the whole."""
        return range(
            (self.number - 1) * num_items // self.count,
            self.number * num_items // self.count,
        )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


class PackPlan:
    """The videos of a pack and how they are cut.

    Args:
        root: The folder of the archive.
        videos: Its videos, all below it.
        settings: How they are cut.

    Attributes:
        archive_bytes: Size of all video files together, as far as they can be seen.
        corpus_sha256: Fingerprint of ids and captions.
        num_captions: Captions of all videos.
        num_shards: How many shards there will be.
    """

    def __init__(self, root: Path, videos: Sequence[NarratedVideo], settings: PackSettings) -> None:
        self.root = root
        self.videos = videos
        self.settings = settings
        self.num_shards = math.ceil(len(videos) / settings.videos_per_shard)
        self.archive_bytes = 0
        corpus, files = CorpusFingerprint(), CorpusFingerprint()
        for video in videos:
            size = _size(video.path)
            self.archive_bytes += size
            corpus.add(video.video_id, video.track)
            files.add(f"{size} {video.path.relative_to(root).as_posix()}", ())
        self.corpus_sha256 = corpus.sha256
        self.num_captions = corpus.num_captions
        self._files_sha256 = files.sha256

    def videos_of(self, shard: int) -> range:
        """Numbers of the videos of a shard."""
        first = shard * self.settings.videos_per_shard
        return range(first, min(first + self.settings.videos_per_shard, len(self.videos)))

    def to_json(self) -> dict[str, Any]:
        """What another plan is compared by."""
        return {
            "format_version": FORMAT_VERSION,
            "settings": to_dict(self.settings),
            "num_videos": len(self.videos),
            "num_captions": self.num_captions,
            "archive_bytes": self.archive_bytes,
            "corpus_sha256": self.corpus_sha256,
            "files_sha256": self._files_sha256,
        }

    def of_pack(self, info: PackInfo) -> dict[str, Any]:
        """The plan of a complete pack, which does not say what files it was made from."""
        return {
            **self.to_json(),
            "settings": to_dict(info.settings),
            "num_videos": info.num_videos,
            "num_captions": info.num_captions,
            "corpus_sha256": info.corpus_sha256,
        }

    def check(self, begun: Mapping[str, Any], folder: Path) -> None:
        """Refuse to go on with what was begun by another plan.

        Args:
            begun: The other plan.
            folder: Where it was begun; named in errors.

        Raises:
            PackError: If the plans differ; names what differs, as it was and as it is.
        """
        plan = self.to_json()
        differences = [
            *_differences(("format_version",), begun, plan),
            *_differences(plan["settings"], begun.get("settings", {}), plan["settings"]),
            *(_differences(SIZES, begun, plan) or _differences(FINGERPRINTS, begun, plan)),
        ]
        if differences:
            raise PackError(
                folder,
                f"was begun otherwise: {'; '.join(differences)}. Pack as before, or into another folder",
            )


def _differences(names: Iterable[str], theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}{EXPLANATIONS.get(name, '')} was {theirs.get(name)} and is {ours[name]}"
        for name in names
        if theirs.get(name) != ours[name]
    ]


def _size(path: Path) -> int:
    """Bytes of a file; 0 of one that cannot be seen, which is found to be bad when its turn comes."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
