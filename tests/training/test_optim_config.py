from __future__ import annotations

import json
import math

import pytest

from narravid.config import from_dict, to_dict
from narravid.errors import ConfigError
from narravid.training.optim_config import OptimConfig, ParameterGroup


@pytest.mark.parametrize(("field", "value"), [("name", "lamb"), ("decay", "none"), ("schedule", "linear")])
def test_a_misspelt_choice_is_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be one of .*, got '{value}'"):
        OptimConfig(**{field: value})


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
        ("factor", 0.0),
        ("factor", 1.5),
        ("patience", -1),
        ("min_lr_share", -0.1),
        ("milestones", (0, 3)),
        ("milestones", (3, 3)),
        ("groups", (ParameterGroup("a"), ParameterGroup("a", lr=1.0))),
    ],
)
def test_values_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must"):
        OptimConfig(**{field: value})


def test_a_step_schedule_needs_milestones():
    with pytest.raises(ValueError, match="milestones must name at least one epoch"):
        OptimConfig(schedule="step")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prefix", ""),
        ("prefix", "model.text."),
        ("lr", 0.0),
        ("weight_decay", -1.0),
        ("first_epoch", -1),
        ("schedule", "cosine"),
    ],
)
def test_values_of_a_group_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must"):
        ParameterGroup(**{"prefix": "model", field: value})


def test_a_group_takes_whole_parts_of_names():
    group = ParameterGroup("blocks.1")
    assert [group.takes(name) for name in ("blocks.1", "blocks.1.weight", "blocks.10.weight", "blocks")] == [
        True,
        True,
        False,
        False,
    ]


def test_groups_survive_json_and_a_misspelt_key_of_one_is_refused():
    config = OptimConfig(
        schedule="step", milestones=(100, 201), groups=(ParameterGroup("model.text", lr=3e-5, first_epoch=9),)
    )
    data = json.loads(json.dumps(to_dict(config)))
    assert from_dict(OptimConfig, data, source="run.json") == config
    data["groups"][0]["first_epoc"] = 3
    with pytest.raises(ConfigError, match=r"unknown key 'groups.0.first_epoc' \(did you mean 'first_epoch'"):
        from_dict(OptimConfig, data, source="run.json")
