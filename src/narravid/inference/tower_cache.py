"""Converted towers, kept in Narravid's cache folder, since a conversion takes up to a minute."""

from __future__ import annotations

from pathlib import Path

import torch

from narravid.errors import NarravidError
from narravid.files import replace_folder
from narravid.locks import hold_lock
from narravid.models.cache import default_cache
from narravid.models.tower_files import write_tower
from narravid.models.towers import video_tower

__all__ = ["converted_video_tower"]

FOLDER = "towers"
FORM_VERSION = 1
"""Goes up when towers are written in another way, so that no older file is taken for a new one."""


def converted_video_tower(model: object, weights_hash: str, *, size: tuple[int, int, int]) -> Path:
    """The ONNX file of a model's video tower; written unless it is in the cache.

    The file is named by the weights, the size of the clips and the release of PyTorch that wrote it.

    Args:
        model: The model.
        weights_hash: Its hash.
        size: Frames, height and width of the clips.

    Returns:
        The file; it may be deleted at any time when nobody uses it.

    Raises:
        NarravidError: If a model of this kind cannot be converted, or the cache cannot be written.
        MissingExtraError: If a library that is needed is not installed.
    """
    frames, height, width = size
    release = torch.__version__.replace("+", "-")
    name = f"{weights_hash}-{frames}x{height}x{width}-{release}-v{FORM_VERSION}"
    folder = default_cache() / FOLDER / name
    path = folder / "video.onnx"
    if path.is_file():
        return path
    tower = video_tower(model, size=size)

    def write(fresh: Path) -> None:
        write_tower(tower, fresh, export_format="onnx")

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with hold_lock(folder.parent, busy="", on_wait=lambda: None):
            if not path.is_file():  # else another process wrote it meanwhile
                replace_folder(folder, write)
    except OSError as error:
        raise NarravidError(f"cannot keep the converted network in {folder}: {error}") from error
    return path
