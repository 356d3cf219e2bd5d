"""The families of models that a model folder can hold: an explicit table from name to kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from narravid.config import from_dict
from narravid.errors import CheckpointError
from narravid.models.aligner import TemporalAligner
from narravid.models.aligner_config import TemporalAlignerConfig
from narravid.models.cpd import CPDConfig, CPDDualEncoder
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.gated_embedding import GatedDualEncoder, GatedDualEncoderConfig
from narravid.models.resnet2d import ResNet2DConfig, ResNet2DExtractor
from narravid.models.s3d_classifier import S3DClassifier, S3DClassifierConfig
from narravid.models.viclip import ViCLIP, ViCLIPConfig
from narravid.models.video_classifier import (
    CPDClassifier,
    CPDClassifierConfig,
    ResNeXtExtractor,
    ResNeXtExtractorConfig,
)
from narravid.text.byte_pairs import MERGES_FILE, BytePairTokenizer
from narravid.text.word_pieces import PIECES_FILE, WordPieces
from narravid.text.words import VOCABULARY_FILE, Vocabulary

__all__ = ["FAMILIES", "Family", "family_of"]


@dataclass(frozen=True)
class Family:
    """How one kind of model is built again from its folder, its weights apart.

    Attributes:
        model_class: The kind of model, a `Model`; made from its configuration and, if it has any, its assets.
        config_class: The frozen dataclass of its configuration.
        read_assets: Reads what `write_assets` wrote into a folder; None for a kind without assets.
    """

    model_class: Callable[..., nn.Module]
    config_class: type[Any]
    read_assets: Callable[[Path], Any] | None = None

    def build(self, config: Mapping[str, Any], folder: Path) -> nn.Module:
        """A model whose weights are still to be filled in.

        Args:
            config: Its configuration as JSON values.
            folder: Where its assets are; named in errors.

        Returns:
            The model.

        Raises:
            CheckpointError: If configuration and assets contradict each other.
            ConfigError: If the configuration has unknown or wrong entries.
            AnnotationError: If an asset is unreadable.
        """
        assets = () if self.read_assets is None else (self.read_assets(folder),)
        try:
            return self.model_class(
                from_dict(self.config_class, config, source=str(folder / "config.json")), *assets
            )
        except (ValueError, RuntimeError) as error:  # sizes that contradict each other, or overflow
            raise CheckpointError(folder, str(error)) from error


def _read_vocabulary(folder: Path) -> Vocabulary:
    return Vocabulary.load(folder / VOCABULARY_FILE)


def _read_pieces(folder: Path) -> WordPieces:
    return WordPieces.load(folder / PIECES_FILE)


def _read_vocabulary_if_any(folder: Path) -> Vocabulary | None:
    return _read_vocabulary(folder) if (folder / VOCABULARY_FILE).is_file() else None


def _read_byte_pairs(folder: Path) -> BytePairTokenizer:
    return BytePairTokenizer.load(folder / MERGES_FILE)


FAMILIES: dict[str, Family] = {
    "s3d_dual_encoder": Family(S3DDualEncoder, S3DDualEncoderConfig, _read_vocabulary),
    "gated_dual_encoder": Family(GatedDualEncoder, GatedDualEncoderConfig, _read_vocabulary_if_any),
    "cpd_dual_encoder": Family(CPDDualEncoder, CPDConfig, _read_pieces),
    "cpd_classifier": Family(CPDClassifier, CPDClassifierConfig),
    "s3d_classifier": Family(S3DClassifier, S3DClassifierConfig),
    "resnet2d_extractor": Family(ResNet2DExtractor, ResNet2DConfig),
    "resnext_extractor": Family(ResNeXtExtractor, ResNeXtExtractorConfig),
    "viclip": Family(ViCLIP, ViCLIPConfig, _read_byte_pairs),
    "temporal_aligner": Family(TemporalAligner, TemporalAlignerConfig, _read_vocabulary),
}


def family_of(model: object) -> tuple[str, Family]:
    """Name and entry of a model's family.

    Raises:
        ValueError: If the model is of no known family.
    """
    for name, family in FAMILIES.items():
        if type(model) is family.model_class:
            return name, family
    known = ", ".join(FAMILIES)
    raise ValueError(f"cannot save a {type(model).__name__} as a model folder; known families are: {known}")
