"""Frozen batch normalisation: evaluation's numbers in every mode, names and tensors as before."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn

from models.small_models import small_config, small_model
from narravid.models.frozen_batch_norm import FrozenBatchNorm2d, freeze_batch_norm
from narravid.models.hub import load, save_model

KINDS = [(nn.BatchNorm1d, (6, 3)), (nn.BatchNorm2d, (6, 3, 4, 5)), (nn.BatchNorm3d, (6, 3, 2, 4, 5))]


@pytest.mark.parametrize(("kind", "shape"), KINDS, ids=["1d", "2d", "3d"])
def test_training_mode_gives_what_evaluation_gives(kind, shape, generator):
    network = nn.Sequential(kind(3, eps=1e-3, momentum=0.3), nn.Dropout(0.5))
    network[0].running_mean.normal_(generator=generator)
    network[0].running_var.uniform_(0.5, 2, generator=generator)
    original = copy.deepcopy(network).eval()
    tensors = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    assert freeze_batch_norm(network) == 1
    network.train()
    assert network[1].training
    x = torch.randn(shape, generator=generator)
    assert torch.equal(network[0](x), original(x))
    assert list(network.state_dict()) == list(tensors)
    assert all(torch.equal(network.state_dict()[key], tensors[key]) for key in tensors)


def test_scales_and_shifts_stay_the_same_trained_parameters(generator):
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    before = list(network.parameters())
    network[1][0].bias.requires_grad_(False)
    freeze_batch_norm(network)
    assert all(a is b for a, b in zip(before, network.parameters(), strict=True))
    network(torch.randn(2, 3, 4, 4, generator=generator)).square().sum().backward()
    assert network[1][0].weight.grad.abs().sum() > 0
    assert network[1][0].bias.grad is None


def test_freezing_twice_freezes_nothing_more():
    network = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2, affine=False))
    assert freeze_batch_norm(network) == 2
    assert freeze_batch_norm(network) == 0
    assert all(type(child) is FrozenBatchNorm2d for child in network)


def test_without_running_statistics_there_is_nothing_to_keep():
    with pytest.raises(ValueError, match="running statistics"):
        freeze_batch_norm(nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)))


@pytest.mark.parametrize("stem", ["space_to_depth", "plain"])
def test_s3d_trains_on_its_kept_statistics_and_comes_back_from_a_folder(tmp_path, stem, generator):
    config = small_config(stem=stem)
    frozen_config = dataclasses.replace(
        config, video=dataclasses.replace(config.video, frozen_batch_norm=True)
    )
    model, plain = small_model(frozen_config), small_model(config)
    assert list(model.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(model.state_dict())
    save_model(model.train(), tmp_path / "model")
    clips = torch.randint(0, 256, (2, 3, 4, 16, 16), generator=generator, dtype=torch.uint8)
    with torch.inference_mode():
        expected = plain.encode_video(clips)
        assert torch.equal(model.encode_video(clips), expected)
        assert not torch.allclose(plain.train().encode_video(clips), expected)
    kept = {key: tensor.clone() for key, tensor in model.named_buffers()}
    model.encode_video(clips).square().sum().backward()
    assert all(torch.equal(tensor, kept[key]) for key, tensor in model.named_buffers())
    opened = load(tmp_path / "model")
    assert opened.weights_hash == model.weights_hash
    with torch.inference_mode():
        assert torch.equal(opened.train().encode_video(clips), expected)
