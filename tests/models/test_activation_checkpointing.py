"""Checkpointed networks compute the same, remember less, and count each batch once."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from models.small_aligners import small_aligner, small_inputs
from models.small_cpd import small_cpd, small_cpd_config
from models.small_models import shake_statistics, small_config
from narravid.models.activation_checkpointing import checkpoint_activations
from narravid.models.frozen_batch_norm import freeze_batch_norm
from narravid.models.resnet3d import ResNet3D, ResNet3DConfig
from narravid.models.running_statistics import running_statistics_kept
from narravid.models.s3d import S3D
from narravid.models.transformer import Transformer


def buffers_and_gradients(model: nn.Module) -> dict[str, torch.Tensor | None]:
    state: dict[str, torch.Tensor | None] = {name: buffer.clone() for name, buffer in model.named_buffers()}
    return state | {f"{name}.grad": parameter.grad for name, parameter in model.named_parameters()}


def same(left: dict[str, torch.Tensor | None], right: dict[str, torch.Tensor | None]) -> bool:
    if left.keys() != right.keys():
        return False
    return all(
        torch.equal(left[name], right[name]) if left[name] is not None else right[name] is None
        for name in left
    )


def saved_bytes(forward: Callable[[], torch.Tensor]) -> int:
    """What autograd keeps between the passes, storages counted once."""
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = forward()
    loss.backward()
    return sum(storages.values())


class WithDropout(nn.Module):
    """A transformer with a dropout behind it, whose blocks start and end with random layers."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.stack = nn.Dropout(0.3), Transformer(16, num_layers=4, num_heads=2)
        for block in self.stack.blocks:
            block.activation = nn.Sequential(nn.ReLU(), nn.Dropout(0.5))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.stack(self.before(tokens))


def make_case(name: str, generator: torch.Generator) -> tuple[nn.Module, Callable[[nn.Module], torch.Tensor]]:
    """A small network in training mode and what to make of it."""
    torch.manual_seed(2)
    if name in ("aligner", "distilbert"):
        return language_case(name, generator)
    model: nn.Module
    inputs = torch.rand(2, 3, 4, 16, 16, generator=generator)
    if name == "s3d":
        model = S3D(small_config().video)
    elif name == "dropout":
        model, inputs = WithDropout(), torch.rand(2, 9, 16, generator=generator)
    else:
        model = ResNet3D(ResNet3DConfig(depth=50 if name == "bottlenecks" else 18, stem_channels=4))
    shake_statistics(model)
    return model.train(), lambda network: network(inputs).square().mean()


def language_case(
    name: str, generator: torch.Generator
) -> tuple[nn.Module, Callable[[nn.Module], torch.Tensor]]:
    if name == "aligner":
        features, text = small_inputs(generator)
        return small_aligner().train(), lambda network: network.encode(features, text).joint_text.sum()
    pytest.importorskip("transformers")
    tokens = torch.randint(1, 8, (3, 6), generator=generator)
    model = small_cpd(small_cpd_config(dropout=0.2)).text
    return model.train(), lambda network: (network(tokens) ** 3).sum()


BLOCK_COUNTS = {"s3d": 6, "basic blocks": 8, "bottlenecks": 16, "dropout": 4, "aligner": 5, "distilbert": 2}


@pytest.mark.parametrize("name", BLOCK_COUNTS)
@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_buffers_and_names_are_the_same_bit_for_bit(name, frozen, generator):
    model, loss = make_case(name, generator)
    if frozen:
        freeze_batch_norm(model)
    checkpointed = copy.deepcopy(model)
    assert checkpoint_activations(checkpointed) == BLOCK_COUNTS[name]
    assert checkpoint_activations(checkpointed) == 0
    assert list(checkpointed.state_dict()) == list(model.state_dict())
    copied = copy.deepcopy(checkpointed)
    results = []
    for network in (model, checkpointed, copied):
        torch.manual_seed(7)
        value = loss(network)
        after_forward = {key: buffer.clone() for key, buffer in network.named_buffers()}
        value.backward()
        assert all(torch.equal(after_forward[key], buffer) for key, buffer in network.named_buffers())
        results.append((value.detach(), buffers_and_gradients(network)))
    for value, state in results[1:]:
        assert torch.equal(value, results[0][0])
        assert same(state, results[0][1])


@pytest.mark.parametrize("name", ["s3d", "basic blocks", "dropout"])
def test_less_is_kept_between_the_passes(name, generator):
    model, loss = make_case(name, generator)
    checkpointed = copy.deepcopy(model)
    checkpoint_activations(checkpointed)
    assert saved_bytes(lambda: loss(checkpointed)) < 0.8 * saved_bytes(lambda: loss(model))


def test_running_statistics_are_kept_where_asked_also_when_the_backward_pass_comes_later(generator):
    model, loss = make_case("s3d", generator)
    checkpointed = copy.deepcopy(model)
    checkpoint_activations(checkpointed)
    before = {key: buffer.clone() for key, buffer in model.named_buffers()}
    for network in (model, checkpointed):
        with running_statistics_kept(network):
            value = loss(network)
        value.backward()
    assert same(buffers_and_gradients(model), buffers_and_gradients(checkpointed))
    assert all(torch.equal(before[key], buffer) for key, buffer in checkpointed.named_buffers())


def test_synchronised_normalisation_counts_each_batch_once_too(generator):
    """Without a process group it is the ordinary one, but for what it insists on."""
    model, loss = make_case("s3d", generator)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    checkpointed = copy.deepcopy(model)
    checkpoint_activations(checkpointed)
    for network in (model, checkpointed):
        loss(network).backward()
    assert same(buffers_and_gradients(model), buffers_and_gradients(checkpointed))


def test_evaluation_gives_the_same(generator):
    model, loss = make_case("s3d", generator)
    expected = loss(model.eval())
    checkpoint_activations(model)
    with torch.no_grad():
        assert torch.equal(loss(model), expected)
    assert torch.equal(loss(model), expected)


def test_a_network_without_blocks_stays_as_it_is():
    assert checkpoint_activations(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))) == 0
