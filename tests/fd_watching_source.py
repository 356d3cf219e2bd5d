"""A clip source that refuses to work in a process that holds a video file open; importable by workers."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from narravid.data.sources import FileClips
from narravid.types import Clip, ClipSpec


def open_videos() -> list[str]:
    """Video files that this process has open (Linux)."""
    targets = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            targets.append(os.readlink(descriptor))
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return [target for target in targets if target.endswith(".mp4")]


class FdWatchingClips(FileClips):
    """Reads from files, if no other reader in this process has one open."""

    def read(
        self, path: Path, start_seconds: float, spec: ClipSpec, *, generator: torch.Generator | None = None
    ) -> Clip:
        held = open_videos()
        if held:
            raise RuntimeError(f"process {os.getpid()} holds {held}")
        return super().read(path, start_seconds, spec, generator=generator)
