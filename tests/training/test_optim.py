from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from narravid.training.optim import (
    OptimConfig,
    ParameterGroup,
    apply_schedule,
    build_optimizer,
    freeze_until,
    learning_rate_at,
)

NAMES = ("adam", "adamw", "sgd")


def make_net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def make_towers() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"text": make_net(), "video": make_net()})


def loss_of(towers, step):
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
    return (towers["text"](x) * towers["video"](x)).square().mean()


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_step_counts_as_a_change_of_the_weights(name):
    net = make_net()
    optimizer = build_optimizer(OptimConfig(name=name), net.named_parameters())
    before = [parameter._version for parameter in net.parameters()]
    net(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    assert all(now._version > then for now, then in zip(net.parameters(), before, strict=True))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimizers_take_the_step_of_their_plain_counterparts(name):
    torch.manual_seed(0)
    ours, theirs = make_net(), make_net()
    theirs.load_state_dict(ours.state_dict())
    config = OptimConfig(name=name, lr=0.05, weight_decay=0.1, decay="all", betas=(0.8, 0.95), momentum=0.7)
    plain = {
        "adam": lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.95), weight_decay=0.1),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, betas=(0.8, 0.95), weight_decay=0.1),
        "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.7, weight_decay=0.1),
    }[name](theirs.parameters())
    optimizer = build_optimizer(config, ours.named_parameters())
    for step in range(3):
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
        for net, used in ((ours, optimizer), (theirs, plain)):
            used.zero_grad()
            net(x).square().mean().backward()
            used.step()
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        # The fused kernels round in another order.
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_groups_follow_the_run_or_stay_constant():
    config = OptimConfig(
        lr=1.0,
        warmup_steps=2,
        schedule="exponential",
        factor=0.5,
        groups=(
            ParameterGroup("text", lr=0.1),
            ParameterGroup("text.2", lr=0.03, schedule="constant"),
            ParameterGroup("video.1", schedule="constant"),
        ),
    )
    optimizer = build_optimizer(config, make_towers().named_parameters())
    for step in range(12):
        lr = apply_schedule(optimizer, config, step=step, num_steps=12, steps_per_epoch=4)
        assert lr == learning_rate_at(config, step, num_steps=12, steps_per_epoch=4)
        expected = {None: lr, "text": 0.1 * lr, "text.2": 0.03, "video.1": 1.0}
        for group in optimizer.param_groups:
            assert group["lr"] == pytest.approx(expected[group["prefix"]])


def test_a_plateau_lowers_the_rate_of_every_group_that_follows_the_run():
    config = OptimConfig(lr=1.0, warmup_steps=0, schedule="plateau", groups=(ParameterGroup("text", lr=0.2),))
    optimizer = build_optimizer(config, make_towers().named_parameters())
    apply_schedule(optimizer, config, step=5, num_steps=12, steps_per_epoch=4, num_plateaus=2)
    rates = {group["prefix"]: group["lr"] for group in optimizer.param_groups}
    assert rates == pytest.approx({None: 0.01, "text": 0.002})


def test_what_someone_else_freezes_after_the_start_is_left_alone():
    towers = make_towers()
    config = OptimConfig(groups=(ParameterGroup("text", first_epoch=1), ParameterGroup("video.2", lr=1.0)))
    optimizer = build_optimizer(config, towers.named_parameters())
    towers["video"].requires_grad_(False)
    for epoch in range(3):
        freeze_until(optimizer, config, epoch=epoch)
        assert not any(parameter.requires_grad for parameter in towers["video"].parameters())


def take_steps(towers, optimizer, config, *, steps):
    for step in steps:
        freeze_until(optimizer, config, epoch=step // 2)
        apply_schedule(optimizer, config, step=step, num_steps=20, steps_per_epoch=2)
        optimizer.zero_grad(set_to_none=True)
        loss_of(towers, step).backward()
        optimizer.step()


@pytest.mark.parametrize("name", NAMES)
def test_a_part_stands_still_before_its_first_epoch_and_moves_from_then_on(name):
    towers = make_towers()
    towers["text"][0].bias.requires_grad_(False)
    start = copy.deepcopy(towers.state_dict())
    config = OptimConfig(
        name=name, lr=0.05, weight_decay=0.1, decay="all", groups=(ParameterGroup("text", first_epoch=2),)
    )
    optimizer = build_optimizer(config, towers.named_parameters())
    take_steps(towers, optimizer, config, steps=range(4))
    assert all(torch.equal(value, start[key]) for key, value in towers.state_dict().items() if "text" in key)
    assert not any(parameter.requires_grad for parameter in towers["text"].parameters())
    assert not torch.equal(towers["video"][0].weight, start["video.0.weight"])
    take_steps(towers, optimizer, config, steps=range(4, 6))
    moved = {
        name: not torch.equal(value, start[f"text.{name}"])
        for name, value in towers["text"].state_dict().items()
    }
    assert moved == {name: name != "0.bias" for name in moved}, "what was frozen at the start stays frozen"


def test_freezing_says_whether_it_changed_anything_and_drops_gradients():
    towers = make_towers()
    config = OptimConfig(groups=(ParameterGroup("text", first_epoch=2),))
    optimizer = build_optimizer(config, towers.named_parameters())
    loss_of(towers, 0).backward()
    assert [freeze_until(optimizer, config, epoch=epoch) for epoch in range(4)] == [True, False, True, False]
    assert towers["text"][0].weight.grad is None
    assert towers["video"][0].weight.grad is not None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("saved_at", [2, 4, 6])
def test_state_saved_before_and_after_a_part_joins_goes_on_bit_for_bit(name, saved_at):
    config = OptimConfig(
        name=name, lr=0.05, weight_decay=0.1, groups=(ParameterGroup("text", first_epoch=2),)
    )
    whole, cut, resumed = make_towers(), make_towers(), make_towers()
    take_steps(whole, build_optimizer(config, whole.named_parameters()), config, steps=range(8))
    optimizer = build_optimizer(config, cut.named_parameters())
    take_steps(cut, optimizer, config, steps=range(saved_at))
    file = io.BytesIO()
    torch.save({"model": cut.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    optimizer = build_optimizer(config, resumed.named_parameters())
    resumed.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    take_steps(resumed, optimizer, config, steps=range(saved_at, 8))
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_without_gradient_in_the_first_steps_joins_as_with_the_plain_optimiser(name):
    ours, theirs = make_net(), make_net()
    theirs.load_state_dict(ours.state_dict())
    optimizer = build_optimizer(OptimConfig(name=name, lr=0.05, decay="all"), ours.named_parameters())
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    extra = {"momentum": 0.9} if name == "sgd" else {}
    plain = kinds[name](theirs.parameters(), lr=0.05, weight_decay=0.0, foreach=False, **extra)
    for step in range(4):
        for net, used in ((ours, optimizer), (theirs, plain)):
            used.zero_grad(set_to_none=True)
            last = net if step >= 2 else net[:2]
            last(torch.full((3, 4), 0.5 + step)).square().sum().backward()
            used.step()
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)
