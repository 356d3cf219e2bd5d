"""Programs that run a tower's file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from narravid.errors import CheckpointError, MissingExtraError
from narravid.inference.runtimes import check_backend_installed, open_tower
from narravid.models.gated_embedding import GatedDualEncoder, GatedDualEncoderConfig
from narravid.models.tower_files import example_inputs, write_tower
from narravid.models.towers import Tower, towers_of
from narravid.types import FeatureSpec


@pytest.fixture(scope="module")
def tower() -> Tower:
    config = GatedDualEncoderConfig(
        feature_spec=FeatureSpec(("a",), (5,)), word_dim=4, sentence_dim=8, embed_dim=7, max_words=3
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return towers_of(GatedDualEncoder(config))[0]


@pytest.mark.parametrize(
    ("export_format", "runtime"),
    [
        ("onnx", "onnxruntime"),
        ("onnx", "openvino"),
        ("openvino", "openvino"),
        ("torch-export", "torch-export"),
    ],
)
def test_every_program_gives_the_same_numbers(tower: Tower, tmp_path: Path, export_format: str, runtime: str):
    for module in ("onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(module)
    path = write_tower(tower, tmp_path, export_format=export_format)
    assert all(other.name.startswith("features.") for other in tmp_path.iterdir())
    opened = open_tower(path, ["embedding"], runtime=runtime)
    for seed in (1, 2):
        (features,) = example_inputs(tower, seed=seed)
        (expected,) = tower.module(features)
        given = opened.run({"features": features.numpy()})
        assert list(given) == ["embedding"]
        torch.testing.assert_close(torch.from_numpy(given["embedding"]), expected)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch-export"])
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, runtime: str):
    if runtime != "torch-export":
        pytest.importorskip(runtime)
    path = tmp_path / "video.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(CheckpointError, match=f"video.onnx: {runtime} cannot read it: "):
        open_tower(path, ["embedding"], runtime=runtime)


def test_only_openvino_computes_in_bfloat16(tmp_path: Path):
    for runtime in ("onnxruntime", "torch-export"):
        with pytest.raises(ValueError, match=f"{runtime} computes in float32, got bfloat16"):
            open_tower(tmp_path, ["embedding"], runtime=runtime, dtype="bfloat16")


def test_a_backend_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    for backend in ("openvino", "onnxruntime"):
        monkeypatch.setitem(sys.modules, backend, None)
        with pytest.raises(MissingExtraError, match=rf"backend {backend} needs .*'narravid\[fast\]'"):
            check_backend_installed(backend)
