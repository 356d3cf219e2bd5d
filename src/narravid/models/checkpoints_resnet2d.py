"""Published ResNets on frames, as torchvision writes them: flat, the ImageNet classifier included.

HowTo100M's features were made with its first ResNet-152, `resnet152-b121ed2d.pth`, which is older than the
counts of batches in batch normalisation and lacks them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from narravid.errors import CheckpointError
from narravid.models.checkpoints_files import (
    PublishedFamily,
    PublishedFile,
    load_tensors_strictly,
    with_batch_counts,
)
from narravid.models.checkpoints_resnet3d import blocks_per_layer
from narravid.models.resnet2d import ResNet2DConfig, ResNet2DExtractor

__all__ = ["RESNET2D_FAMILY", "published_resnet2d_state_dict"]

NORM_PARTS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

STEM_KEY, FIRST_BLOCK_KEY, CLASSIFIER_KEY = "conv1.weight", "layer1.0.conv3.weight", "fc.weight"
LAYER_KEYS = tuple(f"layer{number}.0.conv3.weight" for number in range(1, 5))


def _recognises(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Bottlenecks of 2-D convolutions; the extractors in 3-D share the keys and have one axis more."""
    stem, block = tensors.get(STEM_KEY), tensors.get(FIRST_BLOCK_KEY)
    return stem is not None and block is not None and stem.ndim == block.ndim == 4


def _build(file: PublishedFile) -> ResNet2DExtractor:
    """The extractor of a file; blocks, channels and classes are read off its keys and shapes."""
    sizes = (STEM_KEY, *LAYER_KEYS, CLASSIFIER_KEY)
    missing = [key for key in sizes if key not in file.tensors]
    if missing:
        raise CheckpointError(file.path, "parts of the network are not there", missing=missing)
    stem, first, second, third, fourth, classes = (_num_rows(file.tensors[key]) for key in sizes)
    try:
        config = ResNet2DConfig(
            num_blocks=blocks_per_layer(file.tensors),
            layer_dims=(first, second, third, fourth),
            stem_dim=stem,
            num_classes=classes,
        )
    except ValueError as error:
        raise CheckpointError(file.path, f"no ResNet has these layers: {error}") from error
    with torch.device("meta"):  # no time spent on initial values that are replaced at once
        model = ResNet2DExtractor(config)
    names = _names(model)
    load_tensors_strictly(model, with_batch_counts(file.tensors, names), path=file.path, names=names)
    return model.eval()


RESNET2D_FAMILY = PublishedFamily("2-D ResNet feature extractor of HowTo100M", _recognises, _build)


def published_resnet2d_state_dict(model: ResNet2DExtractor) -> dict[str, torch.Tensor]:
    """The model's tensors under torchvision's names and in its order."""
    tensors = model.state_dict()
    return {key: tensors[name] for key, name in _names(model).items()}


def _num_rows(tensor: torch.Tensor) -> int:
    return tensor.shape[0] if tensor.ndim else 0


def _names(model: ResNet2DExtractor) -> dict[str, str]:
    """Key of torchvision -> key here, in the order of torchvision."""
    ours = model.state_dict().keys()
    modules = {"conv1": "embedder.embedder.convolution", "bn1": "embedder.embedder.normalization"}
    for layer, num_blocks in enumerate(model.config.num_blocks):
        for block in range(num_blocks):
            published, own = f"layer{layer + 1}.{block}", f"encoder.stages.{layer}.layers.{block}"
            for part in range(3):
                modules[f"{published}.conv{part + 1}"] = f"{own}.layer.{part}.convolution"
                modules[f"{published}.bn{part + 1}"] = f"{own}.layer.{part}.normalization"
            modules[f"{published}.downsample.0"] = f"{own}.shortcut.convolution"
            modules[f"{published}.downsample.1"] = f"{own}.shortcut.normalization"
    names = {
        f"{published}.{part}": f"trunk.{own}.{part}"
        for published, own in modules.items()
        for part in NORM_PARTS
    }
    names |= {f"fc.{part}": f"classifier.{part}" for part in ("weight", "bias")}
    return {key: name for key, name in names.items() if name in ours}  # not all blocks have a shortcut
