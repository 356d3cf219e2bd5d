"""Published aligners: what is opened of both stages, and how everything else is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.small_aligners import WORDS, small_aligner, small_inputs
from narravid.errors import CheckpointError
from narravid.models.aligner import TemporalAligner
from narravid.models.checkpoints import PUBLISHED_FAMILIES, load_published
from narravid.models.checkpoints_files import PublishedFile, open_published
from narravid.models.checkpoints_tan import TAN_FAMILY, build_tan, build_tan_twin, published_tan_key
from narravid.models.positions import sine_positions

Tensors = dict[str, torch.Tensor]


def published(*, seed: int = 5, **changes: object) -> Tensors:
    """A small aligner under published names, with what every file has besides."""
    model = small_aligner(seed=seed, **changes)
    tensors = {published_tan_key(key): tensor for key, tensor in model.state_dict().items()}
    unused = {
        "text_temporal_pos_embed": torch.ones(20, 16),
        "mlp.weight": torch.ones(16, 16),
        "mlp.bias": torch.ones(16),
    }
    return {**unused, **tensors}


def two_stages(online: Tensors, target: Tensors) -> Tensors:
    return {
        **{f"online.{key}": tensor for key, tensor in online.items()},
        **{f"target.{key}": tensor for key, tensor in target.items()},
    }


def renamed(tensors: Tensors) -> Tensors:
    return {key.replace("bert.", "lang_model."): tensor for key, tensor in tensors.items()}


def prefixed(tensors: Tensors) -> Tensors:
    return {f"module.{key}": tensor for key, tensor in tensors.items()}


def write(
    folder: Path, tensors: Tensors, *, flat: bool = False, words: tuple[str, ...] | None = WORDS
) -> Path:
    path = folder / "epoch19.pth.tar"
    content = {"epoch": 19, "state_dict": tensors, "best_acc": 0.3, "optimizer": {}, "iteration": 7}
    torch.save(tensors if flat else content, path)
    if words is not None:
        np.save(folder / "s3d_dict.npy", np.array(words))
    return path


def opened(folder: Path, tensors: Tensors) -> PublishedFile:
    return open_published(write(folder, tensors))


def assert_same(model: TemporalAligner, expected: TemporalAligner) -> None:
    ours, theirs = model.state_dict(), expected.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert model.weights_hash == expected.weights_hash


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("names", ["bert", "lang_model"])
@pytest.mark.parametrize("container", ["nested", "flat", "prefixed"])
def test_stage_one(tmp_path, generator, head, names, container):
    expected = small_aligner(alignability_head=head)
    tensors = published(alignability_head=head)
    tensors = renamed(tensors) if names == "lang_model" else tensors
    tensors = prefixed(tensors) if container == "prefixed" else tensors
    path = write(tmp_path, tensors, flat=container == "flat")
    model = load_published(path)
    assert isinstance(model, TemporalAligner)
    assert not model.training
    assert dataclass_without_words(model) == dataclass_without_words(expected)
    features, text = small_inputs(generator)
    with torch.inference_mode():
        assert torch.equal(model.align(features, text).joint, expected.align(features, text).joint)


def dataclass_without_words(model: TemporalAligner) -> dict[str, object]:
    """The configuration but for the number of words read, which no file shows."""
    settings = {name: getattr(model.config, name) for name in model.config.__dataclass_fields__}
    assert settings.pop("max_words") in (5, 32)
    return settings


@pytest.mark.parametrize("names", ["bert", "lang_model"])
def test_stage_two_opens_as_the_network_that_was_trained(tmp_path, names):
    tensors = two_stages(published(seed=5), published(seed=6))
    model = load_published(write(tmp_path, renamed(tensors) if names == "lang_model" else tensors))
    assert_same(model, small_aligner(seed=5, max_words=32))


def test_both_networks_of_stage_two_can_be_had(tmp_path):
    file = opened(tmp_path, prefixed(two_stages(published(seed=5), published(seed=6))))
    assert_same(build_tan(file), small_aligner(seed=5, max_words=32))
    assert_same(build_tan(file, branch="target"), small_aligner(seed=6, max_words=32))
    twin = build_tan_twin(file, momentum=0.99)
    assert twin.momentum == 0.99
    assert_same(twin.online, small_aligner(seed=5, max_words=32))
    assert_same(twin.target, small_aligner(seed=6, max_words=32))
    assert not any(parameter.requires_grad for parameter in twin.target.parameters())
    assert twin.online.encoders.video_projection.weight.requires_grad
    with pytest.raises(ValueError, match="branch must be one of online, target, got 'teacher'"):
        build_tan(file, branch="teacher")


def test_a_twin_for_stage_two_from_stage_one(tmp_path):
    twin = build_tan_twin(opened(tmp_path, published()))
    assert_same(twin.online, small_aligner(max_words=32))
    assert_same(twin.target, small_aligner(max_words=32))
    assert twin.momentum == 0.999


@pytest.mark.parametrize("alias", ["bert.", "lang_model."])
def test_the_sentence_model_may_be_there_twice(tmp_path, alias):
    tensors = two_stages(published(seed=5), published(seed=6))
    shared = {
        key.replace("online.bert.", alias): tensor
        for key, tensor in tensors.items()
        if key.startswith("online.bert.")
    }
    model = load_published(write(tmp_path, {**tensors, **shared}))
    assert_same(model, small_aligner(seed=5, max_words=32))
    shared[f"{alias}fc1.bias"] = shared[f"{alias}fc1.bias"] + 1
    with pytest.raises(CheckpointError, match="fc1.bias is there twice"):
        load_published(write(tmp_path, {**tensors, **shared}))


def test_positions_of_sentences_are_used_when_asked_for(tmp_path, generator):
    file = opened(tmp_path, published(text_positions=True))
    expected = small_aligner(text_positions=True, max_words=32)
    assert_same(build_tan(file, text_positions=True), expected)
    without = build_tan(file)
    assert without.encoders.text_positions is None
    features, text = small_inputs(generator)
    with torch.inference_mode():
        assert not torch.allclose(without.align(features, text).joint, expected.align(features, text).joint)


def test_sine_positions_are_recognised(tmp_path):
    tensors = published()
    tensors["temporal_pos_embed"] = sine_positions(20, 16) + 1e-6
    model = load_published(write(tmp_path, tensors))
    assert model.config.positions == "sine"
    assert "encoders.video_positions" not in dict(model.named_parameters())


def test_few_joint_layers_have_their_last_one_read(tmp_path):
    tensors = published(num_joint_layers=1, num_encoder_layers=0, alignability_layer=0)
    model = load_published(write(tmp_path, tensors))
    assert (model.config.num_encoder_layers, model.config.num_joint_layers) == (0, 1)
    assert model.alignability_layer == 0


def test_the_opened_model_can_be_trained_on(tmp_path, generator):
    model = load_published(write(tmp_path, published())).train()
    model(*small_inputs(generator)).joint.sum().backward()
    assert model.encoders.video_positions.grad.abs().sum() > 0
    assert not model.text.word_embedding.weight.requires_grad


def test_no_other_family_claims_it():
    for tensors in (published(), two_stages(published(), published())):
        claimed = [family for family in PUBLISHED_FAMILIES if family.recognises(tensors)]
        assert claimed == [TAN_FAMILY]


# ---------------------------------------------------------------- refused


def refusal(folder: Path, tensors: Tensors, **options: object) -> CheckpointError:
    path = write(folder, tensors, **options)
    with pytest.raises(CheckpointError) as caught:
        load_published(path)
    assert str(path) in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "key",
    [
        "joint_temporal_encoder.resblocks.1.attn.in_proj_bias",
        "ln_video_post_enc.weight",
        "bert.fc1.bias",
        "temporal_pos_embed",
        "mlp.bias",
        "text_temporal_pos_embed",
        "binary_head.bias",
    ],
)
def test_a_missing_key_is_named(tmp_path, key):
    tensors = published()
    del tensors[key]
    assert refusal(tmp_path, tensors).missing == (key,)


@pytest.mark.parametrize("key", ["ln_extra.weight", "video_temporal_encoder.resblocks.0.attn.q", "s3d.fc"])
def test_an_unexpected_key_is_named(tmp_path, key):
    error = refusal(tmp_path, {**published(), key: torch.zeros(1)})
    assert error.unexpected == (key,)


def test_a_gap_between_blocks_is_named(tmp_path):
    tensors = {
        key.replace("joint_temporal_encoder.resblocks.2.", "joint_temporal_encoder.resblocks.3."): tensor
        for key, tensor in published().items()
    }
    missing = refusal(tmp_path, tensors).missing
    assert len(missing) == 12
    assert all(key.startswith("joint_temporal_encoder.resblocks.2.") for key in missing)


@pytest.mark.parametrize(
    ("key", "shape", "named"),
    [
        ("ln_text_init.weight", (5,), r"ln_text_init.weight is \(5,\), expected \(16,\)"),
        ("mlp.weight", (16, 4), r"mlp.weight is \(16, 4\), expected \(16, 16\)"),
        ("text_temporal_pos_embed", (3, 16), r"text_temporal_pos_embed is \(3, 16\), expected \(20, 16\)"),
        ("video_pre_proj.weight", (3,), "expected matrices"),
        ("video_pre_proj.weight", (12, 12), "its sizes make no network: num_heads must divide embed_dim"),
    ],
)
def test_a_wrong_shape_is_named(tmp_path, key, shape, named):
    path = write(tmp_path, {**published(), key: torch.zeros(shape)})
    with pytest.raises(CheckpointError, match=named):
        load_published(path)


def test_networks_of_stage_two_that_differ_are_refused(tmp_path):
    tensors = two_stages(published(), published())
    del tensors["target.mlp.bias"]
    assert refusal(tmp_path, tensors).missing == ("target.mlp.bias",)
    tensors = {key: tensor for key, tensor in tensors.items() if key.startswith("online.")}
    assert "target.temporal_pos_embed" in refusal(tmp_path, tensors).missing


def test_anything_outside_the_two_networks_is_refused(tmp_path):
    tensors = {**two_stages(published(), published()), "bert.fc9.bias": torch.zeros(1), "m": torch.zeros(1)}
    assert refusal(tmp_path, tensors).unexpected == ("bert.fc9.bias", "m")


def test_a_sentence_model_under_both_names_is_refused(tmp_path):
    tensors = {**published(), "lang_model.fc1.bias": torch.zeros(14)}
    assert "as bert. and as lang_model." in str(refusal(tmp_path, tensors))


def test_a_word_list_of_another_size_is_refused(tmp_path):
    error = refusal(tmp_path, published(), words=(*WORDS, "pour"))
    assert "s3d_dict.npy" in str(error)
    assert "7 words" in str(error)


def test_a_missing_word_list_is_asked_for(tmp_path):
    assert "its word list is not beside it; put s3d_dict.npy" in str(
        refusal(tmp_path, published(), words=None)
    )


@pytest.mark.parametrize("number", ["3000000000", "²", "9" * 5000])
def test_a_block_of_an_absurd_number_is_listed_and_not_built(tmp_path, number):
    key = f"joint_temporal_encoder.resblocks.{number}.ln_1.weight"
    with pytest.raises(CheckpointError) as caught:
        load_published(write(tmp_path, {**published(), key: torch.ones(16)}))
    assert key in caught.value.unexpected
