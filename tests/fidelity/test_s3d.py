"""S3D and its sentence tower, opened from files in the published containers, give the published numbers.

Tolerances are those stated with the golden arrays: ten times the float32 error of a float64 run.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fidelity.fill import (
    GOLDEN,
    filled_input,
    golden_arrays,
    s3d_entries,
    s3d_state_dict,
)
from fidelity.fill import (
    published_state_dict as filled_state_dict,
)
from narravid.models.checkpoints import load_published
from narravid.models.checkpoints_s3d import published_state_dict
from narravid.models.dual_encoder import S3DDualEncoder
from narravid.text.words import Vocabulary

NUM_WORDS = 66249
RTOL = 1e-4


@pytest.fixture(scope="module")
def word_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden words, filled up to the published number, in the published file format."""
    words = json.loads((GOLDEN / "vocabulary.json").read_text(encoding="utf-8"))
    words += [f"filling{number}" for number in range(NUM_WORDS - len(words))]
    path = tmp_path_factory.mktemp("words") / "words.npy"
    Vocabulary(words).save(path)
    return path


@dataclass(frozen=True)
class VideoCase:
    """Input shape of a case, and name and tolerance of its outputs: the embedding, then the feature."""

    name: str
    shape: tuple[int, ...]
    outputs: dict[str, float]


VIDEO_CASES = {
    "s3d_howto100m": [
        VideoCase("video_16f", (1, 3, 16, 128, 128), {"video_embedding": 6e-5, "mixed_5c": 2e-4}),
        VideoCase("video_32f", (2, 3, 32, 96, 96), {"video_embedding": 2e-4, "mixed_5c": 3e-4}),
    ],
    "milnce_s3d": [
        VideoCase("video", (2, 3, 16, 112, 112), {"embedding": 2e-4, "mixed5c": 2e-4}),
        VideoCase("video_odd", (1, 3, 11, 75, 83), {"embedding": 6e-5, "mixed5c": 2e-4}),
    ],
    "milnce_s3d_space_to_depth": [
        VideoCase("video", (2, 3, 16, 96, 96), {"embedding": 3e-4, "mixed5c": 8e-4})
    ],
}
TEXT_TOLERANCE = {"s3d_howto100m": 3e-6, "milnce_s3d": 6e-6, "milnce_s3d_space_to_depth": 7e-6}
SETTINGS = {  # stem, words read, lower-cased first
    "s3d_howto100m": ("space_to_depth", 16, True),
    "milnce_s3d": ("plain", 30, False),
    "milnce_s3d_space_to_depth": ("space_to_depth", 30, False),
}


@pytest.fixture(scope="module", params=list(VIDEO_CASES))
def family(request: pytest.FixtureRequest) -> str:
    """The name of the family; all tests of one run before the next, so that each is filled once."""
    return request.param


@pytest.fixture(scope="module")
def model(family: str, tmp_path_factory: pytest.TempPathFactory, word_list: Path) -> S3DDualEncoder:
    """The family's network, opened from a file written as the published one is."""
    tensors = s3d_state_dict(family)
    if family == "s3d_howto100m":
        return opened(tmp_path_factory.mktemp(family) / "s3d_howto100m.pth", tensors, word_list)
    content = {"epoch": 3, "state_dict": tensors, "optimizer": {}, "scheduler": {}}
    return opened(tmp_path_factory.mktemp(family) / "epoch0002.pth.tar", content, word_list)


def opened(path: Path, content: object, word_list: Path) -> S3DDualEncoder:
    torch.save(content, path)
    released = path.name == "s3d_howto100m.pth"
    (path.parent / ("s3d_dict.npy" if released else "dict.npy")).symlink_to(word_list)
    model = load_published(path)
    path.unlink()
    return model


def golden(family: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{family}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def assert_close(actual: torch.Tensor, expected: np.ndarray, atol: float) -> None:
    assert actual.dtype == torch.float32
    np.testing.assert_allclose(actual.numpy(), expected, rtol=RTOL, atol=atol)


def test_video_tower(model, family):
    expected = golden(family)
    for case in VIDEO_CASES[family]:
        clips = torch.from_numpy(filled_input(f"{family}/{case.name}/video", case.shape, "uniform"))
        with torch.inference_mode():
            actual = (model.encode_video(clips), model.video_features(clips))
        for tensor, (name, atol) in zip(actual, case.outputs.items(), strict=True):
            assert_close(tensor, expected[f"{case.name}/{name}"], atol)


def test_text_tower(model, family):
    expected = golden(family)
    if family == "s3d_howto100m":
        sentences = json.loads((GOLDEN / "sentences.json").read_text(encoding="utf-8"))
        np.testing.assert_array_equal(model.tokenizer(sentences).numpy(), expected["text/token_ids"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some sentences have no known word, which is part of the case
            embeddings = model.encode_text(sentences)
    else:
        tokens = torch.from_numpy(filled_input(f"{family}/text/tokens", (5, 20), "uint8")).long()
        tokens[0] = 0
        tokens[1, 7:] = 0
        np.testing.assert_array_equal(tokens.numpy(), expected["text/tokens"])
        embeddings = model.encode_tokens(tokens)
    assert_close(embeddings.detach(), expected["text/text_embedding"], TEXT_TOLERANCE[family])


def test_settings(model, family):
    assert (model.config.video.stem, model.config.max_words, model.config.lower_case) == SETTINGS[family]
    assert model.similarity == "dot"
    assert (model.embed_dim, model.feature_dim) == (512, 1024)
    assert not model.training
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen == ["text.word_embedding.weight"]


def test_key_names_shapes_and_order(model, family):
    published = [(key.removeprefix("module."), shape, dtype) for key, shape, dtype in s3d_entries(family)]
    ours = [
        (key, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for key, tensor in published_state_dict(model).items()
    ]
    assert ours == published


def test_vt_twins_windows(tmp_path, word_list):
    model = opened(tmp_path / "pretrained.pth.tar", s3d_state_dict("vt_twins_s3d"), word_list)  # flat
    assert (model.config.video.stem, model.config.max_words, model.config.lower_case) == ("plain", 30, False)
    assert model.similarity == "dot"  # as its retrieval evaluation compares; CrossTask takes the cosine
    expected = golden_arrays("vt_twins_s3d", "windows")
    name = "vt_twins_s3d/windows"
    clips = torch.from_numpy(filled_input(f"{name}/video", (3, 3, 8, 64, 64), "uniform"))
    tokens = torch.from_numpy(filled_input(f"{name}/tokens", (1, 30), "uint8")).long()
    with torch.inference_mode():
        windows, text = model.encode_video(clips), model.encode_tokens(tokens)
    assert_close(windows, expected["video_windows"], 3e-5)
    assert_close(text, expected["text"], 6e-6)
    assert_close(windows.mean(dim=0, keepdim=True), expected["retrieval_video"], 2e-5)
    assert_close(F.normalize(windows).mean(dim=0, keepdim=True), expected["crosstask_video"], 8e-7)
    assert_close(F.normalize(text), expected["crosstask_text"], 7e-7)


@pytest.mark.parametrize("family", ["tan_e2e", "tan_e2e_batchnorm"])
def test_end_to_end_alignment_network(tmp_path, word_list, family):
    tensors = filled_state_dict(family)
    frozen = family == "tan_e2e"
    if not frozen:  # the golden numbers are those of the frozen file, whose scales have other keys
        scales = filled_state_dict("tan_e2e")
        tensors = {key: scales.get(key.replace(".weight", ".scale"), value) for key, value in tensors.items()}
    content = {"epoch": 3, "state_dict": tensors, "best_acc": 0.5, "optimizer": {}, "iteration": 9}
    model = opened(tmp_path / "epoch2.pth.tar", content, word_list)
    assert (model.config.max_words, model.config.lower_case) == (32, True)
    assert (model.config.unknown_words, model.similarity) == ("keep", "cosine")
    assert (model.clip_spec.num_frames, model.clip_spec.fps) == (16, 5.0)
    assert model.config.video.frozen_batch_norm == frozen
    clips = torch.from_numpy(filled_input("tan_e2e/video/video", (2, 3, 16, 64, 64), "uniform"))
    model.train(frozen)  # as the golden numbers were made, where the file says that it stays frozen
    with torch.inference_mode():
        embeddings, features = model.encode_video(clips), model.video_features(clips)
    expected = golden_arrays("tan_e2e", "video")
    assert_close(embeddings, expected["video_embedding"], 3e-4)
    assert_close(features, expected["mixed_5c"], 9e-4)
    tokens = torch.from_numpy(filled_input("tan_e2e/text/tokens", (4, 32), "uint8")).long()
    tokens[:, 10:] = 0
    tokens[0, 3] = 0
    expected = golden_arrays("tan_e2e", "text")
    np.testing.assert_array_equal(tokens.numpy(), expected["tokens"])
    with torch.inference_mode():
        assert_close(model.encode_tokens(tokens), expected["text_embedding"], 4e-6)
    sentences = json.loads((GOLDEN / "sentences.json").read_text(encoding="utf-8"))
    expected = golden_arrays("sampling", "tokens_tan_32")
    np.testing.assert_array_equal(model.tokenizer(sentences).numpy(), expected["ids"])
