"""CPD's 3-D ResNets and video-text model, opened from the published containers, give the published numbers.

Tolerances are those stated with the golden arrays: ten times the float32 error of a float64 run.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from fidelity.fill import filled_input, golden_arrays, published_entries, published_state_dict
from narravid.losses.memory_bank import MemoryBank
from narravid.models.checkpoints import load_published
from narravid.models.checkpoints_cpd import MEMORY_KEYS, build_cpd, read_memory_bank
from narravid.models.checkpoints_cpd import published_state_dict as published_names
from narravid.models.checkpoints_files import open_published
from narravid.models.checkpoints_resnet3d import published_classifier_state_dict
from narravid.models.cpd import CPDConfig, CPDDualEncoder
from narravid.models.cpd_text import DistilBERTTowerConfig
from narravid.models.resnet3d import ResNet3DConfig
from narravid.models.video_classifier import CPDClassifier, CPDClassifierConfig
from narravid.text.word_pieces import WordPieces

assert_close = partial(np.testing.assert_allclose, rtol=1e-4)

RESNET_CASES = {  # weights, input shape, tolerance of logits and features
    "r50A_s112_t8": ("cpd_resnet50_A", (1, 3, 8, 112, 112), 9e-2, 6e-2),
    "r50A_s64_t8": ("cpd_resnet50_A", (2, 3, 8, 64, 64), 5e-2, 3e-2),
    "r50B_s112_t1": ("cpd_resnet50_B", (2, 3, 1, 112, 112), 2e-2, 1e-2),
    "r50B_s64_t1": ("cpd_resnet50_B", (2, 3, 1, 64, 64), 2e-2, 1e-2),
    "r18A_s64_t8": ("cpd_resnet18_A", (1, 3, 8, 64, 64), 2e-4, 1e-4),
}
CONFIGS = {
    "cpd_resnet18_A": ResNet3DConfig(depth=18),
    "cpd_resnet18_B": ResNet3DConfig(depth=18, shortcut="B"),
    "cpd_resnet50_A": ResNet3DConfig(),
    "cpd_resnet50_B": ResNet3DConfig(shortcut="B"),
}


def open_classifier(family: str, folder: Path) -> CPDClassifier:
    """The network, opened from a file as fine-tuning writes it."""
    tensors = {f"module.{key}": tensor for key, tensor in published_state_dict(family).items()}
    path = folder / "best.pth.tar"
    torch.save({"epoch": 3, "arch": "resnet", "state_dict": tensors, "optimizer": {}}, path)
    model = load_published(path)
    path.unlink()
    return model


@pytest.mark.parametrize("case", RESNET_CASES)
def test_resnet(case, tmp_path):
    family, shape, logits_atol, features_atol = RESNET_CASES[case]
    model = open_classifier(family, tmp_path)
    expected = golden_arrays("cpd_resnet", case)
    video = torch.from_numpy(filled_input(f"cpd_resnet/{case}/video", shape, "normal"))
    with torch.inference_mode():
        features = model.video(video)
        logits = model.classify_features(features)
    assert_close(features.numpy(), expected["features"], atol=features_atol)
    assert_close(logits.numpy(), expected["logits"], atol=logits_atol)


def test_gradient_flows_through_shortcut_a(tmp_path):
    model = open_classifier("cpd_resnet18_A", tmp_path)
    expected = golden_arrays("cpd_resnet", "grad_A")
    video = torch.from_numpy(filled_input("cpd_resnet/grad_A/video", (1, 3, 4, 64, 64), "normal"))
    weight = torch.from_numpy(filled_input("cpd_resnet/grad_A/weight", (1, 400), "normal"))
    video.requires_grad_()
    (weight * model.classify_features(model.video(video))).sum().backward()
    gradient = video.grad
    assert_close(gradient[:, :, :, ::8, ::8].numpy(), expected["right_grad_slice"], atol=8e-6)
    assert_close(gradient.norm().numpy(), expected["right_grad_norm"], atol=2e-4)
    # The published code detaches the shortcut; its numbers are another function's.
    assert abs(float(gradient.norm()) - float(expected["ref_grad_norm"])) > 20


@pytest.mark.parametrize("family", CONFIGS)
def test_key_names_shapes_and_order_of_a_resnet(family):
    with torch.device("meta"):
        model = CPDClassifier(CPDClassifierConfig(400, video=CONFIGS[family]))
    assert described(published_classifier_state_dict(model)) == published_entries(family)


def described(tensors: dict[str, torch.Tensor]) -> list[tuple[str, tuple[int, ...], str]]:
    return [
        (key, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for key, tensor in tensors.items()
    ]


def special_pieces(num_pieces: int) -> WordPieces:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    return WordPieces(special + [f"piece{number}" for number in range(num_pieces - len(special))])


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reduced model, in a file as pre-training writes it, with the key that some releases add."""
    folder = tmp_path_factory.mktemp("cpd")
    tensors = published_state_dict("cpd_model_small")
    tensors["module.textual_encoder.embeddings.position_ids"] = torch.arange(64).unsqueeze(0)
    path = folder / "checkpoint.pth.tar"
    torch.save({"epoch": 3, "arch": "resnet", "state_dict": tensors, "optimizer": {}}, path)
    special_pieces(200).save(folder / "vocab.txt")
    return path


def test_model(model_file):
    model = build_cpd(open_published(model_file), num_heads=4)
    assert model.config.video == ResNet3DConfig(depth=18)
    assert not model.training
    expected = golden_arrays("cpd_model", "forward")
    video = torch.from_numpy(filled_input("cpd_model/forward/video", (3, 3, 4, 64, 64), "normal"))
    tokens = torch.from_numpy(filled_input("cpd_model/forward/tokens", (3, 12), "uint8")).long() % 200
    tokens[0, 7:] = 0
    tokens[1, 3:] = 0
    np.testing.assert_array_equal(tokens.numpy(), expected["tokens"])
    with torch.inference_mode():
        embeddings = model.embed_features(model.video(video)).numpy()
        assert_close(embeddings, expected["video_embedding"], atol=2e-6)
        assert_close(model.encode_tokens(tokens).numpy(), expected["text_embedding"], atol=4e-6)
        hidden = model.text.hidden_states(tokens)[..., :16].numpy()
        assert_close(hidden, expected["text_hidden_slice"], atol=4e-5)
        assert_close(model.text.pooled(tokens)[:, :64].numpy(), expected["pooled_slice"], atol=2e-5)


def test_hidden_states_with_attention_mask(model_file):
    published = build_cpd(open_published(model_file), num_heads=4)
    with torch.device("meta"):
        model = CPDDualEncoder(
            CPDConfig(
                video=published.config.video,
                text=DistilBERTTowerConfig(**{**vars(published.config.text), "attention_mask": True}),
            ),
            published.pieces,
        )
    model.load_state_dict(published.state_dict(), assign=True)
    expected = golden_arrays("cpd_model", "forward")
    with torch.inference_mode():
        hidden = model.eval().text.hidden_states(torch.from_numpy(expected["tokens"]))[..., :16].numpy()
    assert_close(hidden, expected["text_hidden_masked_slice"], atol=4e-5)


def test_memory_bank_of_the_loss(model_file):
    bank = MemoryBank(50, 32, generator=torch.Generator())
    bank.load_state_dict(read_memory_bank(model_file))
    tensors = published_state_dict("cpd_model_small")
    assert torch.equal(bank.video_memory, tensors["module.vis_memory"])
    assert torch.equal(bank.text_memory, tensors["module.text_memory"])
    assert torch.equal(bank.video_normaliser, tensors["module.Z_v"])
    assert torch.equal(bank.text_normaliser, tensors["module.Z_t"])


def test_key_names_shapes_and_order_of_the_model():
    with torch.device("meta"):
        model = CPDDualEncoder(CPDConfig(), special_pieces(30522))
    memory = {f"module.{key}" for key in MEMORY_KEYS}
    expected = [entry for entry in published_entries("cpd_model") if entry[0] not in memory]
    assert len(expected) == len(published_entries("cpd_model")) - 4
    ours = {f"module.{key}": tensor for key, tensor in published_names(model).items()}
    assert described(ours) == expected


@pytest.mark.slow
@pytest.mark.shared
def test_the_full_model_of_a_published_file(shared_data, tmp_path):
    """ResNet-50, DistilBERT of six layers, the published word pieces; one pass of each tower."""
    path = tmp_path / "cpd.pth.tar"
    torch.save({"epoch": 300, "state_dict": published_state_dict("cpd_model")}, path)
    model = load_published(path, shared_data / "tokenizers" / "bert-base-uncased-vocab.txt")
    path.unlink()
    assert model.config == CPDConfig()
    with torch.inference_mode():
        video = model.encode_video(torch.zeros((1, 3, 8, 112, 112), dtype=torch.uint8))
        text = model.encode_text(["Add oil to the pan.", ""])
    assert (video.shape, text.shape) == ((1, 256), (2, 256))
    norms = torch.cat([video, text]).norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones(3))
