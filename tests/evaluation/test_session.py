"""The session that benchmarks share: the model as the kind that is needed, networks that are made once."""

from __future__ import annotations

import pytest
import torch

from coded_archives import PlantedFeatureModel
from models.small_aligners import small_aligner
from models.small_cpd import small_extractor
from narravid.errors import CheckpointError
from narravid.evaluation.session import EvaluationSession
from tiny_corpus import make_tiny_s3d
from watched_doubles import DirectDecoder

KINDS = {
    "a pixel dual encoder": EvaluationSession.pixel_dual_encoder,
    "a feature dual encoder": EvaluationSession.feature_dual_encoder,
    "a feature extractor": EvaluationSession.feature_extractor,
    "an aligner": EvaluationSession.aligner,
}


def session_of(model, **settings) -> EvaluationSession:
    return EvaluationSession(model=model, decoder=DirectDecoder(), model_name="mine", **settings)


@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        (make_tiny_s3d, {"a pixel dual encoder", "a feature extractor"}),
        (lambda: PlantedFeatureModel({}), {"a feature dual encoder"}),
        (small_extractor, {"a feature extractor"}),
        (small_aligner, {"an aligner"}),
    ],
    ids=["S3D", "features", "ResNeXt", "TAN"],
)
def test_the_model_as_what_it_is_and_as_nothing_else(make, kinds):
    model = make()
    session = session_of(model)
    for kind, method in KINDS.items():
        if kind in kinds:
            assert method(session) is model
        else:
            with pytest.raises(
                CheckpointError, match=f"mine: a {type(model).__name__} does .* needs {kind} "
            ):
                method(session)


def test_a_network_is_made_once_for_each_output():
    session = session_of(make_tiny_s3d(), dtype="bfloat16")
    embedding = session.clip_encoder()
    assert session.clip_encoder("embedding") is embedding
    assert (embedding.output, embedding.dtype, embedding.backend) == ("embedding", "bfloat16", "torch")
    feature = session.clip_encoder("feature")
    assert feature is not embedding
    assert feature.encode(torch.zeros((1, 3, 4, 32, 32), dtype=torch.uint8)).shape == (1, feature.dim)


def test_outputs_that_a_model_has_not_are_told_with_what_would_do():
    with pytest.raises(CheckpointError, match="mine: a ResNeXtExtractor does not .* a pixel dual encoder"):
        session_of(small_extractor()).clip_encoder("embedding")
    with pytest.raises(CheckpointError, match="mine: a S3DDualEncoder does not .* needs a classifier"):
        session_of(make_tiny_s3d()).clip_encoder("logits")
    with pytest.raises(CheckpointError, match="mine: a PlantedFeatureModel .* needs a feature extractor"):
        session_of(PlantedFeatureModel({})).clip_encoder("feature")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"max_bad_share": 2}, "max_bad_share must be from"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        session_of(PlantedFeatureModel({}), **settings)
