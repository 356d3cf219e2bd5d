"""`narravid export`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from narravid.cli.main import main
from narravid.models.gated_embedding import GatedDualEncoder, GatedDualEncoderConfig
from narravid.models.hub import save_model
from narravid.types import FeatureSpec


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    config = GatedDualEncoderConfig(
        feature_spec=FeatureSpec(("a",), (5,)), word_dim=4, sentence_dim=8, embed_dim=7, max_words=3
    )
    save_model(GatedDualEncoder(config), tmp_path / "model")
    return tmp_path / "model"


def test_a_model_becomes_a_folder_that_pytorch_runs_alone(model_folder: Path, tmp_path: Path, capsys):
    output = tmp_path / "export"
    words = ["export", str(model_folder), "--output", str(output), "--format", "torch-export"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert f"{output / 'features.pt2'}: differs from the model by at most" in shown
    assert {path.name for path in output.iterdir()} == {"features.pt2", "text.pt2", "export.json"}
    (given,) = torch.export.load(output / "features.pt2").module()(torch.ones(3, 5))
    assert given.shape == (3, 7)
    assert main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [tower["name"] for tower in facts["towers"]] == ["features", "text"]
    assert all(tower["comparison"]["largest_difference"] < 1e-4 for tower in facts["towers"])


def test_mistakes_are_one_line(model_folder: Path, tmp_path: Path, capsys):
    assert main(["export", str(model_folder), "--output", str(tmp_path), "--format", "onnx"]) == 2
    assert "holds other files than those of an export" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "gone"), "--output", str(tmp_path / "export")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
