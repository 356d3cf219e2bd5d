"""The families of models that a model folder can hold: an explicit table from name to builder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from narravid.config import from_dict, to_dict
from narravid.errors import CheckpointError
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.text.words import Vocabulary

__all__ = ["FAMILIES", "Family", "family_of"]

VOCABULARY_FILE = "vocabulary.json"


@dataclass(frozen=True)
class Family:
    """How one kind of model is written and built again, its weights apart.

    Attributes:
        model_class: The kind of model.
        describe: The model's configuration as JSON values.
        write_assets: Writes what the model needs besides weights and configuration into a folder.
        build: A model, its weights still to be filled in, from such a configuration and folder.
    """

    model_class: type[S3DDualEncoder]
    describe: Callable[[S3DDualEncoder], dict[str, Any]]
    write_assets: Callable[[S3DDualEncoder, Path], None]
    build: Callable[[Mapping[str, Any], Path], S3DDualEncoder]


def _describe_s3d(model: S3DDualEncoder) -> dict[str, Any]:
    return to_dict(model.config)


def _write_s3d_assets(model: S3DDualEncoder, folder: Path) -> None:
    model.vocabulary.save(folder / VOCABULARY_FILE)


def _build_s3d(config: Mapping[str, Any], folder: Path) -> S3DDualEncoder:
    source = str(folder / "config.json")
    vocabulary = Vocabulary.load(folder / VOCABULARY_FILE)
    try:
        return S3DDualEncoder(from_dict(S3DDualEncoderConfig, config, source=source), vocabulary)
    except ValueError as error:
        raise CheckpointError(folder, str(error)) from error


FAMILIES: dict[str, Family] = {
    "s3d_dual_encoder": Family(S3DDualEncoder, _describe_s3d, _write_s3d_assets, _build_s3d),
}


def family_of(model: S3DDualEncoder) -> tuple[str, Family]:
    """Name and entry of a model's family.

    Raises:
        ValueError: If the model is of no known family.
    """
    for name, family in FAMILIES.items():
        if type(model) is family.model_class:
            return name, family
    known = ", ".join(family.model_class.__name__ for family in FAMILIES.values())
    raise ValueError(f"cannot save a {type(model).__name__} as a model folder; known are: {known}")
