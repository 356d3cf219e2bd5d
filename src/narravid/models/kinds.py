"""Opening a model of the kind that a task needs; another kind is told by name, with what would do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from narravid.errors import CheckpointError
from narravid.models.hub import load
from narravid.protocols import Aligner, FeatureDualEncoder, FeatureExtractor, PixelDualEncoder
from narravid.types import ClipSpec

__all__ = [
    "as_aligner",
    "as_feature_dual_encoder",
    "as_feature_extractor",
    "as_pixel_dual_encoder",
    "load_aligner",
    "load_feature_dual_encoder",
    "load_feature_extractor",
    "load_pixel_dual_encoder",
    "normalised_as",
]

PIXEL_DUAL_ENCODER = "a pixel dual encoder (it compares clips with sentences), such as S3D, CPD or ViCLIP"
FEATURE_DUAL_ENCODER = (
    "a feature dual encoder (it compares extracted features with sentences), such as HowTo100M"
)
FEATURE_EXTRACTOR = (
    "a feature extractor (it turns clips into features), such as S3D, ResNet-152 or ResNeXt-101"
)
ALIGNER = "an aligner (it finds the seconds of a long video that belong to a sentence), such as TAN"


def as_pixel_dual_encoder(model: object, name: str | Path) -> PixelDualEncoder:
    """A model that is there already, as one that compares clips with sentences.

    Args:
        model: The model.
        name: What the user calls it, for the error.

    Returns:
        The same object.

    Raises:
        CheckpointError: If the model is of another kind; says which is needed.
    """
    if not isinstance(model, PixelDualEncoder):
        raise _wrong_kind(name, model, PIXEL_DUAL_ENCODER)
    return model


def as_feature_dual_encoder(model: object, name: str | Path) -> FeatureDualEncoder:
    """A model as one that compares extracted features with sentences; as `as_pixel_dual_encoder`."""
    if not isinstance(model, FeatureDualEncoder):
        raise _wrong_kind(name, model, FEATURE_DUAL_ENCODER)
    return model


def as_feature_extractor(model: object, name: str | Path) -> FeatureExtractor:
    """A model as one that turns clips into features; as `as_pixel_dual_encoder`."""
    if not isinstance(model, FeatureExtractor):
        raise _wrong_kind(name, model, FEATURE_EXTRACTOR)
    return model


def as_aligner(model: object, name: str | Path) -> Aligner:
    """A model as one that aligns long videos with sentences; as `as_pixel_dual_encoder`."""
    if not isinstance(model, Aligner):
        raise _wrong_kind(name, model, ALIGNER)
    return model


def load_pixel_dual_encoder(
    name_or_path: str | Path, *, device: torch.device | str = "cpu"
) -> PixelDualEncoder:
    """Open a model that compares clips with sentences.

    Args:
        name_or_path: As for `hub.load`.
        device: Where to put the weights.

    Returns:
        The model in evaluation mode.

    Raises:
        CheckpointError: As `hub.load`, or if the model is of another kind; says which is needed.
    """
    return as_pixel_dual_encoder(load(name_or_path, device=device), name_or_path)


def load_feature_dual_encoder(
    name_or_path: str | Path, *, device: torch.device | str = "cpu"
) -> FeatureDualEncoder:
    """Open a model that compares extracted features with sentences; as `load_pixel_dual_encoder`."""
    return as_feature_dual_encoder(load(name_or_path, device=device), name_or_path)


def load_feature_extractor(
    name_or_path: str | Path, *, device: torch.device | str = "cpu"
) -> FeatureExtractor:
    """Open a model that turns clips into features; as `load_pixel_dual_encoder`."""
    return as_feature_extractor(load(name_or_path, device=device), name_or_path)


def load_aligner(name_or_path: str | Path, *, device: torch.device | str = "cpu") -> Aligner:
    """Open a model that aligns long videos with sentences; as `load_pixel_dual_encoder`."""
    return as_aligner(load(name_or_path, device=device), name_or_path)


def _wrong_kind(name_or_path: str | Path, model: object, needed: str) -> CheckpointError:
    return CheckpointError(name_or_path, f"a {type(model).__name__} does not do here; this needs {needed}")


def normalised_as(model: object, spec: ClipSpec) -> ClipSpec:
    """The frames, rate and size of a specification, picked and normalised as a model does it."""
    own: ClipSpec | None = getattr(model, "clip_spec", None)
    return spec if own is None else replace(spec, mean=own.mean, std=own.std, frame_rule=own.frame_rule)
