"""Files of TAN's end-to-end training: either kind of batch normalisation, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from narravid.errors import CheckpointError
from narravid.models.checkpoints import load_published
from narravid.models.checkpoints_s3d import published_state_dict
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.frozen_batch_norm import FrozenBatchNorm2d
from narravid.models.s3d import S3DConfig
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.text.words import Vocabulary
from narravid.types import ClipSpec

WORDS = Vocabulary(["add", "oil", "pan"])


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """The tensors of an S3D of published depth with a small sentence tower, without prefix."""
    config = S3DDualEncoderConfig(
        video=S3DConfig(embed_dim=8),
        text=SentenceTowerConfig(num_embeddings=4, word_dim=5, hidden_dim=6, embed_dim=8),
        clip_spec=ClipSpec(num_frames=4, fps=5.0, size_pixels=32),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return published_state_dict(S3DDualEncoder(config, WORDS))


def aligned(tensors: dict[str, torch.Tensor], *, frozen: bool) -> dict[str, torch.Tensor]:
    """The same as TAN's end-to-end training writes them."""
    content = {}
    for key, tensor in tensors.items():
        if frozen and key.endswith("num_batches_tracked"):
            continue
        norm = frozen and ".bn" in key
        content["s3d." + (key.replace(".weight", ".scale") if norm else key)] = tensor
    return content


def write(folder: Path, tensors: dict[str, torch.Tensor], *, parallel: bool = False) -> Path:
    prefix = "module." if parallel else ""
    state = {prefix + key: tensor for key, tensor in tensors.items()}
    torch.save({"epoch": 1, "state_dict": state, "best_acc": 0.1, "iteration": 5}, folder / "epoch1.pth.tar")
    WORDS.save(folder / "s3d_dict.npy")
    return folder / "epoch1.pth.tar"


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_either_batch_normalisation_with_and_without_the_prefix_of_parallel_training(
    tmp_path, tensors, frozen, parallel
):
    model = load_published(write(tmp_path, aligned(tensors, frozen=frozen), parallel=parallel))
    assert model.config.video.frozen_batch_norm == frozen
    assert any(isinstance(module, FrozenBatchNorm2d) for module in model.modules()) == frozen
    opened = published_state_dict(model)
    assert list(opened) == list(tensors)
    assert all(torch.equal(opened[key], tensors[key]) for key in tensors)
    assert (model.config.max_words, model.config.lower_case, model.config.unknown_words) == (32, True, "keep")
    assert model.similarity == "cosine"
    assert model.tokenizer(["Shake the PAN"])[0, :4].tolist() == [0, 0, 3, 0]


def test_keys_that_do_not_fit_are_named_as_in_the_file(tmp_path, tensors):
    content = aligned(tensors, frozen=True)
    del content["s3d.mixed_3b.conv_b0.bn1.scale"]
    content["s3d.conv_2b.bn1.weight"] = content.pop("s3d.conv_2b.bn1.scale")
    content["target.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load_published(write(tmp_path, content))
    assert caught.value.missing == ("s3d.conv_2b.bn1.scale", "s3d.mixed_3b.conv_b0.bn1.scale")
    assert caught.value.unexpected == ("s3d.conv_2b.bn1.weight", "target.weight")


def test_a_missing_tower_is_named_as_in_the_file(tmp_path, tensors):
    content = {key: value for key, value in aligned(tensors, frozen=True).items() if "text_module" not in key}
    with pytest.raises(CheckpointError) as caught:
        load_published(write(tmp_path, content))
    assert "s3d.text_module.fc1.weight" in caught.value.missing
