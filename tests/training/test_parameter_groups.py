from __future__ import annotations

import pytest
from torch import nn

from narravid.errors import ConfigError
from narravid.training.optim_config import OptimConfig, ParameterGroup
from narravid.training.parameter_groups import parameter_groups, part_of


def make_net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def test_norms_and_biases_do_not_decay_but_matrices_do():
    net = make_net()
    decaying, fixed = parameter_groups(OptimConfig(weight_decay=0.1), net.named_parameters())
    assert decaying["weight_decay"] == 0.1
    assert fixed["weight_decay"] == 0.0
    assert {id(p) for p in decaying["params"]} == {id(net[0].weight), id(net[2].weight)}
    assert len(fixed["params"]) == 4


def test_decay_all_makes_one_group_and_frozen_parameters_are_left_out():
    net = make_net()
    net[0].weight.requires_grad_(False)
    (group,) = parameter_groups(OptimConfig(weight_decay=0.1, decay="all"), net.named_parameters())
    assert len(group["params"]) == 5
    net.requires_grad_(False)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        parameter_groups(OptimConfig(), net.named_parameters())


def test_each_part_has_groups_of_its_own_and_the_longest_prefix_wins():
    net = nn.ModuleDict({"text": make_net(), "video": make_net()})
    config = OptimConfig(
        weight_decay=0.1,
        groups=(
            ParameterGroup("text", weight_decay=0.3),
            ParameterGroup("text.2"),
            ParameterGroup("video.1"),
        ),
    )
    groups = parameter_groups(config, net.named_parameters())
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    assert [
        (group["prefix"], group["weight_decay"], [names[id(p)] for p in group["params"]]) for group in groups
    ] == [
        (None, 0.1, ["video.0.weight", "video.2.weight"]),
        (None, 0.0, ["video.0.bias", "video.2.bias"]),
        ("text", 0.3, ["text.0.weight"]),
        ("text", 0.0, ["text.0.bias", "text.1.weight", "text.1.bias"]),
        ("text.2", 0.1, ["text.2.weight"]),
        ("text.2", 0.0, ["text.2.bias"]),
        ("video.1", 0.0, ["video.1.weight", "video.1.bias"]),
    ]
    part = part_of("text.2.bias", config.groups)
    assert part is not None
    assert part.prefix == "text.2"
    assert part_of("textual.2.bias", config.groups) is None


def test_a_part_that_is_frozen_whole_gives_no_group():
    net = nn.ModuleDict({"text": make_net(), "video": make_net()})
    net["text"].requires_grad_(False)
    config = OptimConfig(groups=(ParameterGroup("text", lr=1.0),))
    assert {group["prefix"] for group in parameter_groups(config, net.named_parameters())} == {None}


def test_a_prefix_that_no_parameter_has_is_refused_with_near_names():
    net = nn.ModuleDict({"text_encoder": make_net(), "video": make_net()})
    config = OptimConfig(groups=(ParameterGroup("text_encodr.2"),))
    with pytest.raises(ConfigError, match=r"under 'text_encodr\.2'; near names: text_encoder\.2"):
        parameter_groups(config, net.named_parameters())
    config = OptimConfig(groups=(ParameterGroup("zzz"),))
    with pytest.raises(ConfigError, match=r"under 'zzz'; there are: text_encoder, text_encoder\.0"):
        parameter_groups(config, net.named_parameters())


def test_something_must_learn_from_the_first_epoch_on():
    config = OptimConfig(groups=(ParameterGroup("0", first_epoch=2), ParameterGroup("1", first_epoch=1)))
    with pytest.raises(ValueError, match="nothing to train at first"):
        parameter_groups(config, make_net()[:2].named_parameters())
