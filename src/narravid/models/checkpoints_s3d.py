"""Published S3D checkpoints: key names, stems, and the settings their weights were made for.

Read are

- the released HowTo100M weights: a flat dictionary, space-to-depth stem;
- the files of MIL-NCE and VT-TWINS: `{"epoch", "state_dict", ...}` or flat, keys prefixed with `module.`,
  either stem (VT-TWINS trains one and evaluates the other);
- the end-to-end training of the temporal alignment network: `{"epoch", "state_dict", "best_acc", ...}`, keys
  prefixed with `s3d.`; its batch normalisation may be frozen, with `.scale` in place of `.weight` and no
  counts of batches.

The stem is told by the shape of the first convolution, the other free sizes by the shapes of their weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from narravid.errors import CheckpointError
from narravid.models.checkpoints_files import (
    PublishedFamily,
    PublishedFile,
    find_asset,
    load_tensors_strictly,
    with_batch_counts,
)
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.s3d import S3DConfig, Stem
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.text.words import UnknownWords, Vocabulary
from narravid.types import ClipSpec, Similarity

__all__ = ["S3D_ALIGNED_FAMILY", "S3D_FAMILY", "published_key", "published_state_dict"]

TEXT_PREFIX = "text_module."
KEY_MAP = {
    "video.": "",
    "text.word_embedding.": f"{TEXT_PREFIX}word_embd.",
    "text.": TEXT_PREFIX,
}
"""Start of a key here -> start of the published key; the first that fits counts."""

ALIGNED_PREFIX = "s3d."
"""What the end-to-end training of TAN puts before every key."""

STEM_KEY = "conv1.conv1.weight"
WORDS_KEY = f"{TEXT_PREFIX}word_embd.weight"
SIZE_KEYS = (STEM_KEY, WORDS_KEY, "fc.weight", f"{TEXT_PREFIX}fc1.weight")
STEM_OF_CHANNELS: dict[int, Stem] = {24: "space_to_depth", 3: "plain"}

VOCABULARY_NAMES = ("s3d_dict.npy", "dict.npy", "vocabulary.json")
"""Word lists looked for beside a checkpoint, in this order."""


RETRIEVAL_CLIPS = ClipSpec(num_frames=32, fps=10.0, size_pixels=224)


@dataclass(frozen=True)
class _Settings:
    """What the weights of one source were made for; defaults are those of the retrieval evaluations.

    The clip is 3.2 s long, a centre square with values in [0, 1].
    """

    max_words: int
    lower_case: bool
    unknown_words: UnknownWords = "drop"
    similarity: Similarity = "dot"
    clip_spec: ClipSpec = RETRIEVAL_CLIPS


RELEASED = _Settings(max_words=16, lower_case=True)
TRAINED = _Settings(max_words=30, lower_case=False)
ALIGNED = _Settings(
    max_words=32,
    lower_case=True,
    unknown_words="keep",
    similarity="cosine",
    clip_spec=ClipSpec(num_frames=16, fps=5.0, size_pixels=224),
)


def _recognises(tensors: Mapping[str, torch.Tensor]) -> bool:
    return STEM_KEY in tensors


def _build(file: PublishedFile) -> S3DDualEncoder:
    """The dual encoder of an S3D file.

    The released HowTo100M weights (keys without prefix) read 16 lower-cased words, those of MIL-NCE and
    VT-TWINS 30 words as written; similarity is the dot product (VT-TWINS takes the cosine in training and on
    CrossTask, but not in retrieval).
    """
    model = _empty_model(file, prefix="", settings=TRAINED if file.prefixed else RELEASED)
    ours = {published_key(key): key for key in model.state_dict()}
    load_tensors_strictly(model, file.tensors, path=file.path, names=ours)
    return model.eval()


S3D_FAMILY = PublishedFamily("S3D text-video network", _recognises, _build)


def _recognises_aligned(tensors: Mapping[str, torch.Tensor]) -> bool:
    return f"{ALIGNED_PREFIX}{STEM_KEY}" in tensors


def _build_aligned(file: PublishedFile) -> S3DDualEncoder:
    """The dual encoder of TAN's end-to-end training.

    It reads 32 lower-cased words and keeps unknown ones in place as padding; similarity is the cosine. Where
    the file has frozen batch normalisation, so has the network.
    """
    frozen = any(_is_norm(key, ".scale") for key in file.tensors)
    model = _empty_model(file, prefix=ALIGNED_PREFIX, settings=ALIGNED, frozen_batch_norm=frozen)
    ours = {}
    for key in model.state_dict():
        published = f"{ALIGNED_PREFIX}{published_key(key)}"
        if frozen and _is_norm(published, ".weight"):
            published = f"{published.removesuffix('.weight')}.scale"
        ours[published] = key
    tensors = with_batch_counts(file.tensors, ours) if frozen else file.tensors
    load_tensors_strictly(model, tensors, path=file.path, names=ours)
    return model.eval()


S3D_ALIGNED_FAMILY = PublishedFamily(
    "S3D text-video network trained end to end on aligned text (TAN)", _recognises_aligned, _build_aligned
)


def published_key(key: str) -> str:
    """The published name, without prefix, of a key of `S3DDualEncoder.state_dict()`."""
    for start, published in KEY_MAP.items():
        if key.startswith(start):
            return published + key.removeprefix(start)
    return key


def published_state_dict(model: S3DDualEncoder) -> dict[str, torch.Tensor]:
    """The model's tensors under their published names and in the published order, without prefix."""
    return {published_key(key): tensor for key, tensor in model.state_dict().items()}


def _is_norm(key: str, ending: str) -> bool:
    module, _, last = key.rpartition(".")
    return f".{last}" == ending and module.rpartition(".")[2].startswith("bn")


def _empty_model(
    file: PublishedFile, *, prefix: str, settings: _Settings, frozen_batch_norm: bool = False
) -> S3DDualEncoder:
    missing = [f"{prefix}{key}" for key in SIZE_KEYS if f"{prefix}{key}" not in file.tensors]
    if missing:
        raise CheckpointError(file.path, "parts of the network are not there", missing=missing)
    stem, words, output, hidden = (file.tensors[f"{prefix}{key}"] for key in SIZE_KEYS)
    if not words.ndim == output.ndim == hidden.ndim == 2:
        raise CheckpointError(file.path, f"expected matrices for {', '.join(SIZE_KEYS[1:])}")
    config = S3DDualEncoderConfig(
        video=S3DConfig(
            stem=_stem_of(file.path, stem),
            embed_dim=output.shape[0],
            frozen_batch_norm=frozen_batch_norm,
        ),
        text=SentenceTowerConfig(
            num_embeddings=words.shape[0],
            word_dim=words.shape[1],
            hidden_dim=hidden.shape[0],
            embed_dim=output.shape[0],
        ),
        clip_spec=settings.clip_spec,
        max_words=settings.max_words,
        lower_case=settings.lower_case,
        unknown_words=settings.unknown_words,
        similarity=settings.similarity,
    )
    words_path = find_asset(file, VOCABULARY_NAMES, what="word list")
    vocabulary = _vocabulary_for(file.path, words_path, config.text.num_embeddings)
    with torch.device("meta"):  # no time spent on initial values that are replaced at once
        return S3DDualEncoder(config, vocabulary)


def _stem_of(path: Path, weight: torch.Tensor) -> Stem:
    stem = STEM_OF_CHANNELS.get(weight.shape[1]) if weight.ndim == 5 else None
    if stem is None:
        raise CheckpointError(
            path, f"{STEM_KEY} is {tuple(weight.shape)}, expected (64, 24, 2, 4, 4) or (64, 3, 3, 7, 7)"
        )
    return stem


def _vocabulary_for(path: Path, vocabulary_path: Path, num_embeddings: int) -> Vocabulary:
    vocabulary = Vocabulary.load(vocabulary_path)
    if vocabulary.num_embeddings != num_embeddings:
        raise CheckpointError(
            path,
            f"{vocabulary_path} has {len(vocabulary)} words, the weights have vectors for "
            f"{num_embeddings - 1}; is it the word list of these weights?",
        )
    return vocabulary
