"""What published 3-D ResNets share: block counts read off their keys, the names of a classifier's parts."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from narravid.errors import CheckpointError
from narravid.models.checkpoints_files import PublishedFile, load_tensors_strictly, with_batch_counts
from narravid.models.resnet3d_layers import Shortcut
from narravid.models.video_classifier import VideoClassifier

__all__ = [
    "STEM_KEY",
    "blocks_per_layer",
    "fill_classifier",
    "num_classes_of",
    "published_classifier_state_dict",
    "shortcut_of",
    "stem_of",
]

STEM_KEY = "conv1.weight"
CLASSIFIER_KEY = "fc.weight"
CLASSIFIER_KEYS = {"video.": "", "classifier.": "fc."}
"""Start of a classifier's key here -> start of the published key."""

_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.")


def stem_of(tensors: Mapping[str, torch.Tensor], prefix: str = "") -> tuple[int, int] | None:
    """Output channels and frames of a 3-D ResNet's stem; None where keys or shapes are of no 3-D ResNet."""
    stem, first = tensors.get(f"{prefix}{STEM_KEY}"), tensors.get(f"{prefix}layer1.0.conv1.weight")
    if stem is None or first is None or not stem.ndim == first.ndim == 5:
        return None
    return stem.shape[0], stem.shape[2]


def blocks_per_layer(tensors: Mapping[str, torch.Tensor], prefix: str = "") -> tuple[int, int, int, int]:
    """How many blocks each of the four layers has; 0 where there is none."""
    found = [_BLOCK.match(key.removeprefix(prefix)) for key in tensors if key.startswith(prefix)]
    blocks = {match.groups() for match in found if match}
    first, second, third, fourth = (sum(layer == number for layer, _ in blocks) for number in "1234")
    return first, second, third, fourth


def shortcut_of(tensors: Mapping[str, torch.Tensor], prefix: str = "") -> Shortcut:
    """B where blocks have a convolution as shortcut, else A."""
    return "B" if f"{prefix}layer2.0.downsample.0.weight" in tensors else "A"


def num_classes_of(file: PublishedFile) -> int:
    """Rows of the classifier.

    Raises:
        CheckpointError: If there is none.
    """
    weight = file.tensors.get(CLASSIFIER_KEY)
    if weight is None:
        raise CheckpointError(file.path, "the network has no classifier", missing=[CLASSIFIER_KEY])
    if weight.ndim != 2:
        raise CheckpointError(file.path, f"{CLASSIFIER_KEY} is {tuple(weight.shape)}, expected a matrix")
    return weight.shape[0]


def fill_classifier(model: VideoClassifier, file: PublishedFile) -> None:
    """Put the tensors of a file in place of a classifier's own; an old one may lack the counts of batches.

    Raises:
        CheckpointError: If they do not fit.
    """
    names = {_published(key): key for key in model.state_dict()}
    load_tensors_strictly(model, with_batch_counts(file.tensors, names), path=file.path, names=names)


def published_classifier_state_dict(model: VideoClassifier) -> dict[str, torch.Tensor]:
    """A classifier's tensors under their published names and in the published order, without prefix."""
    return {_published(key): tensor for key, tensor in model.state_dict().items()}


def _published(key: str) -> str:
    start = next(start for start in CLASSIFIER_KEYS if key.startswith(start))
    return CLASSIFIER_KEYS[start] + key.removeprefix(start)
