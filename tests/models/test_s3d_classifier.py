"""Classifiers on S3D trunks: the trunk of a dual encoder, scores, model folders."""

from __future__ import annotations

import json

import pytest
import torch

from models.small_cpd import small_classifier, small_extractor
from narravid.models.cpd import FINE_TUNING_CLIPS
from narravid.models.fine_tuning import classifier_from_pre_trained
from narravid.models.hub import load, save_model
from narravid.models.s3d_classifier import S3D_FINE_TUNING_CLIPS, S3DClassifier, S3DClassifierConfig
from narravid.protocols import FeatureExtractor, Model
from narravid.types import ClipSpec
from tiny_corpus import make_tiny_s3d

CLIPS = ClipSpec(num_frames=4, fps=4.0, size_pixels=32)


@pytest.fixture
def clips(generator):
    return torch.randint(0, 256, (2, 3, 4, 32, 32), generator=generator, dtype=torch.uint8)


@pytest.fixture
def classifier(generator) -> S3DClassifier:
    made = classifier_from_pre_trained(make_tiny_s3d(), num_classes=5, generator=generator, clip_spec=CLIPS)
    assert isinstance(made, S3DClassifier)
    return made


def test_features_are_those_of_the_dual_encoder_without_its_embedding(classifier, clips):
    pre_trained = make_tiny_s3d()
    assert classifier.training
    with torch.inference_mode():
        features = classifier.eval().video_features(clips)
        assert torch.equal(features, pre_trained.video_features(clips))
        expected = features @ classifier.classifier.weight.T + classifier.classifier.bias
        torch.testing.assert_close(classifier.class_logits(clips), expected)
    assert not any(key.startswith("video.fc") for key in classifier.state_dict())


def test_every_weight_learns(classifier, clips):
    classifier.class_logits(clips).sum().backward()
    assert all(parameter.grad is not None for parameter in classifier.parameters())


def test_a_model_folder_gives_it_back(classifier, clips, tmp_path):
    save_model(classifier.eval(), tmp_path / "model")
    again = load(tmp_path / "model")
    assert isinstance(again, FeatureExtractor)
    assert isinstance(again, Model)
    assert again.weights_hash == classifier.weights_hash
    with torch.inference_mode():
        assert torch.equal(again.class_logits(clips), classifier.class_logits(clips))


def test_classifiers_lend_their_trunks_as_well(classifier, generator):
    other = classifier_from_pre_trained(classifier, num_classes=2, generator=generator)
    assert other.clip_spec == S3D_FINE_TUNING_CLIPS
    key = "video.conv_2c.conv1.weight"
    assert torch.equal(other.state_dict()[key], classifier.state_dict()[key])
    cpd = classifier_from_pre_trained(small_classifier(), num_classes=2, generator=generator)
    assert cpd.clip_spec == FINE_TUNING_CLIPS
    assert cpd.classifier.weight.shape[0] == 2


def test_what_has_no_trunk_to_fine_tune_is_refused(generator):
    with pytest.raises(ValueError, match="a ResNeXtExtractor has no video trunk that can be fine-tuned"):
        classifier_from_pre_trained(small_extractor(), num_classes=2, generator=generator)
    with pytest.raises(ValueError, match="num_classes must be at least 1"):
        S3DClassifierConfig(0)
    with pytest.raises(ValueError, match="dropout must be at least 0"):
        S3DClassifierConfig(2, dropout=1.0)


def test_names_of_classes_stay_with_the_classifier(generator, tmp_path):
    names = ("wave", "hug", "run")
    made = classifier_from_pre_trained(
        make_tiny_s3d(), num_classes=3, generator=generator, clip_spec=CLIPS, class_names=names
    )
    save_model(made.eval(), tmp_path / "named")
    assert load(tmp_path / "named").config.class_names == names
    with pytest.raises(ValueError, match="class_names must be 3 different names or none, got 2"):
        S3DClassifierConfig(3, class_names=("wave", "hug"))
    with pytest.raises(ValueError, match="got 3, of which 2 are different"):
        S3DClassifierConfig(3, class_names=("wave", "hug", "hug"))


def test_a_folder_from_before_classes_had_names_keeps_its_hash(classifier, tmp_path):
    save_model(classifier.eval(), tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    stored = json.loads(path.read_text())
    assert stored["config"].pop("class_names") == []
    path.write_text(json.dumps(stored))
    again = load(tmp_path / "model")
    assert again.config.class_names == ()
    assert again.weights_hash == classifier.weights_hash
