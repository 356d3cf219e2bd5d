"""Published ViCLIP checkpoints, `{"model": {"temp", "vision_encoder.*", "text_encoder.*"}}`.

Sizes are read off the shapes; attention heads, which leave no trace in them, are 64 wide as in all of CLIP.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch

from narravid.errors import CheckpointError
from narravid.models.checkpoints_blocks import count_blocks, published_block_key
from narravid.models.checkpoints_files import (
    PublishedFamily,
    PublishedFile,
    find_asset,
    load_tensors_strictly,
)
from narravid.models.viclip import VICLIP_CLIPS, ViCLIP, ViCLIPConfig
from narravid.models.viclip_towers import TextTowerConfig, VideoTowerConfig
from narravid.text.byte_pairs import MERGES_FILE, BytePairTokenizer

__all__ = ["VICLIP_FAMILY", "published_key"]

VIDEO_PREFIX, TEXT_PREFIX = "vision_encoder.", "text_encoder."
HEAD_DIM = 64

TOWER_KEYS = {
    "video.patches.weight": "vision_encoder.conv1.weight",
    "video.class_token": "vision_encoder.class_embedding",
    "video.positions": "vision_encoder.positional_embedding",
    "video.frame_positions": "vision_encoder.temporal_positional_embedding",
    "video.projection": "vision_encoder.proj",
    "video.norm_before.": "vision_encoder.ln_pre.",
    "video.norm_after.": "vision_encoder.ln_post.",
    "text.tokens.weight": "text_encoder.token_embedding.weight",
    "text.positions": "text_encoder.positional_embedding",
    "text.projection": "text_encoder.text_projection",
    "text.norm_after.": "text_encoder.ln_final.",
    "temperature": "temp",
}
"""Start of a key here -> start of the published key; for all but the transformers' blocks."""

BLOCKS, PUBLISHED_BLOCKS = "transformer.blocks.", "transformer.resblocks."

SIZE_KEYS = {
    f"{VIDEO_PREFIX}conv1.weight": 5,
    f"{VIDEO_PREFIX}positional_embedding": 2,
    f"{VIDEO_PREFIX}temporal_positional_embedding": 3,
    f"{VIDEO_PREFIX}proj": 2,
    f"{TEXT_PREFIX}token_embedding.weight": 2,
    f"{TEXT_PREFIX}positional_embedding": 2,
    f"{TEXT_PREFIX}text_projection": 2,
}
"""Keys whose shapes tell the sizes, and how many dimensions each has."""


def _recognises(tensors: Mapping[str, torch.Tensor]) -> bool:
    return f"{VIDEO_PREFIX}class_embedding" in tensors


def _build(file: PublishedFile) -> ViCLIP:
    """The model of a ViCLIP file, in evaluation mode."""
    config = _config_of(file)
    tokenizer = BytePairTokenizer.load(find_asset(file, (MERGES_FILE,), what="file of byte pairs"))
    try:
        with torch.device("meta"):  # no time spent on initial values that are replaced at once
            model = ViCLIP(config, tokenizer)
    except ValueError as error:
        raise CheckpointError(file.path, f"the network has no such shape: {error}") from error
    names = {published_key(key): key for key in model.state_dict()}
    load_tensors_strictly(model, file.tensors, path=file.path, names=names)
    return model.eval()


VICLIP_FAMILY = PublishedFamily("ViCLIP", _recognises, _build)


def published_key(key: str) -> str:
    """The published name of a key of `ViCLIP.state_dict()`."""
    tower, _, block = key.partition(BLOCKS)
    if block:
        number, _, part = block.partition(".")
        prefix = VIDEO_PREFIX if tower == "video." else TEXT_PREFIX
        return f"{prefix}{PUBLISHED_BLOCKS}{number}.{published_block_key(part)}"
    start = next(start for start in TOWER_KEYS if key.startswith(start))
    return TOWER_KEYS[start] + key.removeprefix(start)


def _config_of(file: PublishedFile) -> ViCLIPConfig:
    missing = [key for key in SIZE_KEYS if key not in file.tensors]
    if missing:
        raise CheckpointError(file.path, "parts of the network are not there", missing=missing)
    for key, num_dims in SIZE_KEYS.items():
        if file.tensors[key].ndim != num_dims:
            shape = tuple(file.tensors[key].shape)
            raise CheckpointError(file.path, f"{key} is {shape}, expected {num_dims} dimensions")
    patches, places, times, video_out, words, text_places, text_out = (
        file.tensors[key].shape for key in SIZE_KEYS
    )
    size_pixels = math.isqrt(max(places[0] - 1, 0)) * patches[4]
    try:
        video = VideoTowerConfig(
            size_pixels=size_pixels,
            patch_pixels=patches[4],
            num_frames=times[1],
            dim=patches[0],
            num_layers=count_blocks(file.tensors, VIDEO_PREFIX + PUBLISHED_BLOCKS),
            num_heads=patches[0] // HEAD_DIM,
            embed_dim=video_out[1],
        )
        text = TextTowerConfig(
            num_ids=words[0],
            context_length=text_places[0],
            dim=words[1],
            num_layers=count_blocks(file.tensors, TEXT_PREFIX + PUBLISHED_BLOCKS),
            num_heads=words[1] // HEAD_DIM,
            embed_dim=text_out[1],
        )
        spec = dataclasses.replace(VICLIP_CLIPS, num_frames=times[1], size_pixels=size_pixels)
        return ViCLIPConfig(video=video, text=text, clip_spec=spec)
    except ValueError as error:
        raise CheckpointError(file.path, f"the network has no such shape: {error}") from error
