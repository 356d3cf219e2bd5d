"""The HowTo100M joint embedding, opened from a flat file, gives the published numbers.

Tolerances are those stated with the golden arrays: ten times the float32 error of a float64 run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fidelity.fill import filled_input, golden_arrays, published_entries, published_state_dict
from narravid.models.checkpoints import load_published
from narravid.models.checkpoints_howto100m import published_howto100m_state_dict
from narravid.models.gated_embedding import GatedDualEncoder

RTOL = 1e-4


def opened(folder: Path, family: str) -> GatedDualEncoder:
    path = folder / "howto100m_pt_model.pth"
    torch.save(published_state_dict(family), path)
    model = load_published(path)
    path.unlink()
    return model


def normal(case: str, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(filled_input(f"howto100m_net/{case}/{name}", shape, "normal"))


def assert_close(actual: torch.Tensor, expected: np.ndarray, atol: float) -> None:
    assert actual.dtype == torch.float32
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=RTOL, atol=atol)


@pytest.mark.parametrize(
    ("case", "sentence_dim", "tolerances"),
    [
        ("small", 32, {"sim": 1e-6, "video": 2e-6, "text": 2e-6}),
        ("small_sentence24", 24, {"sim": 2e-6, "video": 2e-6, "text": 1e-6}),
    ],
)
def test_small_networks(tmp_path, case, sentence_dim, tolerances):
    model = opened(tmp_path, f"howto100m_net_{case}")
    config = model.config
    assert (config.word_dim, config.sentence_dim, config.embed_dim) == (12, sentence_dim, 32)
    words = normal(case, "text", (7, 30, 12))
    words[0, 4:] = 0
    words[1] = 0
    with torch.inference_mode():
        video, text = model.encode_features(normal(case, "video", (5, 64))), model.text(words)
        similarity = model.similarity_matrix(video, text).T
    for name, tensor in {"sim": similarity, "video": video, "text": text}.items():
        assert_close(tensor, golden_arrays("howto100m_net", case)[name], tolerances[name])


def test_gradients(tmp_path):
    model = opened(tmp_path, "howto100m_net_small")
    video, words = normal("grad", "video", (4, 64)), normal("grad", "text", (4, 20, 12))
    video.requires_grad_(True)
    words.requires_grad_(True)
    similarity = model.similarity_matrix(model.encode_features(video), model.text(words)).T
    (similarity * normal("grad", "weight", (4, 4))).sum().backward()
    expected = golden_arrays("howto100m_net", "grad")
    assert_close(similarity, expected["sim"], 2e-6)
    assert_close(video.grad, expected["grad_video"], 6e-7)
    assert_close(words.grad, expected["grad_text"], 4e-7)


def test_published_size(tmp_path):
    model = opened(tmp_path, "howto100m_net")
    assert model.config == type(model.config)()  # the defaults are the published network
    words = normal("full", "text", (4, 20, 300))
    words[:, 12:] = 0
    with torch.inference_mode():
        video, text = model.encode_features(normal("full", "video", (3, 4096))), model.text(words)
        similarity = model.similarity_matrix(video, text).T
    expected = golden_arrays("howto100m_net", "full")
    assert_close(similarity, expected["sim"], 3e-7)
    assert_close(video[:, :64], expected["video_first64"], 3e-7)
    assert_close(text[:, :64], expected["text_first64"], 4e-7)


@pytest.mark.parametrize("family", ["howto100m_net_small", "howto100m_net_small_sentence24"])
def test_key_names_shapes_order_and_content_come_back(tmp_path, family):
    model = opened(tmp_path, family)
    written = published_howto100m_state_dict(model)
    described = [
        (key, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for key, tensor in written.items()
    ]
    assert described == published_entries(family)
    for key, tensor in published_state_dict(family).items():  # the normalisation without effect included
        assert torch.equal(written[key], tensor), key
