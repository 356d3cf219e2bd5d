"""Published S3D checkpoints: key names, stems, and the settings their weights were made for.

Read are the released HowTo100M weights (a flat dictionary, space-to-depth stem) and the files of MIL-NCE and
VT-TWINS (`{"epoch", "state_dict", ...}` or flat, keys prefixed with `module.`, either stem). The stem is told
by the shape of the first convolution, the other free sizes by the shapes of their weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch

from narravid.errors import CheckpointError
from narravid.models.checkpoints_files import (
    PublishedFamily,
    PublishedFile,
    find_asset,
    load_tensors_strictly,
)
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.s3d import S3DConfig, Stem
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.text.words import Vocabulary
from narravid.types import ClipSpec

__all__ = ["S3D_FAMILY", "published_key", "published_state_dict"]

TEXT_PREFIX = "text_module."
KEY_MAP = {
    "video.": "",
    "text.word_embedding.": f"{TEXT_PREFIX}word_embd.",
    "text.": TEXT_PREFIX,
}
"""Start of a key here -> start of the published key; the first that fits counts."""

STEM_KEY = "conv1.conv1.weight"
WORDS_KEY = f"{TEXT_PREFIX}word_embd.weight"
SIZE_KEYS = (STEM_KEY, WORDS_KEY, "fc.weight", f"{TEXT_PREFIX}fc1.weight")
STEM_OF_CHANNELS: dict[int, Stem] = {24: "space_to_depth", 3: "plain"}

VOCABULARY_NAMES = ("s3d_dict.npy", "dict.npy", "vocabulary.json")
"""Word lists looked for beside a checkpoint, in this order."""

CLIP_SPEC = ClipSpec(num_frames=32, fps=10.0, size_pixels=224)
"""What the published retrieval evaluations show the network: 3.2 s, centre square, values in [0, 1]."""


def _recognises(keys: Collection[str]) -> bool:
    return STEM_KEY in keys


def _build(file: PublishedFile) -> S3DDualEncoder:
    """The dual encoder of an S3D file.

    The released HowTo100M weights (keys without prefix) read 16 lower-cased words, the others 30 words as
    written; similarity is the dot product.
    """
    config = _config_of(file.path, file.tensors, prefixed=file.prefixed)
    words_path = find_asset(file, VOCABULARY_NAMES, what="word list")
    vocabulary = _vocabulary_for(file.path, words_path, config.text.num_embeddings)
    with torch.device("meta"):  # no time spent on initial values that are replaced at once
        model = S3DDualEncoder(config, vocabulary)
    ours = {published_key(key): key for key in model.state_dict()}
    load_tensors_strictly(model, file.tensors, path=file.path, names=ours)
    return model.eval()


S3D_FAMILY = PublishedFamily("S3D text-video network", _recognises, _build)


def published_key(key: str) -> str:
    """The published name, without prefix, of a key of `S3DDualEncoder.state_dict()`."""
    for start, published in KEY_MAP.items():
        if key.startswith(start):
            return published + key.removeprefix(start)
    return key


def published_state_dict(model: S3DDualEncoder) -> dict[str, torch.Tensor]:
    """The model's tensors under their published names and in the published order, without prefix."""
    return {published_key(key): tensor for key, tensor in model.state_dict().items()}


def _config_of(path: Path, tensors: Mapping[str, torch.Tensor], *, prefixed: bool) -> S3DDualEncoderConfig:
    missing = [key for key in SIZE_KEYS if key not in tensors]
    if missing:
        raise CheckpointError(path, "parts of the network are not there", missing=missing)
    stem_shape = tuple(tensors[STEM_KEY].shape)
    stem = STEM_OF_CHANNELS.get(stem_shape[1]) if len(stem_shape) == 5 else None
    if stem is None:
        raise CheckpointError(
            path, f"{STEM_KEY} is {stem_shape}, expected (64, 24, 2, 4, 4) or (64, 3, 3, 7, 7)"
        )
    words, output, hidden = (tensors[key] for key in SIZE_KEYS[1:])
    if not words.ndim == output.ndim == hidden.ndim == 2:
        raise CheckpointError(path, f"expected matrices for {', '.join(SIZE_KEYS[1:])}")
    return S3DDualEncoderConfig(
        video=S3DConfig(stem=stem, embed_dim=output.shape[0]),
        text=SentenceTowerConfig(
            num_embeddings=words.shape[0],
            word_dim=words.shape[1],
            hidden_dim=hidden.shape[0],
            embed_dim=output.shape[0],
        ),
        clip_spec=CLIP_SPEC,
        max_words=30 if prefixed else 16,
        lower_case=not prefixed,
    )


def _vocabulary_for(path: Path, vocabulary_path: Path, num_embeddings: int) -> Vocabulary:
    vocabulary = Vocabulary.load(vocabulary_path)
    if vocabulary.num_embeddings != num_embeddings:
        raise CheckpointError(
            path,
            f"{vocabulary_path} has {len(vocabulary)} words, the weights have vectors for "
            f"{num_embeddings - 1}; is it the word list of these weights?",
        )
    return vocabulary
