"""The table of families: every entry describes and rebuilds its own kind of model."""

from __future__ import annotations

import json

import pytest
import torch

from narravid.config import to_dict
from narravid.errors import CheckpointError
from narravid.models.registry import FAMILIES, family_of


def test_families_are_found_by_kind(model):
    name, family = family_of(model)
    assert name == "s3d_dual_encoder"
    assert FAMILIES[name] is family
    with pytest.raises(ValueError, match="cannot save a Linear"):
        family_of(torch.nn.Linear(1, 1))


def test_a_model_is_built_again_from_its_description(tmp_path, model):
    _, family = family_of(model)
    model.write_assets(tmp_path)
    described = json.loads(json.dumps(to_dict(model.config)))
    rebuilt = family.build(described, tmp_path)
    assert rebuilt.config == model.config
    assert rebuilt.vocabulary == model.vocabulary
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert {key: tensor.shape for key, tensor in rebuilt.state_dict().items()} == shapes


def test_a_description_that_contradicts_its_assets_is_refused(tmp_path, model):
    _, family = family_of(model)
    model.write_assets(tmp_path)
    (tmp_path / "vocabulary.json").write_text('["add"]')
    with pytest.raises(CheckpointError, match="1 words"):
        family.build(to_dict(model.config), tmp_path)
