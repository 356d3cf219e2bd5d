"""Published S3D checkpoints: their containers, their key names, and the settings their weights were made for.

Nothing in a checkpoint is trusted: only tensors and plain values are read, never Python objects.

Read are the released HowTo100M weights (a flat dictionary, space-to-depth stem) and the files of MIL-NCE and
VT-TWINS (`{"epoch", "state_dict", ...}` or flat, keys prefixed with `module.`, either stem). The stem is told
by the shape of the first convolution, the other free sizes by the shapes of their weights.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from narravid.errors import CheckpointError
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.s3d import S3DConfig, Stem
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.text.words import Vocabulary
from narravid.types import ClipSpec

__all__ = ["load_published", "load_tensors_strictly", "published_state_dict", "read_checkpoint"]

PARALLEL_PREFIX = "module."
"""What training on several devices put before every key."""

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


def load_published(path: Path, vocabulary_path: Path | None = None) -> S3DDualEncoder:
    """The model of a published S3D checkpoint, on the CPU and in evaluation mode.

    Args:
        path: The checkpoint file.
        vocabulary_path: Its word list, `.npy` or `.json`; by default one of `s3d_dict.npy`, `dict.npy` and
            `vocabulary.json` in the same folder.

    Returns:
        The dual encoder. The released HowTo100M weights (keys without prefix) read 16 lower-cased words, the
        others 30 words as written; similarity is the dot product.

    Raises:
        CheckpointError: If the file is unreadable, of another family, incomplete or without its word list.
        AnnotationError: If the word list is unreadable.
    """
    content = read_checkpoint(path)
    tensors, prefixed = _state_dict_of(path, content)
    config = _config_of(path, tensors, prefixed=prefixed)
    vocabulary = _vocabulary_for(path, vocabulary_path, config.text.num_embeddings)
    with torch.device("meta"):  # no time spent on initial values that are replaced at once
        model = S3DDualEncoder(config, vocabulary)
    ours = {published_key(key): key for key in model.state_dict()}
    load_tensors_strictly(model, tensors, path=path, names=ours)
    return model.eval()


def published_key(key: str) -> str:
    """The published name, without prefix, of a key of `S3DDualEncoder.state_dict()`."""
    for start, published in KEY_MAP.items():
        if key.startswith(start):
            return published + key.removeprefix(start)
    return key


def published_state_dict(model: S3DDualEncoder) -> dict[str, torch.Tensor]:
    """The model's tensors under their published names and in the published order, without prefix."""
    return {published_key(key): tensor for key, tensor in model.state_dict().items()}


def read_checkpoint(path: Path) -> dict[str, object]:
    """The dictionary in a PyTorch file, read without running any code from it.

    Raises:
        CheckpointError: If the file is missing, broken, or holds anything but tensors and plain values.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(path, "there is no such file") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            path,
            "refused: it holds more than tensors and plain values, or is no PyTorch file; nothing in it was "
            f"run ({_reason(error)})",
        ) from error
    except Exception as error:  # arbitrary bytes make the reader fail in arbitrary ways
        raise CheckpointError(
            path,
            "not a readable PyTorch file; was the download cut short? "
            f"({path.stat().st_size} bytes; {type(error).__name__}: {_reason(error)})",
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(path, f"expected a dictionary of tensors, found a {type(content).__name__}")
    return content


def load_tensors_strictly(
    model: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    *,
    path: Path,
    names: Mapping[str, str] | None = None,
) -> None:
    """Put `tensors` in place of the model's own; every one must fit and none may be left over.

    Args:
        model: Gets the tensors; may be on the meta device.
        tensors: By key of the file.
        path: Where they come from; named in errors.
        names: Key of the file -> key of the model; by default they are the same.

    Raises:
        CheckpointError: Listing missing and unexpected keys, or those of the wrong shape.
    """
    own = model.state_dict()
    names = {key: key for key in own} if names is None else names
    missing = [key for key in names if key not in tensors]
    unexpected = [key for key in tensors if key not in names]
    if missing or unexpected:
        raise CheckpointError(
            path, "the weights do not fit the network", missing=missing, unexpected=unexpected
        )
    wrong = [
        f"{key} is {tuple(tensors[key].shape)}, expected {tuple(own[name].shape)}"
        for key, name in names.items()
        if tensors[key].shape != own[name].shape
    ]
    if wrong:
        raise CheckpointError(path, f"weights of the wrong shape: {'; '.join(wrong)}")
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    # Copies, because tensors read from a file may lie at odd addresses, where products round differently.
    copies = {name: tensors[key].to(own[name].dtype, copy=True) for key, name in names.items()}
    model.load_state_dict(copies, assign=True)
    for name, parameter in model.named_parameters():  # assigned ones forget whether they are trained
        parameter.requires_grad_(name not in frozen)


def _state_dict_of(path: Path, content: Mapping[str, object]) -> tuple[dict[str, torch.Tensor], bool]:
    nested = content.get("state_dict", content)
    entries = nested if isinstance(nested, dict) else {}
    tensors = {str(key): value for key, value in entries.items() if isinstance(value, torch.Tensor)}
    prefixed = bool(tensors) and all(key.startswith(PARALLEL_PREFIX) for key in tensors)
    if prefixed:
        tensors = {key.removeprefix(PARALLEL_PREFIX): value for key, value in tensors.items()}
    if STEM_KEY not in tensors:
        found = ", ".join(str(key) for key in list(entries)[:5]) or "nothing"
        raise CheckpointError(
            path,
            "not an S3D video-text checkpoint of a known family (HowTo100M, MIL-NCE, VT-TWINS): "
            f"no {STEM_KEY!r} among its keys, which begin with: {found}",
        )
    foreign = [str(key) for key, value in entries.items() if not isinstance(value, torch.Tensor)]
    if foreign:
        raise CheckpointError(path, "entries that are no tensors", unexpected=foreign)
    return tensors, prefixed


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


def _vocabulary_for(path: Path, vocabulary_path: Path | None, num_embeddings: int) -> Vocabulary:
    if vocabulary_path is None:
        beside = [path.parent / name for name in VOCABULARY_NAMES if (path.parent / name).is_file()]
        if not beside:
            raise CheckpointError(
                path,
                f"its word list is not beside it; put {' or '.join(VOCABULARY_NAMES[:2])} (published with "
                f"the weights) into {path.parent}, or give vocabulary_path",
            )
        vocabulary_path = beside[0]
    vocabulary = Vocabulary.load(vocabulary_path)
    if vocabulary.num_embeddings != num_embeddings:
        raise CheckpointError(
            path,
            f"{vocabulary_path} has {len(vocabulary)} words, the weights have vectors for "
            f"{num_embeddings - 1}; is it the word list of these weights?",
        )
    return vocabulary


def _reason(error: Exception) -> str:
    # PyTorch's advice to read the file without protection is not repeated.
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and "weights_only" not in line]
    return telling[0][:200] if telling else type(error).__name__
