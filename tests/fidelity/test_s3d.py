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

from fidelity.fill import GOLDEN, filled_input, s3d_entries, s3d_state_dict
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
    flat = family == "s3d_howto100m"
    folder = tmp_path_factory.mktemp(family)
    path = folder / ("s3d_howto100m.pth" if flat else "epoch0002.pth.tar")
    torch.save(
        tensors if flat else {"epoch": 3, "state_dict": tensors, "optimizer": {}, "scheduler": {}}, path
    )
    (folder / ("s3d_dict.npy" if flat else "dict.npy")).symlink_to(word_list)
    opened = load_published(path)
    path.unlink()
    return opened


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
