"""ViCLIP's tokenizer and towers against the published numbers, and the published sizes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fidelity.fill import GOLDEN, filled_input, golden_arrays, published_entries, published_state_dict
from narravid.models.checkpoints import family_of_file
from narravid.models.checkpoints_files import PublishedFile, load_tensors_strictly
from narravid.models.checkpoints_viclip import VICLIP_FAMILY, published_key
from narravid.models.viclip import VICLIP_CLIPS, ViCLIP, ViCLIPConfig
from narravid.models.viclip_towers import TextTowerConfig, VideoTowerConfig
from narravid.text.byte_pairs import MERGES_FILE, BytePairTokenizer

REDUCED = ViCLIPConfig(
    video=VideoTowerConfig(
        size_pixels=28, patch_pixels=14, num_frames=4, dim=48, num_layers=3, num_heads=4, embed_dim=24
    ),
    text=TextTowerConfig(context_length=16, dim=32, num_layers=2, num_heads=4, embed_dim=24),
    clip_spec=dataclasses.replace(VICLIP_CLIPS, num_frames=4, size_pixels=28),
)
"""The towers of the golden numbers; their heads are narrower than any published ones."""

ANY_PAIRS = ("a b",) * 48894
"""As many as the published pairs, for the tests of shapes."""


def reduced_model() -> ViCLIP:
    towers = {
        f"{part}_encoder.{key}": tensor
        for part, family in (("vision", "viclip_vision_small"), ("text", "viclip_text_small"))
        for key, tensor in published_state_dict(family).items()
    }
    model = ViCLIP(REDUCED, BytePairTokenizer(ANY_PAIRS))
    names = {published_key(key): key for key in model.state_dict()}
    load_tensors_strictly(
        model, {"temp": torch.tensor(0.01), **towers}, path=Path("reduced.pth"), names=names
    )
    return model.eval()


def assert_close(actual: torch.Tensor, expected: np.ndarray, atol: float) -> None:
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-4, atol=atol)


@torch.no_grad()
def test_video_tower():
    expected = golden_arrays("viclip", "vision")
    video = torch.from_numpy(filled_input("viclip/vision/video", (2, 4, 3, 28, 28), "normal"))
    tower, clips = reduced_model().video, video.transpose(1, 2)
    embeddings = tower(clips)
    assert_close(embeddings, expected["embedding"], 4e-5)
    assert_close(torch.nn.functional.normalize(embeddings, dim=-1), expected["normalized"], 4e-6)
    assert_close(tower(clips[:, :, :1]), expected["embedding_one_frame"], 4e-5)


@torch.no_grad()
def test_text_tower():
    expected = golden_arrays("viclip", "text")
    tokens = torch.from_numpy(golden_arrays("viclip", "tokens")["ids16"])
    embeddings = reduced_model().encode_tokens(tokens)
    assert_close(embeddings, expected["embedding"], 2e-5)
    assert_close(torch.nn.functional.normalize(embeddings, dim=-1), expected["normalized"], 3e-6)


@pytest.mark.shared
@pytest.mark.parametrize("context_length", [77, 32, 16])
def test_token_ids(shared_data, context_length):
    sentences = json.loads((GOLDEN / "viclip_sentences.json").read_text(encoding="utf-8"))
    tokenizer = BytePairTokenizer.load(
        shared_data / "tokenizers" / MERGES_FILE, context_length=context_length
    )
    expected = golden_arrays("viclip", "tokens")[f"ids{context_length}"]
    np.testing.assert_array_equal(tokenizer(sentences).numpy(), expected)


LARGE = ViCLIPConfig()
BASE = ViCLIPConfig(
    video=VideoTowerConfig(patch_pixels=16, dim=768, num_layers=12, num_heads=12, embed_dim=512),
    text=TextTowerConfig(dim=512, num_heads=8, embed_dim=512),
)


@pytest.mark.parametrize(("family", "config"), [("viclip_l", LARGE), ("viclip_b", BASE)])
def test_the_published_keys_and_shapes_tell_the_published_sizes(tmp_path, family, config):
    BytePairTokenizer(ANY_PAIRS).save(tmp_path / MERGES_FILE)
    tensors = {
        key: torch.zeros(shape, dtype=getattr(torch, dtype), device="meta")
        for key, shape, dtype in published_entries(family)
    }
    file = PublishedFile(tmp_path / f"{family}.pth", tensors)
    assert family_of_file(file) is VICLIP_FAMILY
    model = VICLIP_FAMILY.build(file)
    assert model.config == config
    assert {published_key(key): tensor.shape for key, tensor in model.state_dict().items()} == {
        key: tensor.shape for key, tensor in tensors.items()
    }
