"""A ViCLIP small enough for tests, with the published head width, and its byte pairs."""

from __future__ import annotations

import dataclasses

import torch

from narravid.models.viclip import VICLIP_CLIPS, ViCLIP, ViCLIPConfig
from narravid.models.viclip_towers import TextTowerConfig, VideoTowerConfig
from narravid.text.byte_pairs import BytePairTokenizer

PAIRS = ("c u", "cu t</w>", "t h", "th e</w>")

SMALL_VICLIP = ViCLIPConfig(
    video=VideoTowerConfig(
        size_pixels=16, patch_pixels=8, num_frames=4, dim=64, num_layers=2, num_heads=1, embed_dim=12
    ),
    text=TextTowerConfig(
        num_ids=2 * 256 + len(PAIRS) + 2, context_length=9, dim=128, num_layers=1, num_heads=2, embed_dim=12
    ),
    clip_spec=dataclasses.replace(VICLIP_CLIPS, num_frames=4, size_pixels=16),
)


def small_viclip(seed: int = 0) -> ViCLIP:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ViCLIP(SMALL_VICLIP, BytePairTokenizer(PAIRS))
        torch.nn.init.normal_(model.video.frame_positions)
    return model.eval()
