"""A copy that only computes: the same numbers, the same name, no training."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from models.forms import FORMS, clips_for, outputs_of
from models.small_cpd import small_cpd
from models.small_models import small_model
from narravid.models.frozen_batch_norm import freeze_batch_norm
from narravid.models.hub import save_model
from narravid.protocols import FeatureExtractor, PixelDualEncoder


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", FORMS)
def test_the_numbers_are_those_of_the_model(name: str, batch: int):
    model = FORMS[name][0]()
    form = model.for_inference()
    clips = clips_for(name, batch)
    for pixels in (clips, clips.float() / 255, clips.contiguous(memory_format=torch.channels_last_3d)):
        expected, given = outputs_of(model, pixels), outputs_of(form, pixels)
        assert expected.keys() == given.keys()
        for method, numbers in expected.items():
            assert given[method].dtype == torch.float32
            assert (given[method] - numbers).abs().max() <= 1e-5 * numbers.abs().max(), method


@pytest.mark.parametrize("name", FORMS)
def test_nothing_is_left_to_normalise_and_the_model_stays_as_it_is(name: str):
    model = FORMS[name][0]()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    form = model.for_inference()
    assert not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in form_video(form).modules())
    assert not any(parameter.requires_grad for parameter in form.parameters())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert any(parameter.requires_grad for parameter in model.parameters())


def form_video(form: nn.Module) -> nn.Module:
    return form.video if hasattr(form, "video") else form.trunk


@pytest.mark.parametrize("name", FORMS)
def test_name_kind_and_settings_stay(name: str):
    model = FORMS[name][0]()
    form = model.for_inference()
    assert type(form) is type(model)
    assert form.weights_hash == model.weights_hash == copy.deepcopy(form).weights_hash
    assert form.clip_spec == model.clip_spec
    assert form.feature_dim == model.feature_dim
    assert not form.training
    for protocol in (PixelDualEncoder, FeatureExtractor):
        assert isinstance(form, protocol) is isinstance(model, protocol)


@pytest.mark.parametrize("name", FORMS)
def test_bfloat16_rounds_the_video_tower_and_gives_float32(name: str):
    model = FORMS[name][0]()
    form = model.for_inference(dtype="bfloat16")
    clips = clips_for(name, 2)
    for method, numbers in outputs_of(model, clips).items():
        given = outputs_of(form, clips)[method]
        assert given.dtype == torch.float32
        difference = (given - numbers).abs().max() / numbers.abs().max()
        assert 1e-5 < difference < 0.1, (method, difference)
    assert form.weights_hash == model.weights_hash


def test_sentences_are_embedded_as_before():
    for model in (small_model(), small_cpd()):
        expected = model.encode_text(["add oil", "the pan"])
        for dtype in ("float32", "bfloat16"):
            torch.testing.assert_close(model.for_inference(dtype=dtype).encode_text(["add oil", "the pan"]),
                                       expected)  # fmt: skip


def test_later_training_of_the_model_changes_nothing():
    model = small_model()
    form = model.for_inference()
    clips = clips_for("S3D, space to depth", 2)
    before = form.encode_video(clips)
    name = form.weights_hash
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.mul_(1.5) if tensor.is_floating_point() else tensor.add_(1)
    assert torch.equal(form.encode_video(clips), before)
    assert form.weights_hash == name != model.weights_hash


def test_a_model_in_training_mode_gives_the_numbers_of_evaluation():
    model = small_model()
    expected = model.encode_video(clips_for("S3D, space to depth", 2))
    form = model.train().for_inference()
    torch.testing.assert_close(form.encode_video(clips_for("S3D, space to depth", 2)), expected)
    assert model.training


def test_frozen_normalisation_is_folded_too():
    model = small_model()
    expected = model.encode_video(clips_for("S3D, space to depth", 2))
    freeze_batch_norm(model.video)
    given = model.for_inference().encode_video(clips_for("S3D, space to depth", 2))
    torch.testing.assert_close(given, expected)


def test_it_cannot_be_trained_saved_or_made_a_form_again(tmp_path):
    form = small_model().for_inference()
    with pytest.raises(ValueError, match="an inference form cannot be trained"):
        form.train()
    assert not form.eval().training
    with pytest.raises(ValueError, match="an inference form cannot be saved"):
        save_model(form, tmp_path / "model")
    with pytest.raises(ValueError, match="is an inference form already"):
        form.for_inference()
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'bfloat16', got 'float16'"):
        small_model().for_inference(dtype="float16")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # of PyTorch, to itself
@pytest.mark.parametrize("name", ["S3D, space to depth", "CPD"])
def test_compiled_kernels_give_the_same_numbers(name: str):
    model = FORMS[name][0]()
    form = model.for_inference(compiled=True)
    clips = clips_for(name, 2)
    for method, numbers in outputs_of(model, clips).items():
        given = outputs_of(form, clips)[method]
        assert (given - numbers).abs().max() <= 1e-5 * numbers.abs().max(), method
