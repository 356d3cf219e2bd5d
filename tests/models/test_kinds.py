"""A model of the kind that a task needs, and what is said of another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from models.small_aligners import small_aligner
from models.small_cpd import small_cpd, small_extractor
from models.small_models import small_model
from narravid.cli.main import main
from narravid.errors import CheckpointError
from narravid.models.gated_embedding import GatedDualEncoder, GatedDualEncoderConfig
from narravid.models.hub import save_model
from narravid.models.kinds import (
    load_aligner,
    load_feature_dual_encoder,
    load_feature_extractor,
    load_pixel_dual_encoder,
)
from narravid.types import FeatureSpec

LOADERS: dict[str, Callable[..., object]] = {
    "a pixel dual encoder": load_pixel_dual_encoder,
    "a feature dual encoder": load_feature_dual_encoder,
    "a feature extractor": load_feature_extractor,
    "an aligner": load_aligner,
}


def small_gated() -> GatedDualEncoder:
    spec = FeatureSpec(("resnet152-imagenet", "resnext101-kinetics"), (3, 4))
    return GatedDualEncoder(
        GatedDualEncoderConfig(feature_spec=spec, word_dim=4, sentence_dim=5, embed_dim=6)
    )


MODELS: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "S3D": (small_model, {"a pixel dual encoder", "a feature extractor"}),
    "CPD": (small_cpd, {"a pixel dual encoder", "a feature extractor"}),
    "HowTo100M": (small_gated, {"a feature dual encoder"}),
    "ResNeXt": (small_extractor, {"a feature extractor"}),
    "TAN": (small_aligner, {"an aligner"}),
}


@pytest.fixture(scope="module", params=MODELS)
def saved(request, tmp_path_factory) -> tuple[Path, nn.Module, set[str]]:
    make, kinds = MODELS[request.param]
    model = make()
    folder = tmp_path_factory.mktemp("kinds") / "model"
    save_model(model, folder)
    return folder, model, kinds


@pytest.mark.parametrize("kind", LOADERS)
def test_each_loader_takes_its_kind_and_names_what_it_needs(saved, kind):
    folder, model, kinds = saved
    if kind in kinds:
        assert LOADERS[kind](folder).weights_hash == model.weights_hash
        return
    with pytest.raises(
        CheckpointError, match=f"a {type(model).__name__} does not do here; this needs {kind} "
    ):
        LOADERS[kind](folder)


def test_a_command_says_which_kind_it_needs(tmp_path, capsys):
    save_model(small_extractor(), tmp_path / "model")
    (tmp_path / "video.mp4").write_bytes(b"x")
    words = ["index", str(tmp_path / "video.mp4"), "--index", str(tmp_path / "index")]
    assert main([*words, "--model", str(tmp_path / "model")]) == 2
    said = capsys.readouterr().err
    assert "a ResNeXtExtractor does not do here; this needs a pixel dual encoder" in said
    assert said.count("\n") == 1
