"""Published temporal aligners: key names, both stages of training, and what their weights were made for.

Read are `{"epoch", "state_dict", "best_acc", "optimizer", "iteration"}` or the state dict alone:

- stage one: the keys of one aligner;
- stage two: the aligner that was trained as `online.*` and its moving average as `target.*`, and perhaps the
  sentence model of the first a second time without prefix. The published evaluation runs `online`, and so
  does the model that opens here; `build_tan` gives the other, `build_tan_twin` both.

The sentence model is called `bert` or `lang_model`. A linear layer `mlp` is in every file and in no
computation; positions of the sentences are in every file and used only if training said so, which no file
records (the published commands say no). Sizes are told by the shapes of the weights, but for the number of
heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

from narravid.errors import CheckpointError
from narravid.models.aligner import TemporalAligner
from narravid.models.aligner_config import Positions, TemporalAlignerConfig
from narravid.models.checkpoints_blocks import count_blocks, published_block_key
from narravid.models.checkpoints_files import (
    PublishedFamily,
    PublishedFile,
    find_asset,
    load_tensors_strictly,
)
from narravid.models.momentum import MomentumTwin
from narravid.models.positions import sine_positions
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.text.words import Vocabulary
from narravid.types import FeatureSpec

__all__ = ["TAN_FAMILY", "Branch", "build_tan", "build_tan_twin", "published_tan_key"]

Branch = Literal["online", "target"]
"""Of a stage-two file: the network that was trained, or its moving average."""

BRANCHES: tuple[Branch, ...] = ("online", "target")
SENTENCE_MODELS = ("bert.", "lang_model.")
VOCABULARY_NAMES = ("s3d_dict.npy", "dict.npy", "vocabulary.json")
NUM_HEADS = 8
"""Fixed in the published program; no weight shows it."""
BEST_ALIGNABILITY_LAYER = 2
"""The third joint layer, which the published loss and evaluation read."""

KEY_MAP = {
    "encoders.video_projection.": "video_pre_proj.",
    "encoders.text_projection.": "text_pre_proj.",
    "encoders.video_norm.": "ln_video_init.",
    "encoders.text_norm.": "ln_text_init.",
    "encoders.position_norm.": "ln_position_init.",
    "encoders.video_positions": "temporal_pos_embed",
    "encoders.text_positions": "text_temporal_pos_embed",
    "encoders.video_final_norm.": "ln_video_post_enc.",
    "encoders.joint_final_norm.": "ln_joint_post_enc.",
    "encoders.alignability_head.": "binary_head.",
    "encoders.video_encoder.blocks.": "video_temporal_encoder.resblocks.",
    "encoders.joint_encoder.blocks.": "joint_temporal_encoder.resblocks.",
    "text.word_embedding.": "bert.word_embd.",
    "text.": "bert.",
}
"""Start of a key here -> start of the published key; the first that fits counts."""

FEATURES_KEY = KEY_MAP["encoders.video_projection."] + "weight"
POSITIONS_KEY = KEY_MAP["encoders.video_positions"]
TEXT_POSITIONS_KEY = KEY_MAP["encoders.text_positions"]
HEAD_KEY = KEY_MAP["encoders.alignability_head."] + "weight"
WORDS_KEY, HIDDEN_KEY, SENTENCE_KEY = "bert.word_embd.weight", "bert.fc1.weight", "bert.fc2.weight"
SIZE_KEYS = (FEATURES_KEY, POSITIONS_KEY, WORDS_KEY, HIDDEN_KEY, SENTENCE_KEY)
UNUSED_KEYS = ("mlp.weight", "mlp.bias")


def _recognises(tensors: Mapping[str, torch.Tensor]) -> bool:
    return any(f"{prefix}{FEATURES_KEY}" in tensors for prefix in ("", *(f"{name}." for name in BRANCHES)))


def build_tan(
    file: PublishedFile, *, branch: Branch = "online", text_positions: bool = False
) -> TemporalAligner:
    """The aligner of a published file, in evaluation mode.

    Args:
        file: The file, of either stage.
        branch: Which network of a stage-two file; of no effect for stage one.
        text_positions: Whether the weights were trained with positions of the sentences.

    Returns:
        The model, on the CPU.

    Raises:
        CheckpointError: If keys are missing, unexpected or of the wrong shape, the branches of a stage-two
            file differ in their keys, or the word list is missing or of another size.
        ValueError: If `branch` is no branch.
    """
    if branch not in BRANCHES:
        raise ValueError(f"branch must be one of {', '.join(BRANCHES)}, got {branch!r}")
    tensors = _branches(file).get(branch)
    if tensors is None:
        tensors = _with_one_sentence_model(file, file.tensors)
    return _aligner(file, tensors, text_positions=text_positions)


def build_tan_twin(
    file: PublishedFile, *, momentum: float = 0.999, text_positions: bool = False
) -> MomentumTwin[TemporalAligner]:
    """Both networks of a published file: stage two as it was left, stage one ready for stage two.

    Args:
        file: The file, of either stage; from stage one both networks start the same.
        momentum: Of the moving average.
        text_positions: As for `build_tan`.

    Returns:
        The pair, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: As `build_tan`.
    """
    twin = MomentumTwin(build_tan(file, text_positions=text_positions), momentum=momentum)
    if _branches(file):
        target = build_tan(file, branch="target", text_positions=text_positions)
        twin.target.load_state_dict(target.state_dict())
    return twin


TAN_FAMILY = PublishedFamily("temporal alignment network (TAN)", _recognises, build_tan)


def published_tan_key(key: str) -> str:
    """The published name of a key of `TemporalAligner.state_dict()`, the sentence model as `bert`."""
    for start, published in KEY_MAP.items():
        if key.startswith(start):
            rest = key.removeprefix(start)
            if start.endswith(".blocks."):
                number, _, inner = rest.partition(".")
                return f"{published}{number}.{published_block_key(inner)}"
            return published + rest
    return key


def _branches(file: PublishedFile) -> dict[str, dict[str, torch.Tensor]]:
    """Both networks of a stage-two file under the keys of stage one; nothing for stage one."""
    if not any(key.startswith(f"{branch}.") for key in file.tensors for branch in BRANCHES):
        return {}
    parts: dict[str, dict[str, torch.Tensor]] = {branch: {} for branch in BRANCHES}
    alone = {}
    for key, tensor in file.tensors.items():
        start, _, rest = key.partition(".")
        if start in parts:
            parts[start][rest] = tensor
        else:
            alone[key] = tensor
    named = {branch: _with_one_sentence_model(file, part) for branch, part in parts.items()}
    online, target = (named[branch] for branch in BRANCHES)
    if online.keys() != target.keys():
        raise CheckpointError(
            file.path,
            "its two networks are not the same",
            missing=[f"target.{key}" for key in online if key not in target]
            + [f"online.{key}" for key in target if key not in online],
        )
    repeated = _with_one_sentence_model(file, alone)
    unexpected = [key for key in repeated if not (key.startswith(SENTENCE_MODELS) and key in online)]
    if unexpected:
        raise CheckpointError(file.path, "entries outside its two networks", unexpected=unexpected)
    for key, tensor in repeated.items():
        if not torch.equal(tensor, online[key]):
            raise CheckpointError(file.path, f"{key} is there twice, and differs from online.{key}")
    return named


def _with_one_sentence_model(
    file: PublishedFile, tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The same with the sentence model called `bert`, whichever of its names the file has."""
    first, second = SENTENCE_MODELS
    names = {key: first + key.removeprefix(second) if key.startswith(second) else key for key in tensors}
    twice = [key for key, name in names.items() if key != name and name in tensors]
    if twice:
        raise CheckpointError(
            file.path, f"the sentence model is there as {first} and as {second}, {twice[0]}"
        )
    return {names[key]: tensor for key, tensor in tensors.items()}


def _aligner(
    file: PublishedFile, tensors: Mapping[str, torch.Tensor], *, text_positions: bool
) -> TemporalAligner:
    config = _config_of(file, tensors, text_positions=text_positions)
    words_path = find_asset(file, VOCABULARY_NAMES, what="word list")
    try:
        with torch.device("meta"):  # no time spent on initial values that are replaced at once
            model = TemporalAligner(config, Vocabulary.load(words_path))
    except ValueError as error:
        raise CheckpointError(file.path, f"{words_path}: {error}") from error
    names = {published_tan_key(key): key for key in model.state_dict()}
    load_tensors_strictly(model, _without_unused(file, tensors, config), path=file.path, names=names)
    return model.eval()


def _without_unused(
    file: PublishedFile, tensors: Mapping[str, torch.Tensor], config: TemporalAlignerConfig
) -> dict[str, torch.Tensor]:
    """The tensors that a model uses; the others must be there, so that a cut file is noticed."""
    dim = config.embed_dim
    unused: dict[str, tuple[int, ...]] = dict(zip(UNUSED_KEYS, ((dim, dim), (dim,)), strict=True))
    if not config.text_positions:
        unused[TEXT_POSITIONS_KEY] = (config.max_positions, dim)
    missing = [key for key in unused if key not in tensors]
    if missing:
        raise CheckpointError(file.path, "the weights do not fit the network", missing=missing)
    wrong = [
        f"{key} is {tuple(tensors[key].shape)}, expected {shape}"
        for key, shape in unused.items()
        if tuple(tensors[key].shape) != shape
    ]
    if wrong:
        raise CheckpointError(file.path, f"weights of the wrong shape: {'; '.join(wrong)}")
    return {key: tensor for key, tensor in tensors.items() if key not in unused}


def _config_of(
    file: PublishedFile, tensors: Mapping[str, torch.Tensor], *, text_positions: bool
) -> TemporalAlignerConfig:
    missing = [key for key in SIZE_KEYS if key not in tensors]
    if missing:
        raise CheckpointError(file.path, "parts of the network are not there", missing=missing)
    features, positions, words, hidden, sentence = (tensors[key] for key in SIZE_KEYS)
    if not features.ndim == positions.ndim == words.ndim == hidden.ndim == sentence.ndim == 2:
        raise CheckpointError(file.path, f"expected matrices for {', '.join(SIZE_KEYS)}")
    num_joint_layers = count_blocks(tensors, KEY_MAP["encoders.joint_encoder.blocks."])
    try:
        return TemporalAlignerConfig(
            text=SentenceTowerConfig(
                num_embeddings=words.shape[0],
                word_dim=words.shape[1],
                hidden_dim=hidden.shape[0],
                embed_dim=sentence.shape[0],
            ),
            feature_spec=FeatureSpec(("s3d-howto100m",), (features.shape[1],)),
            embed_dim=features.shape[0],
            num_encoder_layers=count_blocks(tensors, KEY_MAP["encoders.video_encoder.blocks."]),
            num_joint_layers=num_joint_layers,
            num_heads=NUM_HEADS,
            max_positions=positions.shape[0],
            positions=_kind_of_positions(positions),
            text_positions=text_positions,
            alignability_head=HEAD_KEY in tensors,
            alignability_layer=min(BEST_ALIGNABILITY_LAYER, num_joint_layers - 1),
        )
    except ValueError as error:
        raise CheckpointError(file.path, f"its sizes make no network: {error}") from error


def _kind_of_positions(table: torch.Tensor) -> Positions:
    num_positions, dim = table.shape
    if num_positions < 1 or dim < 2 or dim % 2 or not table.is_floating_point():
        return "learned"
    fixed = sine_positions(num_positions, dim)
    # Sines of another machine differ in the last bits; trained values are never near all of them.
    return "sine" if torch.allclose(table.float(), fixed, rtol=0, atol=1e-4) else "learned"
