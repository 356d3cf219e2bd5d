"""The published ResNeXt-101 of HowTo100M's motion features: a flat file, its Kinetics classifier included."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from narravid.errors import CheckpointError
from narravid.models.checkpoints_files import PublishedFamily, PublishedFile
from narravid.models.checkpoints_resnet3d import (
    blocks_per_layer,
    fill_classifier,
    num_classes_of,
    shortcut_of,
    stem_of,
)
from narravid.models.resnext3d import ResNeXt3DConfig
from narravid.models.video_classifier import ResNeXtExtractor, ResNeXtExtractorConfig

__all__ = ["RESNEXT_FAMILY"]

STEM_FRAMES = 7
GROUPED_KEY = "layer1.0.conv2.weight"


def _recognises(tensors: Mapping[str, torch.Tensor]) -> bool:
    stem = stem_of(tensors)
    return stem is not None and stem[1] == STEM_FRAMES and GROUPED_KEY in tensors


def _build(file: PublishedFile) -> ResNeXtExtractor:
    """The extractor of a file; number of blocks, groups and classes are read off its keys and shapes."""
    grouped = tuple(file.tensors[GROUPED_KEY].shape)
    if len(grouped) != 5 or grouped[0] % grouped[1]:
        raise CheckpointError(file.path, f"{GROUPED_KEY} is {grouped}, expected (128, 4, 3, 3, 3)")
    try:
        video = ResNeXt3DConfig(
            num_blocks=blocks_per_layer(file.tensors),
            num_groups=grouped[0] // grouped[1],
            stem_channels=file.tensors["conv1.weight"].shape[0],
            shortcut=shortcut_of(file.tensors),
        )
    except ValueError as error:
        raise CheckpointError(file.path, f"no ResNeXt has these layers: {error}") from error
    config = ResNeXtExtractorConfig(video=video, num_classes=num_classes_of(file))
    with torch.device("meta"):  # no time spent on initial values that are replaced at once
        model = ResNeXtExtractor(config)
    fill_classifier(model, file)
    return model.eval()


RESNEXT_FAMILY = PublishedFamily("3-D ResNeXt feature extractor of HowTo100M", _recognises, _build)
