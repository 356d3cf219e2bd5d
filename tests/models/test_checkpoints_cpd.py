"""Published files of CPD and of the ResNeXt: told apart, read off, filled in, refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import narravid
from fidelity.fill import GOLDEN, published_entries
from models.small_cpd import PIECES, small_classifier, small_cpd, small_extractor
from narravid.errors import AnnotationError, CheckpointError
from narravid.models.checkpoints import PUBLISHED_FAMILIES, load_published
from narravid.models.checkpoints_cpd import (
    CPD_CLASSIFIER_FAMILY,
    CPD_FAMILY,
    published_state_dict,
    read_memory_bank,
)
from narravid.models.checkpoints_resnet3d import published_classifier_state_dict
from narravid.models.checkpoints_resnext import RESNEXT_FAMILY
from narravid.models.cpd import CPDDualEncoder
from narravid.models.hub import save_model
from narravid.models.resnet3d import BLOCKS_OF_DEPTH, ResNet3DConfig
from narravid.models.resnext3d import ResNeXt3DConfig
from narravid.models.video_classifier import (
    CPDClassifier,
    CPDClassifierConfig,
    ResNeXtExtractor,
    ResNeXtExtractorConfig,
)

Tensors = dict[str, torch.Tensor]

MEMORY = {
    "Z_v": torch.tensor([2.5]),
    "Z_t": torch.tensor([-1.0]),
    "vis_memory": torch.ones(9, 6),
    "text_memory": torch.zeros(9, 6),
}


def write(folder: Path, tensors: Tensors, *, nested: bool = True, pieces: bool = True) -> Path:
    path = folder / "checkpoint.pth.tar"
    prefixed = {f"module.{key}": tensor for key, tensor in tensors.items()}
    content = {"epoch": 3, "arch": "resnet50", "state_dict": prefixed, "optimizer": {"state": {}}}
    torch.save(content if nested else tensors, path)
    if pieces:
        PIECES.save(folder / "bert-base-uncased-vocab.txt")
    return path


@pytest.fixture(scope="module")
def tensors() -> Callable[[], Tensors]:
    published = {**MEMORY, **published_state_dict(small_cpd())}
    return lambda: dict(published)


# ---------------------------------------------------------------- families


@pytest.mark.parametrize(
    ("entries", "family"),
    [
        ("cpd_model", CPD_FAMILY),
        ("cpd_model_small", CPD_FAMILY),
        ("cpd_resnet18_A", CPD_CLASSIFIER_FAMILY),
        ("cpd_resnet18_B", CPD_CLASSIFIER_FAMILY),
        ("cpd_resnet50_A", CPD_CLASSIFIER_FAMILY),
        ("cpd_resnet50_B", CPD_CLASSIFIER_FAMILY),
        ("videocnn_resnext101", RESNEXT_FAMILY),
    ],
)
def test_exactly_one_family_recognises_a_file(entries, family):
    described = {
        key.removeprefix("module."): torch.empty(shape, device="meta")
        for key, shape, _ in published_entries(entries)
    }
    assert [known for known in PUBLISHED_FAMILIES if known.recognises(described)] == [family]


def test_no_other_published_file_is_taken_for_one_of_these():
    own = {"cpd_model", "cpd_model_small", "videocnn_resnext101"} | {
        f"cpd_resnet{depth}_{shortcut}" for depth in (18, 50) for shortcut in "AB"
    }
    others = {path.stem for path in (GOLDEN / "keys").glob("*.json")} - own
    assert others
    for name in others:
        described = {key: torch.empty(shape, device="meta") for key, shape, _ in published_entries(name)}
        for family in (CPD_FAMILY, CPD_CLASSIFIER_FAMILY, RESNEXT_FAMILY):
            assert not family.recognises(described), (name, family.name)


def test_a_2d_resnet_is_none_of_these():
    flat = {
        "conv1.weight": torch.empty(64, 3, 7, 7),
        "layer1.0.conv1.weight": torch.empty(64, 64, 1, 1),
        "layer1.0.conv2.weight": torch.empty(64, 64, 3, 3),
    }
    assert not CPD_CLASSIFIER_FAMILY.recognises(flat)
    assert not RESNEXT_FAMILY.recognises(flat)


# ---------------------------------------------------------------- the video-text model


@pytest.mark.parametrize("nested", [True, False])
def test_a_model_comes_back(tmp_path, tensors, nested):
    opened = load_published(write(tmp_path, tensors(), nested=nested))
    original = small_cpd()
    assert isinstance(opened, CPDDualEncoder)
    assert not opened.training
    assert opened.config.text == original.config.text
    assert opened.config.video == original.config.video
    assert opened.config.max_tokens == 12  # as many as there are positions, 64 where these are more
    assert opened.pieces == PIECES
    saved, read = original.state_dict(), opened.state_dict()
    assert list(saved) == list(read)
    assert all(torch.equal(saved[key], read[key]) for key in saved)


def test_an_opened_model_can_be_trained_and_saved(tmp_path, tensors):
    model = load_published(write(tmp_path, tensors()))
    save_model(model, tmp_path / "model")
    assert narravid.load(tmp_path / "model").weights_hash == model.weights_hash
    model.train().encode_text(["add oil", "the pan"]).sum().backward()
    assert all(weight.grad is not None for weight in model.text.parameters())


def test_keys_that_are_no_weights_are_known(tmp_path, tensors):
    extra = {"textual_encoder.embeddings.position_ids": torch.arange(12)[None]}
    with_extra = load_published(write(tmp_path, tensors() | extra))
    without_memory = {key: tensor for key, tensor in tensors().items() if key not in MEMORY}
    assert load_published(write(tmp_path, without_memory)).weights_hash == with_extra.weights_hash


def test_the_memory_bank(tmp_path, tensors):
    path = write(tmp_path, tensors())
    state = read_memory_bank(path)
    assert list(state) == ["video_memory", "text_memory", "video_normaliser", "text_normaliser"]
    assert torch.equal(state["video_memory"], MEMORY["vis_memory"])
    assert torch.equal(state["text_memory"], MEMORY["text_memory"])
    assert (state["video_normaliser"].item(), state["text_normaliser"].item()) == (2.5, -1.0)


def test_a_file_without_memory_bank(tmp_path, tensors):
    content = {key: tensor for key, tensor in tensors().items() if key not in ("Z_v", "text_memory")}
    with pytest.raises(CheckpointError, match="no memory bank in it") as caught:
        read_memory_bank(write(tmp_path, content))
    assert caught.value.missing == ("text_memory", "Z_v")


@pytest.mark.parametrize(
    "change", [{"vis_memory": torch.zeros(8, 6)}, {"vis_memory": torch.zeros(9)}, {"Z_t": torch.zeros(2)}]
)
def test_a_memory_bank_of_another_shape_is_refused(tmp_path, tensors, change):
    with pytest.raises(CheckpointError, match=r"expected two memories \(N, D\)"):
        read_memory_bank(write(tmp_path, tensors() | change))


def test_missing_and_unexpected_keys_are_listed(tmp_path, tensors):
    content = tensors() | {"visual_encoder.fc.weight": torch.zeros(2, 32)}
    del content["text_emb.1.running_var"]
    with pytest.raises(CheckpointError) as caught:
        load_published(write(tmp_path, content))
    assert caught.value.missing == ("text_emb.1.running_var",)
    assert caught.value.unexpected == ("visual_encoder.fc.weight",)


def test_a_missing_tower_is_named(tmp_path, tensors):
    content = {key: tensor for key, tensor in tensors().items() if "textual" not in key}
    with pytest.raises(CheckpointError, match="parts of the network") as caught:
        load_published(write(tmp_path, content))
    assert "textual_encoder.embeddings.word_embeddings.weight" in caught.value.missing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_emb.3.weight": torch.zeros(6)}, "expected matrices"),
        ({"vis_emb.bias": torch.zeros(7)}, r"vis_emb.bias is \(7,\), expected \(6,\)"),
        (
            {"textual_encoder.embeddings.word_embeddings.weight": torch.zeros(11, 25)},
            r"num_heads \(12\) must divide hidden_dim \(25\)",
        ),
        ({"visual_encoder.conv1.weight": torch.zeros(4, 3, 7, 7)}, "is not the stem of a 3-D ResNet"),
        ({"visual_encoder.layer4.1.conv1.weight": torch.zeros(1)}, r"no 3-D ResNet .* \(1, 1, 1, 2\)"),
    ],
)
def test_other_shapes_are_refused(tmp_path, tensors, change, message):
    with pytest.raises(CheckpointError, match=message):
        load_published(write(tmp_path, tensors() | change))


def test_the_word_pieces_must_be_there_and_as_many(tmp_path, tensors):
    path = write(tmp_path, tensors(), pieces=False)
    with pytest.raises(CheckpointError, match=r"bert-base-uncased-vocab.txt or vocab.txt"):
        load_published(path)
    (tmp_path / "vocab.txt").write_text("\n".join([*PIECES.pieces, "more"]))
    with pytest.raises(CheckpointError, match="has 12 word pieces, the weights have vectors for 11"):
        load_published(path)
    (tmp_path / "vocab.txt").write_text(json.dumps(PIECES.pieces))
    with pytest.raises(AnnotationError, match=r"vocab\.txt"):
        load_published(path)
    elsewhere = tmp_path / "lists"
    elsewhere.mkdir()
    PIECES.save(elsewhere / "pieces.txt")
    assert load_published(path, elsewhere / "pieces.txt").pieces == PIECES


# ---------------------------------------------------------------- classifiers


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("depth", BLOCKS_OF_DEPTH)
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_depth_shortcut_and_sizes_of_a_classifier(tmp_path, depth, shortcut, nested):
    video = ResNet3DConfig(depth, shortcut, stem_channels=2)
    original = small_classifier(CPDClassifierConfig(5, video=video))
    published = published_classifier_state_dict(original)
    opened = load_published(write(tmp_path, published, nested=nested))
    assert isinstance(opened, CPDClassifier)
    assert not opened.training
    assert opened.config == original.config
    reopened = published_classifier_state_dict(opened)
    assert list(reopened) == list(published)
    assert all(torch.equal(reopened[key], published[key]) for key in published)


def test_a_resnext_comes_back(tmp_path, generator):
    original = small_extractor()
    opened = load_published(write(tmp_path, published_classifier_state_dict(original), nested=False))
    assert isinstance(opened, ResNeXtExtractor)
    assert not opened.training
    assert opened.config == original.config
    clips = torch.randint(0, 256, (1, 3, 16, 32, 32), generator=generator, dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(opened.video_features(clips), original.video_features(clips))


def test_a_resnext_with_shortcut_a(tmp_path):
    video = ResNeXt3DConfig((1, 1, 1, 1), num_groups=2, stem_channels=2, shortcut="A")
    original = ResNeXtExtractor(ResNeXtExtractorConfig(video=video))
    opened = load_published(write(tmp_path, published_classifier_state_dict(original)))
    assert opened.config == original.config


def test_files_from_before_batches_were_counted(tmp_path):
    content = published_classifier_state_dict(small_extractor())
    old = {key: tensor for key, tensor in content.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(content)
    model = load_published(write(tmp_path, old))
    assert model.weights_hash == small_extractor().weights_hash
    old["bn1.num_batches_tracked"] = torch.tensor(3)
    with pytest.raises(CheckpointError) as caught:  # some without the others is a damaged file
        load_published(write(tmp_path, old))
    assert "layer1.0.bn1.num_batches_tracked" in caught.value.missing


@pytest.mark.parametrize("make", [small_classifier, small_extractor], ids=["CPD", "ResNeXt"])
def test_damaged_classifiers_are_refused(tmp_path, make):
    content = published_classifier_state_dict(make())
    without = {key: tensor for key, tensor in content.items() if key != "fc.weight"}
    with pytest.raises(CheckpointError, match="the network has no classifier") as caught:
        load_published(write(tmp_path, without))
    assert caught.value.missing == ("fc.weight",)
    with pytest.raises(CheckpointError, match=r"fc.weight is \(3,\), expected a matrix"):
        load_published(write(tmp_path, content | {"fc.weight": torch.zeros(3)}))
    with pytest.raises(CheckpointError) as caught:
        load_published(write(tmp_path, content | {"more": torch.zeros(1)}))
    assert caught.value.unexpected == ("more",)
    del content["layer3.0.bn1.bias"]
    with pytest.raises(CheckpointError) as caught:
        load_published(write(tmp_path, content))
    assert caught.value.missing == ("layer3.0.bn1.bias",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer1.0.conv2.weight": torch.zeros(16, 5, 3, 3, 3)}, r"\(16, 5, 3, 3, 3\), expected"),
        ({"layer1.0.conv2.weight": torch.zeros(16, 0, 3, 3, 3)}, r"\(16, 0, 3, 3, 3\)"),
        ({"layer1.0.conv2.weight": torch.zeros(27, 1, 3, 3, 3)}, r"num_groups \(27\) must divide"),
    ],
)
def test_groups_that_fit_no_resnext_are_refused(tmp_path, change, message):
    content = published_classifier_state_dict(small_extractor()) | change
    with pytest.raises(CheckpointError, match=message):
        load_published(write(tmp_path, content))


def test_a_resnext_without_its_last_layer_is_refused(tmp_path):
    content = published_classifier_state_dict(small_extractor())
    content = {key: tensor for key, tensor in content.items() if "layer4" not in key}
    with pytest.raises(CheckpointError, match="no ResNeXt has these layers"):
        load_published(write(tmp_path, content))
