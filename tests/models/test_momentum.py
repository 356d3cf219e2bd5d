"""The averaged twin: its rule, its independence of gradients, and its way through a resumed run."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from models.small_aligners import small_aligner, small_inputs
from narravid.models.momentum import MomentumTwin


class Network(nn.Module):
    """A trained layer, a frozen table, a buffer that changes, and a weight that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.table.weight.requires_grad_(False)
        self.norm = nn.BatchNorm1d(4)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(self.norm(self.table(ids))))


def make_twin(*, momentum: float = 0.9) -> MomentumTwin[Network]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        return MomentumTwin(Network(), momentum=momentum)


def step(twin: MomentumTwin[Network], optimiser: torch.optim.Optimizer, ids: torch.Tensor) -> None:
    optimiser.zero_grad()
    (twin(ids) - twin.forward_target(ids)).square().mean().add(twin(ids).sum()).backward()
    optimiser.step()
    twin.update()


def optimiser_of(twin: MomentumTwin[Network]) -> torch.optim.Optimizer:
    trained = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=0.1)


def batches(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(9)
    return [torch.randint(0, 5, (8,), generator=generator) for _ in range(count)]


def test_the_target_starts_as_a_copy_with_memory_of_its_own():
    twin = make_twin()
    for (name, fast), slow in zip(
        twin.online.state_dict().items(), twin.target.state_dict().values(), strict=True
    ):
        assert torch.equal(fast, slow), name
        assert fast.data_ptr() != slow.data_ptr()
    assert twin.target.second.weight is twin.target.first.weight


@pytest.mark.parametrize("momentum", [0.0, 0.25, 0.9, 0.999, 1.0])
def test_the_rule(momentum):
    twin = make_twin(momentum=momentum)
    history = [twin.online.first.weight.detach().double().clone()]
    for number in range(3):
        with torch.no_grad():
            twin.online.first.weight.add_(number + 1.0)
        history.append(twin.online.first.weight.detach().double().clone())
        twin.update()
    expected = history[0]
    for online in history[1:]:
        expected = momentum * expected + (1 - momentum) * online
    torch.testing.assert_close(twin.target.first.weight.double(), expected, rtol=1e-6, atol=1e-6)


def test_what_is_not_trained_stays_bit_for_bit_the_same():
    twin = make_twin()
    before = twin.target.table.weight.clone()
    for _ in range(50):
        twin.update()
    assert torch.equal(twin.target.table.weight, before)
    assert torch.equal(twin.target.first.weight, twin.online.first.weight)


def test_buffers_are_copied():
    twin = make_twin()
    twin(torch.tensor([0, 1, 2, 3]))
    assert not torch.equal(twin.target.norm.running_mean, twin.online.norm.running_mean)
    twin.update()
    assert torch.equal(twin.target.norm.running_mean, twin.online.norm.running_mean)
    assert int(twin.target.norm.num_batches_tracked) == 1


def test_no_gradient_reaches_the_target():
    twin = make_twin()
    output = twin.forward_target(torch.tensor([0, 1, 2]))
    assert not output.requires_grad
    twin(torch.tensor([0, 1, 2])).sum().backward()
    assert twin.online.first.weight.grad is not None
    assert all(parameter.grad is None for parameter in twin.target.parameters())
    assert not any(parameter.requires_grad for parameter in twin.target.parameters())
    assert twin.online.first.weight.requires_grad
    assert not twin.online.table.weight.requires_grad


def test_an_update_leaves_the_graph_of_the_online_network_usable():
    twin = make_twin()
    loss = twin(torch.tensor([0, 1, 2])).square().sum()
    twin.update()
    loss.backward()
    assert twin.online.first.weight.grad.abs().sum() > 0


def test_a_resumed_run_is_the_run_that_went_on():
    went_on = make_twin()
    optimiser = optimiser_of(went_on)
    steps = batches(6)
    for ids in steps[:3]:
        step(went_on, optimiser, ids)
    file = io.BytesIO()
    torch.save({"model": went_on.state_dict(), "optimiser": optimiser.state_dict()}, file)
    for ids in steps[3:]:
        step(went_on, optimiser, ids)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = MomentumTwin(Network(), momentum=0.9)
    resumed.load_state_dict(saved["model"])
    again = optimiser_of(resumed)
    again.load_state_dict(saved["optimiser"])
    for ids in steps[3:]:
        step(resumed, again, ids)
    for (name, first), second in zip(
        went_on.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(first, second), name
    assert not torch.equal(resumed.online.first.weight, resumed.target.first.weight)


def test_keys_name_both_networks():
    keys = make_twin().state_dict().keys()
    assert {key.split(".")[0] for key in keys} == {"online", "target"}


def test_a_twin_of_aligners(generator):
    twin = MomentumTwin(small_aligner(), momentum=0.5)
    features, text = small_inputs(generator)
    before = twin.forward_target(features, text)
    output = twin(features, text)
    assert torch.equal(before.joint, output.joint)
    output.joint.sum().backward()
    torch.optim.SGD(twin.online.parameters(), lr=0.1).step()
    twin.update()
    online, target = twin(features, text), twin.forward_target(features, text)
    assert not torch.equal(target.joint, online.joint)
    assert not torch.equal(target.joint, before.joint)
    assert copy.deepcopy(twin).target.weights_hash == twin.target.weights_hash != twin.online.weights_hash


@pytest.mark.parametrize("momentum", [-0.1, 1.1, float("nan")])
def test_an_impossible_momentum_is_refused(momentum):
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\]"):
        MomentumTwin(nn.Linear(1, 1), momentum=momentum)
