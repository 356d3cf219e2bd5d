"""`narravid convert`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

import narravid
from models.published_files import WORDS_FILE, write_published_s3d
from models.small_aligners import WORDS as ALIGNER_WORDS
from models.small_aligners import small_aligner
from models.small_cpd import PIECES, small_classifier, small_cpd, small_extractor
from models.small_viclip import small_viclip
from narravid.cli.main import main
from narravid.models.checkpoints import PUBLISHED_FAMILIES, family_of_file
from narravid.models.checkpoints_cpd import published_state_dict as published_cpd
from narravid.models.checkpoints_files import open_published
from narravid.models.checkpoints_howto100m import published_howto100m_state_dict
from narravid.models.checkpoints_resnet2d import published_resnet2d_state_dict
from narravid.models.checkpoints_resnet3d import published_classifier_state_dict
from narravid.models.checkpoints_tan import published_tan_key
from narravid.models.checkpoints_viclip import published_key as published_viclip_key
from narravid.models.gated_embedding import GatedDualEncoder, GatedDualEncoderConfig
from narravid.models.resnet2d import ResNet2DConfig, ResNet2DExtractor
from narravid.text.byte_pairs import MERGES_FILE
from narravid.text.words import Vocabulary
from narravid.types import FeatureSpec


def test_it_says_what_it_recognised(tmp_path: Path, capsys):
    path = write_published_s3d(tmp_path / "published")
    words = ["convert", str(path), "--output", str(tmp_path / "model")]
    assert main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    model = narravid.load(tmp_path / "model")
    assert facts["recognised_as"] == "S3D text-video network"
    assert facts["class"] == "S3DDualEncoder"
    assert facts["num_parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts["num_bytes"] == path.stat().st_size
    assert facts["output"] == str(tmp_path / "model")
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert f"{facts['num_parameters']:,}" in shown
    assert facts["sha256"] in shown


def test_the_word_list_may_lie_elsewhere(tmp_path: Path, capsys):
    path = write_published_s3d(tmp_path / "published")
    elsewhere = tmp_path / "words.npy"
    (path.parent / WORDS_FILE).rename(elsewhere)
    words = ["convert", str(path), "--output", str(tmp_path / "model")]
    assert main(words) == 2
    assert "its word list is not beside it" in capsys.readouterr().err
    assert main([*words, "--vocabulary", str(elsewhere)]) == 0
    assert (tmp_path / "model" / "vocabulary.json").exists()


def test_mistakes_are_one_line(tmp_path: Path, capsys):
    path = write_published_s3d(tmp_path / "published")
    cut = tmp_path / "cut.pth"
    cut.write_bytes(path.read_bytes()[:100_000])
    for file, message in (
        (tmp_path, "is a folder; name the published checkpoint file in it"),
        (tmp_path / "absent.pth", "there is no such file"),
        (cut, "was the download cut short? (100000 bytes"),
    ):
        assert main(["convert", str(file), "--output", str(tmp_path / "model")]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert message in said
    assert not (tmp_path / "model").exists()


def write_viclip(folder: Path) -> dict[str, torch.Tensor]:
    model = small_viclip()
    model.tokenizer.save(folder / MERGES_FILE)
    return {published_viclip_key(key): tensor for key, tensor in model.state_dict().items()}


def write_cpd(folder: Path) -> dict[str, torch.Tensor]:
    PIECES.save(folder / "bert-base-uncased-vocab.txt")
    return published_cpd(small_cpd())


def write_aligner(folder: Path) -> dict[str, torch.Tensor]:
    Vocabulary(ALIGNER_WORDS).save(folder / "s3d_dict.npy")
    unused = {"text_temporal_pos_embed": (20, 16), "mlp.weight": (16, 16), "mlp.bias": (16,)}
    tensors = {published_tan_key(key): tensor for key, tensor in small_aligner().state_dict().items()}
    return {**{key: torch.ones(shape) for key, shape in unused.items()}, **tensors}


def write_aligned_s3d(folder: Path) -> dict[str, torch.Tensor]:
    path = write_published_s3d(folder)
    return {f"s3d.{key}": tensor for key, tensor in open_published(path).tensors.items()}


def write_features(folder: Path) -> dict[str, torch.Tensor]:
    table = torch.ones(4, 6)
    Vocabulary(["add", "oil", "pan"]).save(folder / "dict.npy")
    torch.save(table, folder / "word2vec.pth")
    spec = FeatureSpec(("resnet152-imagenet", "resnext101-kinetics"), (4, 4))
    config = GatedDualEncoderConfig(feature_spec=spec, word_dim=6, sentence_dim=10, embed_dim=12)
    return published_howto100m_state_dict(GatedDualEncoder(config))


def write_frames(_: Path) -> dict[str, torch.Tensor]:
    config = ResNet2DConfig(num_blocks=(1, 1, 2, 1), layer_dims=(16, 16, 16, 16), stem_dim=8, num_classes=3)
    return published_resnet2d_state_dict(ResNet2DExtractor(config))


FAMILIES = {
    "S3D text-video network": lambda folder: open_published(write_published_s3d(folder)).tensors,
    "S3D text-video network trained end to end on aligned text (TAN)": write_aligned_s3d,
    "HowTo100M joint embedding of features and text": write_features,
    "CPD video-text model": write_cpd,
    "CPD classifier (3-D ResNet, fine-tuned)": lambda _: published_classifier_state_dict(small_classifier()),
    "2-D ResNet feature extractor of HowTo100M": write_frames,
    "3-D ResNeXt feature extractor of HowTo100M": lambda _: published_classifier_state_dict(
        small_extractor()
    ),
    "temporal alignment network (TAN)": write_aligner,
    "ViCLIP": write_viclip,
}


def test_every_family_is_here():
    assert set(FAMILIES) == {family.name for family in PUBLISHED_FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_becomes_a_folder_of_the_same_model(tmp_path: Path, capsys, family):
    """The hash covers configuration, words and every number."""
    torch.manual_seed(3)
    path, folder = tmp_path / "weights.pth", tmp_path / "model"
    torch.save({"epoch": 3, "state_dict": FAMILIES[family](tmp_path), "optimizer": {"lr": 0.1}}, path)
    assert main(["convert", str(path), "--output", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["recognised_as"] == family == family_of_file(open_published(path)).name
    assert facts["weights_hash"] == narravid.load(path).weights_hash
    for target in (path, folder):
        assert main(["info", str(target), "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown.items() <= {**facts, "kind": "model"}.items()
