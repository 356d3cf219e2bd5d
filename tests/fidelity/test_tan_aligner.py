"""The temporal aligner, opened from a file in the published container, gives the published numbers.

Tolerances are those stated with the golden arrays: ten times the float32 error of a float64 run. The
published masks say what is padding, ours what is real. Alignability has a trailing axis of one there and
none here.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fidelity.fill import GOLDEN, filled_input, golden_arrays, published_entries, published_state_dict
from narravid.models.aligner import TemporalAligner
from narravid.models.checkpoints import load_published
from narravid.models.checkpoints_files import open_published
from narravid.models.checkpoints_tan import build_tan, published_tan_key
from narravid.models.positions import sine_positions
from narravid.text.words import Vocabulary

RTOL = 1e-4
NUM_WORDS = 66249
UNUSED = {"mlp.weight", "mlp.bias", "text_temporal_pos_embed"}


@pytest.fixture(scope="module")
def word_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden words, filled up to the published number, in the published file format."""
    words = json.loads((GOLDEN / "vocabulary.json").read_text(encoding="utf-8"))
    words += [f"filling{number}" for number in range(NUM_WORDS - len(words))]
    path = tmp_path_factory.mktemp("words") / "s3d_dict.npy"
    Vocabulary(words).save(path)
    return path


def write(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    torch.save(
        {"epoch": 19, "state_dict": tensors, "best_acc": 0.5, "optimizer": {}, "iteration": 9000}, path
    )
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, word_list: Path) -> dict[str, TemporalAligner]:
    """Two layers each and the head, without and with positions of the sentences."""
    path = tmp_path_factory.mktemp("tan") / "epoch19.pth.tar"
    file = open_published(write(path, published_state_dict("tan_aligner_e2d2_head")), word_list)
    path.unlink()
    return {"plain": build_tan(file), "text_positions": build_tan(file, text_positions=True)}


@pytest.fixture(scope="module")
def model(models: dict[str, TemporalAligner]) -> TemporalAligner:
    return models["plain"]


def inputs(case: str) -> dict[str, torch.Tensor]:
    """Features, sentence embeddings and masks of a case, by the names of `TemporalAligner.forward`."""
    feature_mask = torch.ones(2, 40, dtype=torch.bool)
    text_mask = torch.ones(2, 7, dtype=torch.bool)
    feature_mask[1, 30:] = False
    text_mask[1, 5:] = False
    return {
        "features": torch.from_numpy(filled_input(f"tan_aligner/{case}/video", (2, 40, 1024), "normal")),
        "text": torch.from_numpy(filled_input(f"tan_aligner/{case}/text", (2, 7, 512), "normal")),
        "feature_mask": feature_mask,
        "text_mask": text_mask,
    }


def without_masks(case: str) -> tuple[torch.Tensor, torch.Tensor]:
    given = inputs(case)
    return given["features"], given["text"]


def assert_close(actual: torch.Tensor, expected: np.ndarray, atol: float) -> None:
    assert actual.dtype == torch.float32
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=RTOL, atol=atol)


def test_forward(model):
    expected = golden_arrays("tan_aligner", "forward")
    with torch.inference_mode():
        output = model(**inputs("forward"))
    assert_close(output.dual, expected["logits_dual"], 2e-6)
    assert_close(output.joint, expected["logits_joint"], 3e-6)
    assert_close(output.alignability_dual[..., None], expected["alignability_dual"], 2e-5)
    assert_close(output.alignability_joint[..., None], expected["alignability_joint"], 4e-5)
    assert_close(output.dual_video[:, :, ::8, :16], expected["dual_video_slice"], 1e-6)
    assert_close(output.dual_text[:, :, :32], expected["dual_text_slice"], 6e-7)


def test_interpolate(model):
    expected = golden_arrays("tan_aligner", "interpolate")
    with torch.inference_mode():
        output = model(**inputs("interpolate"), interpolate_from=16)
        aligned = model.align(*without_masks("interpolate"), interpolate_from=16)
    assert_close(output.dual[:, -1], expected["logits_dual"], 2e-6)
    assert_close(output.joint[:, -1], expected["logits_joint"], 3e-6)
    assert_close(aligned.joint[:, -1], expected["sim_joint"], 4e-6)
    assert_close(aligned.dual[:, -1], expected["sim_dual"], 2e-6)


def test_similarity_within_each_video(model):
    expected = golden_arrays("tan_aligner", "sim")
    with torch.inference_mode():
        aligned = model.align(*without_masks("sim"))
    assert_close(aligned.joint, expected["sim_joint"], 5e-6)
    assert_close(aligned.dual, expected["sim_dual"], 2e-6)
    assert_close(aligned.alignability_dual[..., None], expected["alignability_dual"], 6e-6)
    assert_close(aligned.alignability_joint[..., None], expected["alignability_joint"], 3e-5)


def test_positions_of_the_sentences(models):
    expected = golden_arrays("tan_aligner", "text_position")
    model = models["text_positions"]
    with torch.inference_mode():
        output = model(**inputs("text_position"))
        aligned = model.align(*without_masks("text_position"), interpolate_from=(16, 9))
    assert_close(output.joint, expected["logits_joint"], 3e-6)
    assert_close(aligned.joint[:, -1], expected["sim_joint_interp"], 5e-6)


def test_gradients(model):
    expected = golden_arrays("tan_aligner", "grad")
    given = inputs("grad")
    given["features"].requires_grad_()
    given["text"].requires_grad_()
    output = model(**given)
    weight = torch.from_numpy(filled_input("tan_aligner/grad/weight", tuple(output.joint.shape), "normal"))
    loss = (weight * (output.joint + output.dual)).sum()
    video_gradient, text_gradient = torch.autograd.grad(loss, (given["features"], given["text"]))
    assert_close(video_gradient[:, ::8, :32], expected["grad_video_slice"], 8e-7)
    assert_close(text_gradient[:, :, :32], expected["grad_text_slice"], 3e-6)
    assert_close(video_gradient.norm(), expected["grad_video_norm"], 5e-6)
    assert_close(text_gradient.norm(), expected["grad_text_norm"], 9e-6)


def test_sentence_model(model):
    expected = golden_arrays("tan_aligner", "text_model")
    tokens = torch.from_numpy(filled_input("tan_aligner/text_model/tokens", (4, 32), "uint8")).long()
    tokens[:, 12:] = 0
    tokens[0, 3] = 0
    tokens[-1] = 0
    np.testing.assert_array_equal(tokens.numpy(), expected["tokens"])
    with torch.inference_mode():
        assert_close(model.encode_tokens(tokens), expected["pooler_output"], 4e-6)
        assert_close(model.text.word_embeddings(tokens)[:, :14, :16], expected["last_hidden_slice"], 2e-6)


def test_words_of_a_sentence(model):
    sentences = json.loads((GOLDEN / "sentences.json").read_text(encoding="utf-8"))
    expected = golden_arrays("sampling", "tokens_tan_32")
    np.testing.assert_array_equal(model.tokenizer(sentences).numpy(), expected["ids"])


def test_sine_positions():
    expected = golden_arrays("tan_aligner", "sine_positions")["table"]
    table = sine_positions(1024, 512)
    np.testing.assert_allclose(table[::64, :24].numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("family", ["tan_aligner_e6d6", "tan_aligner_e6d6_head", "tan_aligner_e3d3_head"])
def test_every_published_key_list_opens(tmp_path, word_list, family):
    entries = published_entries(family)
    tensors = {key: torch.zeros(shape) for key, shape, _ in entries}
    (tmp_path / "s3d_dict.npy").symlink_to(word_list)
    path = write(tmp_path / "epoch19.pth.tar", tensors)
    model = load_published(path)
    path.unlink()
    num_layers = int(family[13])
    config = model.config
    assert (config.num_encoder_layers, config.num_joint_layers) == (num_layers, num_layers)
    assert (config.embed_dim, config.num_heads, config.max_positions) == (512, 8, 1024)
    assert config.feature_spec.dims == (1024,)
    assert config.alignability_head == family.endswith("_head")
    assert config.alignability_layer == 2
    assert (config.max_words, config.text.num_embeddings) == (32, NUM_WORDS + 1)
    ours = {published_tan_key(key): tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert ours == {key: shape for key, shape, _ in entries if key not in UNUSED}
