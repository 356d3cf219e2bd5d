from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from narravid.training.optim import (
    OptimConfig,
    build_optimizer,
    learning_rate_at,
    num_warmup_steps,
    parameter_groups,
    set_learning_rate,
)


def make_net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))


@given(
    num_steps=st.integers(2, 500),
    share=st.floats(0, 1),
    warmup=st.integers(0, 100),
    lr=st.floats(1e-6, 10),
)
def test_schedule_rises_to_lr_and_never_leaves_its_bounds(num_steps, share, warmup, lr):
    warmup = min(warmup, num_steps - 1)
    config = OptimConfig(lr=lr, final_lr_share=share, warmup_steps=warmup)
    rates = [learning_rate_at(config, step, num_steps=num_steps) for step in range(num_steps)]
    assert all(0 <= rate <= lr * (1 + 1e-12) for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[max(warmup - 1, 0)] == pytest.approx(lr)


def test_cosine_agrees_with_pytorchs_scheduler():
    config = OptimConfig(name="sgd", lr=0.5, warmup_steps=0, final_lr_share=0.2)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.1)
    for step in range(20):
        assert learning_rate_at(config, step, num_steps=20) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_step_counts_as_a_change_of_the_weights(name):
    net = make_net()
    optimizer = build_optimizer(OptimConfig(name=name), net.parameters())
    before = [parameter._version for parameter in net.parameters()]
    net(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    assert all(now._version > then for now, then in zip(net.parameters(), before, strict=True))


@pytest.mark.parametrize(("field", "value"), [("name", "lamb"), ("decay", "none"), ("schedule", "linear")])
def test_a_misspelt_choice_is_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be one of .*, got '{value}'"):
        OptimConfig(**{field: value})


def test_constant_schedule_stays_at_lr_after_the_warm_up():
    config = OptimConfig(lr=2.0, schedule="constant", warmup_steps=4)
    rates = [learning_rate_at(config, step, num_steps=8) for step in range(8)]
    assert rates == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0, 2.0]


def test_automatic_warm_up_is_a_tenth_of_the_run_up_to_ten_thousand_steps():
    assert num_warmup_steps(OptimConfig(), 5) == 0
    assert num_warmup_steps(OptimConfig(), 1000) == 100
    assert num_warmup_steps(OptimConfig(), 350_000) == 10_000


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(ValueError, match="warmup_steps is 30 but the run has only 30 steps"):
        num_warmup_steps(OptimConfig(warmup_steps=30), 30)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lr", 0.0),
        ("lr", math.nan),
        ("weight_decay", -1.0),
        ("betas", (0.9, 1.0)),
        ("momentum", 1.0),
        ("final_lr_share", 1.5),
        ("warmup_steps", -1),
        ("max_grad_norm", 0.0),
    ],
)
def test_values_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must"):
        OptimConfig(**{field: value})


def test_norms_and_biases_do_not_decay_but_matrices_do():
    net = make_net()
    decaying, fixed = parameter_groups(net.parameters(), weight_decay=0.1, decay="matrices")
    assert decaying["weight_decay"] == 0.1
    assert fixed["weight_decay"] == 0.0
    assert {id(p) for p in decaying["params"]} == {id(net[0].weight), id(net[2].weight)}
    assert len(fixed["params"]) == 4


def test_decay_all_makes_one_group_and_frozen_parameters_are_left_out():
    net = make_net()
    net[0].weight.requires_grad_(False)
    (group,) = parameter_groups(net.parameters(), weight_decay=0.1, decay="all")
    assert len(group["params"]) == 5
    net.requires_grad_(False)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        parameter_groups(net.parameters(), weight_decay=0.1)


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
    optimizer = build_optimizer(config, ours.parameters())
    for step in range(3):
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
        for net, used in ((ours, optimizer), (theirs, plain)):
            used.zero_grad()
            net(x).square().mean().backward()
            used.step()
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        # The fused kernels round in another order.
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_set_learning_rate_reaches_every_group():
    optimizer = build_optimizer(OptimConfig(lr=1.0), make_net().parameters())
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
