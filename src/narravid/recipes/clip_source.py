"""Where the clips of a run come from: the files each time, or memory that holds all videos."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, Protocol

from narravid.data.sources import ClipSource, FileClips, MemoryClips
from narravid.types import ClipSpec
from narravid.video.watched import WatchedDecoder

__all__ = ["StorageConfig", "open_clip_source"]

GIBIBYTE = 1024**3


class StorageConfig(Protocol):
    """What a configuration of clips says of where they are kept."""

    @property
    def storage(self) -> Literal["files", "memory"]:
        """Decode clips from the files each time, or decode all videos into memory once."""

    @property
    def max_memory_gib(self) -> float:
        """Most memory that the decoded videos may take, in GiB."""


def open_clip_source(
    paths: Iterable[Path], spec: ClipSpec, *, config: StorageConfig, num_workers: int
) -> ClipSource:
    """Where the clips of some videos come from.

    Args:
        paths: The videos.
        spec: Frames, rate, size and crop of the clips.
        config: Where they are kept.
        num_workers: Watched processes that decode, which closing the source ends; 0 decodes in this process.

    Raises:
        ValueError: If the videos do not fit into the memory that they may take.
    """
    decoder = WatchedDecoder(num_workers) if num_workers else None
    if config.storage == "files":
        return FileClips(decoder)
    with decoder or nullcontext():
        return MemoryClips(
            list(paths),
            spec,
            max_bytes=int(config.max_memory_gib * GIBIBYTE),
            num_threads=max(1, num_workers),
            decoder=decoder,
        )
