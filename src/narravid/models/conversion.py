"""Published checkpoint in, model folder out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from narravid.files import file_sha256
from narravid.models.checkpoints import family_of_file
from narravid.models.checkpoints_files import open_published
from narravid.models.hub import Source, load, save_model
from narravid.protocols import Model

__all__ = ["Converted", "convert_published"]


@dataclass(frozen=True)
class Converted:
    """What a conversion found.

    Attributes:
        model: The model, opened from its new folder.
        source: The file that it came from.
    """

    model: Model
    source: Source


def convert_published(path: Path, folder: Path, *, vocabulary_path: Path | None = None) -> Converted:
    """Write the model of a published checkpoint as a model folder, and open that, which checks its hash.

    Args:
        path: The checkpoint file.
        folder: The folder to make; a model folder that is there is replaced.
        vocabulary_path: Its word list or tokenizer file; by default the published one in the same folder.

    Returns:
        The model, and what its file is.

    Raises:
        CheckpointError: If the file is unreadable, refused, of no known family, incomplete or without its
            word list.
        AnnotationError: If the word list is unreadable.
        ValueError: If other files are in the way of the folder, or the file lies in it.
    """
    if folder.resolve() in path.resolve().parents:
        raise ValueError(f"{path} lies in {folder}; the model needs a folder of its own")
    file = open_published(path, vocabulary_path)
    family = family_of_file(file)
    built: Any = family.build(file)  # every family builds a module that is a Model
    model: Model = built
    source = Source(path.name, path.stat().st_size, file_sha256(path), family.name)
    save_model(model, folder, source=source)
    return Converted(load(folder), source)
