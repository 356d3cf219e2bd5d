"""The folder of an index: what `index.json` says, and who may write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from narravid.bad_items import BAD_ITEMS_NAME
from narravid.config import from_dict, to_dict
from narravid.files import read_json, write_json
from narravid.locks import hold_lock
from narravid.types import Similarity

__all__ = [
    "IndexInfo",
    "has_info",
    "model_place",
    "read_info",
    "refuse_foreign_files",
    "write_info",
    "write_lock",
]

INFO_NAME = "index.json"
TABLE_FOLDER = "clips.lance"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class IndexInfo:
    """What `index.json` says.

    Attributes:
        model_path: Where the model was loaded from, absolute when it is a place on disk.
        weights_hash: Hash of its configuration and weights.
        embed_dim: Length of the vectors.
        similarity: How the model compares vectors.
        clip_seconds: Length of a window.
        stride_seconds: From the start of one window to the next.
        format_version: Version of this layout.
    """

    model_path: str
    weights_hash: str
    embed_dim: int
    similarity: Similarity
    clip_seconds: float
    stride_seconds: float
    format_version: int = FORMAT_VERSION


def has_info(folder: Path) -> bool:
    """Whether the folder is a complete index."""
    return (folder / INFO_NAME).is_file()


def read_info(folder: Path) -> IndexInfo:
    """What the index in `folder` says of itself.

    Raises:
        ValueError: If the folder is no index or of another layout.
        ConfigError: If a field is missing or wrong.
    """
    path = folder / INFO_NAME
    if not path.is_file():
        raise ValueError(f"{folder} is not an index (no {INFO_NAME}); make one with `narravid index`")
    data = read_json(path)
    version = data.get("format_version") if isinstance(data, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path}: format_version is {version!r}, this Narravid reads {FORMAT_VERSION}; "
            "index the videos again"
        )
    return from_dict(IndexInfo, data, source=str(path))


def write_info(folder: Path, info: IndexInfo) -> None:
    """Write `index.json`, atomically."""
    write_json(folder / INFO_NAME, to_dict(info))


def refuse_foreign_files(folder: Path) -> None:
    """Make sure that a folder which is to become an index holds nothing but what a killed attempt left.

    Raises:
        ValueError: If there is anything else in it.
    """
    ours = (TABLE_FOLDER, BAD_ITEMS_NAME)
    foreign = [name for name in sorted(os.listdir(folder)) if name not in ours and not name.startswith(".")]
    if foreign:
        raise ValueError(
            f"{folder} is not empty (it holds {foreign[0]!r}); give the index a folder of its own"
        )


def model_place(model_path: str | Path) -> str:
    """A path on disk made absolute; a published name stays as it is."""
    path = os.path.expanduser(model_path)
    return os.path.abspath(path) if os.path.exists(path) else str(model_path)


@contextmanager
def write_lock(folder: Path) -> Iterator[None]:
    """One writer at a time; the operating system frees the lock of a process that dies.

    Raises:
        NarravidError: If another process holds it.
    """
    with hold_lock(
        folder, busy=f"another process is writing to the index {folder}; try again when it is done"
    ):
        yield
