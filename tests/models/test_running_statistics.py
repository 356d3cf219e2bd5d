"""Running statistics stay as they are inside the block; outputs and gradients are those of plain training."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn

from models.small_models import small_config, small_model
from narravid.models.frozen_batch_norm import FrozenBatchNorm2d
from narravid.models.running_statistics import running_statistics_kept


def buffers(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left | right)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [(nn.BatchNorm1d, (6, 3)), (nn.BatchNorm2d, (6, 3, 4, 5)), (nn.BatchNorm3d, (6, 3, 2, 4, 5))],
    ids=["1d", "2d", "3d"],
)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_statistics_are_used_and_running_ones_kept(kind, shape, momentum, generator):
    network = nn.Sequential(kind(3, momentum=momentum))
    twin = copy.deepcopy(network)
    x = torch.randn(shape, generator=generator) * 3 + 1
    before = buffers(network)
    with running_statistics_kept(network):
        kept = network(x)
    assert same(buffers(network), before)
    # A naive normalisation with the batch's own moments.
    axes = [axis for axis in range(x.ndim) if axis != 1]
    naive = (x - x.mean(axes, keepdim=True)) / (x.var(axes, correction=0, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(kept, naive, atol=1e-5)
    # Afterwards training goes on as if the block had not been.
    assert torch.equal(network(x), twin(x))
    assert same(buffers(network), buffers(twin))
    assert not same(buffers(network), before)


def test_evaluation_and_frozen_ones_go_on_with_the_running_statistics(generator):
    network = nn.Sequential(nn.BatchNorm2d(3), FrozenBatchNorm2d(3)).train()
    for norm in network:
        norm.running_mean.normal_(generator=generator)
    x = torch.randn(2, 3, 4, 4, generator=generator)
    network[0].eval()
    expected = network(x)
    before = buffers(network)
    with running_statistics_kept(network):
        assert torch.equal(network(x), expected)
    assert same(buffers(network), before)


def test_blocks_nest_and_what_tracked_nothing_goes_on_tracking_nothing(generator):
    network = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False))
    before = buffers(network)
    x = torch.randn(5, 2, generator=generator)
    with running_statistics_kept(network):
        with running_statistics_kept(network[0]):
            network(x)
        network(x)
        assert same(buffers(network), before)
    assert [norm.track_running_stats for norm in network] == [True, False]


def test_an_error_inside_ends_the_block():
    network = nn.BatchNorm1d(2)
    with pytest.raises(ValueError, match="expected 2D"), running_statistics_kept(network):
        network(torch.zeros(2))
    assert network.track_running_stats


@pytest.mark.parametrize("frozen", [False, True])
def test_the_gradients_of_a_dual_encoder_are_those_of_plain_training(frozen, generator):
    config = small_config()
    video = dataclasses.replace(config.video, frozen_batch_norm=frozen)
    model = small_model(dataclasses.replace(config, video=video)).train()
    clips = torch.randint(0, 256, (2, 3, 4, 16, 16), generator=generator, dtype=torch.uint8)
    before = buffers(model)
    with running_statistics_kept(model):
        model.encode_video(clips).square().sum().backward()
    assert same(buffers(model), before)
    kept = {name: parameter.grad for name, parameter in model.video.named_parameters()}
    model.zero_grad(set_to_none=True)
    model.encode_video(clips).square().sum().backward()
    assert all(torch.equal(kept[name], p.grad) for name, p in model.video.named_parameters())
    assert same(buffers(model), before) == frozen
