"""Published CPD checkpoints: the video-text model of pre-training, and fine-tuned classifiers.

Both come as `{"epoch", "arch", "state_dict", "optimizer"}`. The model's keys are `module.visual_encoder.*`,
`module.textual_encoder.*`, `module.vis_emb.*`, `module.text_emb.*`; with them lie the memory banks and
normalisers of the loss, which are no part of the model: `read_memory_bank` gives them to a run that goes on.
A classifier has the keys of the visual encoder without their prefix, and `fc`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from narravid.errors import CheckpointError
from narravid.models.checkpoints_blocks import count_blocks
from narravid.models.checkpoints_files import (
    PublishedFamily,
    PublishedFile,
    find_asset,
    load_tensors_strictly,
    open_published,
)
from narravid.models.checkpoints_resnet3d import (
    blocks_per_layer,
    fill_classifier,
    num_classes_of,
    shortcut_of,
    stem_of,
)
from narravid.models.cpd import CPDConfig, CPDDualEncoder
from narravid.models.cpd_text import DistilBERTTowerConfig
from narravid.models.resnet3d import BLOCKS_OF_DEPTH, ResNet3DConfig
from narravid.models.video_classifier import CPDClassifier, CPDClassifierConfig
from narravid.text.word_pieces import WordPieces

__all__ = [
    "CPD_CLASSIFIER_FAMILY",
    "CPD_FAMILY",
    "build_cpd",
    "published_state_dict",
    "read_memory_bank",
]

VIDEO_PREFIX = "visual_encoder."
ENCODER_PREFIX = "textual_encoder."
KEY_MAP = {
    "video.": VIDEO_PREFIX,
    "text.encoder.": ENCODER_PREFIX,
    "video_head.": "vis_emb.",
    "text.head.": "text_emb.",
}
"""Start of a key here -> start of the published key, in the published order."""

MEMORY_KEYS = {
    "vis_memory": "video_memory",
    "text_memory": "text_memory",
    "Z_v": "video_normaliser",
    "Z_t": "text_normaliser",
}
"""Published name of the loss' state -> buffer of `MemoryBank`."""

IGNORED_KEYS = frozenset({*MEMORY_KEYS, f"{ENCODER_PREFIX}embeddings.position_ids"})
"""No weights of the model: the state of the loss, and a constant that some releases of transformers saved."""

PIECES_KEY = f"{ENCODER_PREFIX}embeddings.word_embeddings.weight"
POSITIONS_KEY = f"{ENCODER_PREFIX}embeddings.position_embeddings.weight"
FEEDFORWARD_KEY = f"{ENCODER_PREFIX}transformer.layer.0.ffn.lin1.weight"
HEAD_KEYS = ("text_emb.0.weight", "text_emb.3.weight")
SIZE_KEYS = (f"{VIDEO_PREFIX}conv1.weight", PIECES_KEY, POSITIONS_KEY, FEEDFORWARD_KEY, *HEAD_KEYS)
NUM_HEADS = 12
"""Attention heads leave no trace in shapes; DistilBERT has these."""

MAX_TOKENS = 64
PIECES_NAMES = ("bert-base-uncased-vocab.txt", "vocab.txt")
"""Lists of word pieces looked for beside a checkpoint, in this order."""

STEM_FRAMES = 1


def _recognises(tensors: Mapping[str, torch.Tensor]) -> bool:
    return any(key.startswith(VIDEO_PREFIX) for key in tensors)


def build_cpd(file: PublishedFile, *, num_heads: int = NUM_HEADS) -> CPDDualEncoder:
    """The dual encoder of a pre-training file.

    Args:
        file: The file; depth, shortcut and sizes are read off its keys and shapes.
        num_heads: Attention heads of its text encoder, which shapes do not tell.

    Returns:
        The model, in evaluation mode; it reads 64 word pieces and attends padding, as it was trained.

    Raises:
        CheckpointError: If the file does not fit, or its list of word pieces is absent or another's.
        AnnotationError: If that list is unreadable.
    """
    config = _config_of(file, num_heads)
    pieces_path = find_asset(file, PIECES_NAMES, what="list of word pieces")
    pieces = WordPieces.load(pieces_path)
    if len(pieces) != config.text.num_pieces:
        raise CheckpointError(
            file.path,
            f"{pieces_path} has {len(pieces)} word pieces, the weights have vectors for "
            f"{config.text.num_pieces}; is it the list of these weights?",
        )
    with torch.device("meta"):  # no time spent on initial values that are replaced at once
        model = CPDDualEncoder(config, pieces)
    tensors = {key: tensor for key, tensor in file.tensors.items() if key not in IGNORED_KEYS}
    names = {_published(key): key for key in model.state_dict()}
    load_tensors_strictly(model, tensors, path=file.path, names=names)
    return model.eval()


CPD_FAMILY = PublishedFamily("CPD video-text model", _recognises, build_cpd)


def read_memory_bank(path: Path) -> dict[str, torch.Tensor]:
    """The state of the loss in a pre-training file, for a run that goes on.

    Args:
        path: The file.

    Returns:
        What `losses.memory_bank.MemoryBank.load_state_dict` takes: `video_memory` and `text_memory`, (N, D)
        float32, and `video_normaliser` and `text_normaliser`, (1,) float32, -1 while not yet set.

    Raises:
        CheckpointError: If the file is unreadable or refused, or has no such state.
    """
    file = open_published(path)
    missing = [key for key in MEMORY_KEYS if key not in file.tensors]
    if missing:
        raise CheckpointError(path, "there is no memory bank in it", missing=missing)
    state = {name: file.tensors[key].clone() for key, name in MEMORY_KEYS.items()}
    memories, normalisers = list(state.values())[:2], list(state.values())[2:]
    fits = memories[0].ndim == 2 and memories[0].shape == memories[1].shape
    if not fits or any(tensor.shape != (1,) for tensor in normalisers):
        shapes = ", ".join(f"{key} {tuple(file.tensors[key].shape)}" for key in MEMORY_KEYS)
        raise CheckpointError(path, f"expected two memories (N, D) and two numbers (1,), got {shapes}")
    return state


def published_state_dict(model: CPDDualEncoder) -> dict[str, torch.Tensor]:
    """The model's tensors under their published names and in the published order, without prefix."""
    return {
        _published(key): tensor
        for start in KEY_MAP
        for key, tensor in model.state_dict().items()
        if key.startswith(start)
    }


def _published(key: str) -> str:
    start = next(start for start in KEY_MAP if key.startswith(start))
    return KEY_MAP[start] + key.removeprefix(start)


def _config_of(file: PublishedFile, num_heads: int) -> CPDConfig:
    missing = [key for key in SIZE_KEYS if key not in file.tensors]
    if missing:
        raise CheckpointError(file.path, "parts of the network are not there", missing=missing)
    matrices = [file.tensors[key] for key in SIZE_KEYS[1:]]
    if any(matrix.ndim != 2 for matrix in matrices):
        raise CheckpointError(file.path, f"expected matrices for {', '.join(SIZE_KEYS[1:])}")
    pieces, positions, feedforward, head, output = matrices
    try:
        text = DistilBERTTowerConfig(
            num_pieces=pieces.shape[0],
            max_positions=positions.shape[0],
            hidden_dim=pieces.shape[1],
            feedforward_dim=feedforward.shape[0],
            num_layers=count_blocks(file.tensors, f"{ENCODER_PREFIX}transformer.layer."),
            num_heads=num_heads,
            head_dim=head.shape[0],
            embed_dim=output.shape[0],
        )
        return CPDConfig(
            video=_resnet_of(file, VIDEO_PREFIX), text=text, max_tokens=min(MAX_TOKENS, text.max_positions)
        )
    except ValueError as error:
        raise CheckpointError(file.path, f"the text encoder has no such shape: {error}") from error


def _resnet_of(file: PublishedFile, prefix: str) -> ResNet3DConfig:
    """Depth, shortcut and width of a 3-D ResNet, read off its keys."""
    stem, num_blocks = stem_of(file.tensors, prefix), blocks_per_layer(file.tensors, prefix)
    bottleneck = f"{prefix}layer1.0.conv3.weight" in file.tensors
    depths = [depth for depth, layout in BLOCKS_OF_DEPTH.items() if layout == (bottleneck, num_blocks)]
    if stem is None:
        raise CheckpointError(file.path, f"{prefix}conv1.weight is not the stem of a 3-D ResNet")
    if not depths:
        known = ", ".join(str(depth) for depth in BLOCKS_OF_DEPTH)
        raise CheckpointError(
            file.path, f"no 3-D ResNet of depth {known} has {num_blocks} blocks in its layers"
        )
    return ResNet3DConfig(depth=depths[0], shortcut=shortcut_of(file.tensors, prefix), stem_channels=stem[0])


def _recognises_classifier(tensors: Mapping[str, torch.Tensor]) -> bool:
    stem = stem_of(tensors)
    return stem is not None and stem[1] == STEM_FRAMES


def _build_classifier(file: PublishedFile) -> CPDClassifier:
    """The classifier of a fine-tuning file; what kind of classes it tells apart the file does not say."""
    config = CPDClassifierConfig(num_classes_of(file), video=_resnet_of(file, ""))
    with torch.device("meta"):  # no time spent on initial values that are replaced at once
        model = CPDClassifier(config)
    fill_classifier(model, file)
    return model.eval()


CPD_CLASSIFIER_FAMILY = PublishedFamily(
    "CPD classifier (3-D ResNet, fine-tuned)", _recognises_classifier, _build_classifier
)
