"""Exactly one family knows each published list of keys, whatever stands before the keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from fidelity.fill import GOLDEN, Entries, published_entries, s3d_entries
from models.plain_resnet2d import resnet_shapes
from narravid.errors import CheckpointError
from narravid.models.catalogue_entries import ENTRIES
from narravid.models.checkpoints import PUBLISHED_FAMILIES, family_of_file
from narravid.models.checkpoints_files import PARALLEL_PREFIX, PublishedFile, open_published
from narravid.text.words import Vocabulary

S3D = "S3D text-video network"
S3D_ALIGNED = "S3D text-video network trained end to end on aligned text (TAN)"
HOWTO100M = "HowTo100M joint embedding of features and text"
CPD = "CPD video-text model"
CPD_CLASSIFIER = "CPD classifier (3-D ResNet, fine-tuned)"
RESNEXT = "3-D ResNeXt feature extractor of HowTo100M"
RESNET = "2-D ResNet feature extractor of HowTo100M"
TAN = "temporal alignment network (TAN)"
VICLIP = "ViCLIP"

FAMILY_OF_LIST = {
    "cpd_model": CPD,
    "cpd_model_small": CPD,
    "cpd_resnet18_A": CPD_CLASSIFIER,
    "cpd_resnet18_B": CPD_CLASSIFIER,
    "cpd_resnet50_A": CPD_CLASSIFIER,
    "cpd_resnet50_B": CPD_CLASSIFIER,
    "howto100m_net": HOWTO100M,
    "howto100m_net_small": HOWTO100M,
    "howto100m_net_small_sentence24": HOWTO100M,
    "tan_aligner_e2d2_head": TAN,
    "tan_aligner_e3d3_head": TAN,
    "tan_aligner_e6d6": TAN,
    "tan_aligner_e6d6_head": TAN,
    "tan_e2e": S3D_ALIGNED,
    "tan_e2e_batchnorm": S3D_ALIGNED,
    "viclip_b": VICLIP,
    "viclip_l": VICLIP,
    "videocnn_resnext101": RESNEXT,
    # Towers by themselves, which nobody publishes as files.
    "viclip_text_small": None,
    "viclip_text_small2": None,
    "viclip_vision_small": None,
    "viclip_vision_small2": None,
}
S3D_LISTS = ("s3d_howto100m", "milnce_s3d", "milnce_s3d_space_to_depth", "vt_twins_s3d")


def tensors_of(entries: Entries, *, before: str = "", device: str = "meta") -> dict[str, torch.Tensor]:
    """Tensors of the right shapes, by default without numbers; the prefix of parallel training removed."""
    return {
        (before + key).removeprefix(PARALLEL_PREFIX): torch.zeros(
            shape, dtype=getattr(torch, dtype), device=device
        )
        for key, shape, dtype in entries
    }


def families_of(tensors: dict[str, torch.Tensor]) -> list[str]:
    return [family.name for family in PUBLISHED_FAMILIES if family.recognises(tensors)]


def test_every_list_of_keys_is_here():
    assert {path.stem for path in (GOLDEN / "keys").glob("*.json")} == set(FAMILY_OF_LIST)


@pytest.mark.parametrize("name", FAMILY_OF_LIST)
def test_one_family_knows_each_published_list(name):
    expected = FAMILY_OF_LIST[name]
    assert families_of(tensors_of(published_entries(name))) == ([expected] if expected else [])


@pytest.mark.parametrize("container", ["flat", "state_dict", "model"])
@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("name", ["howto100m_net_small", "cpd_model_small", "tan_aligner_e2d2_head"])
def test_containers_and_parallel_training_do_not_matter(tmp_path, name, container, parallel):
    entries = published_entries(name)
    before = PARALLEL_PREFIX if parallel and not entries[0][0].startswith(PARALLEL_PREFIX) else ""
    # The numbers do not matter here, and nothing is as small as one number for all.
    tensors = {before + key: torch.zeros(min(shape, (1,))) for key, shape, _ in entries}
    path = tmp_path / "weights.pth"
    torch.save(tensors if container == "flat" else {container: tensors, "epoch": 3}, path)
    file = open_published(path)
    assert list(file.tensors) == [key.removeprefix(PARALLEL_PREFIX) for key, _, _ in entries]
    assert families_of(file.tensors) == [FAMILY_OF_LIST[name]]


@pytest.mark.parametrize("name", S3D_LISTS)
def test_one_family_knows_the_lists_of_s3d(name):
    assert families_of(tensors_of(s3d_entries(name))) == [S3D]


@pytest.mark.parametrize("name", [name for name, family in FAMILY_OF_LIST.items() if family == TAN])
@pytest.mark.parametrize("sentence_model", ["bert.", "lang_model."])
@pytest.mark.parametrize("twin", [False, True])
def test_the_aligner_under_all_its_names(name, sentence_model, twin):
    entries = [
        (re.sub(r"^bert\.", sentence_model, key), shape, dtype)
        for key, shape, dtype in published_entries(name)
    ]
    if twin:
        tensors = tensors_of(entries, before="online.") | tensors_of(entries, before="target.")
    else:
        tensors = tensors_of(entries)
    assert families_of(tensors) == [TAN]


def test_the_image_network_of_torchvision_is_none_of_those_in_three_dimensions():
    shapes = resnet_shapes((3, 8, 36, 3), (256, 512, 1024, 2048), stem_dim=64, num_classes=1000)
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes}
    assert families_of(tensors) == [RESNET]
    deep = {key: tensor[:, :, None] if tensor.ndim == 4 else tensor for key, tensor in tensors.items()}
    assert RESNET not in families_of(deep)


def test_other_networks_are_known_by_none(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(torch.nn.TransformerEncoderLayer(8, 2).state_dict(), path)
    file = open_published(path)
    assert families_of(file.tensors) == []
    with pytest.raises(CheckpointError, match="not a checkpoint of a known family") as caught:
        family_of_file(file)
    for family in PUBLISHED_FAMILIES:
        assert family.name in str(caught.value)


def test_families_have_names_of_their_own():
    names = [family.name for family in PUBLISHED_FAMILIES]
    assert len(names) == len(set(names))
    assert set(names) == {S3D, S3D_ALIGNED, HOWTO100M, CPD, CPD_CLASSIFIER, RESNEXT, RESNET, TAN, VICLIP}


def assert_faults_are_listed(name: str, asset: Path | None, *, device: str = "meta") -> None:
    """A key taken away and a foreign one added are both named."""
    tensors = tensors_of(published_entries(name), device=device)
    family = next(family for family in PUBLISHED_FAMILIES if family.recognises(tensors))
    lacking = next(key for key in tensors if key.endswith(".bias"))
    del tensors[lacking]
    tensors["foreign.weight"] = torch.empty(3, device="meta")
    with pytest.raises(CheckpointError) as caught:
        family.build(PublishedFile(Path("weights.pth"), tensors, asset_path=asset))
    assert any(lacking in key for key in caught.value.missing)
    assert any("foreign.weight" in key for key in caught.value.unexpected)


@pytest.mark.parametrize(
    "name", ["howto100m_net_small", "cpd_resnet18_A", "cpd_resnet50_B", "videocnn_resnext101"]
)
def test_what_lacks_and_what_is_too_much_is_listed(name):
    assert_faults_are_listed(name, None)


@pytest.mark.parametrize(
    "name", ["tan_aligner_e2d2_head", "tan_aligner_e6d6", "tan_e2e", "tan_e2e_batchnorm"]
)
def test_the_same_of_files_with_a_word_list(name, tmp_path):
    rows = next(shape[0] for key, shape, _ in published_entries(name) if key.endswith("word_embd.weight"))
    Vocabulary([f"word{number}" for number in range(rows - 1)]).save(tmp_path / "words.npy")
    # The aligner looks at the numbers of its positions.
    assert_faults_are_listed(name, tmp_path / "words.npy", device="cpu" if "aligner" in name else "meta")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "tokenizer"),
    [
        ("viclip_b", "bpe_simple_vocab_16e6.txt.gz"),
        ("viclip_l", "bpe_simple_vocab_16e6.txt.gz"),
        ("cpd_model", "bert-base-uncased-vocab.txt"),
    ],
)
def test_the_same_of_files_with_a_tokenizer(name, tokenizer, shared_data):
    assert_faults_are_listed(name, shared_data / "tokenizers" / tokenizer)


DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "checkpoints.md"


@pytest.mark.parametrize("family", PUBLISHED_FAMILIES, ids=lambda family: family.name)
def test_the_document_knows_every_family(family):
    assert f"| {family.name} |" in DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_the_document_knows_every_published_name(entry):
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    (row,) = [line for line in lines if line.startswith("|") and f"`{entry.name}`" in line.split("|")[1]]
    assert entry.licence in row
    if entry.exact_size and entry.known_bytes:
        assert f"{entry.known_bytes:,} bytes" in row
