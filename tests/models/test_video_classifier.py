"""Classifiers on 3-D trunks: features, scores, fine-tuning from a pre-trained model, model folders."""

from __future__ import annotations

import math

import pytest
import torch

import narravid
from models.small_cpd import small_classifier, small_cpd, small_extractor
from narravid.models.cpd import FINE_TUNING_CLIPS
from narravid.models.fine_tuning import classifier_from_pre_trained
from narravid.models.hub import save_model
from narravid.models.video_classifier import (
    CPDClassifierConfig,
    ResNeXtExtractorConfig,
    VideoClassifier,
)
from narravid.protocols import FeatureExtractor, Model, PixelDualEncoder


@pytest.fixture(params=[small_classifier, small_extractor], ids=["CPD", "ResNeXt"])
def model(request: pytest.FixtureRequest) -> VideoClassifier:
    return request.param()


@pytest.fixture
def clips(generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 4, 32, 32), generator=generator, dtype=torch.uint8)


def test_it_is_a_feature_extractor(model):
    assert isinstance(model, FeatureExtractor)
    assert isinstance(model, Model)
    assert not isinstance(model, PixelDualEncoder)


def test_features_and_scores(model, clips):
    with torch.inference_mode():
        features = model.video_features(clips)
        logits = model.class_logits(clips)
        assert torch.equal(model.classifier(features), logits)
        torch.testing.assert_close(model.video_features(clips.float() / 255), features, rtol=1e-4, atol=1e-4)
        spec = model.clip_spec
        means, stds = (torch.tensor(values).view(3, 1, 1, 1).double() for values in (spec.mean, spec.std))
        by_hand = model.video(((clips.double() / 255 - means) / stds).float())
    torch.testing.assert_close(features, by_hand, rtol=1e-4, atol=1e-4)
    assert features.shape == (2, model.feature_dim)
    assert logits.shape == (2, model.config.num_classes)
    assert features.dtype == logits.dtype == torch.float32


def test_pixels_of_the_resnext_keep_the_scale_of_its_weights(clips):
    model = small_extractor()
    mean = torch.tensor([110.6, 103.2, 96.3]).view(3, 1, 1, 1)
    with torch.inference_mode():
        expected = model.video(clips.float() - mean)
        # Float32 means on either scale differ in their last digit.
        torch.testing.assert_close(model.video_features(clips), expected, rtol=1e-5, atol=1e-5)


def test_a_model_folder_gives_the_same_model(model, clips, tmp_path):
    save_model(model, tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"config.json", "model.safetensors"}
    opened = narravid.load(tmp_path / "model")
    assert type(opened) is type(model)
    assert opened.config == model.config
    assert opened.weights_hash == model.weights_hash
    assert not opened.training
    with torch.inference_mode():
        assert torch.equal(opened.class_logits(clips), model.class_logits(clips))


def test_the_hash_follows_a_change_of_weights(model):
    first = model.weights_hash
    with torch.no_grad():
        model.classifier.bias[0] += 1
    assert model.weights_hash != first


def test_half_precision_weights_still_give_float32(model, clips):
    with torch.inference_mode():
        assert model.bfloat16().class_logits(clips).dtype == torch.float32


def test_a_classifier_takes_the_trunk_of_a_pre_trained_model(clips, generator):
    pre_trained = small_cpd()
    classifier = classifier_from_pre_trained(pre_trained, num_classes=9, generator=generator)
    assert classifier.training
    assert classifier.config.num_classes == 9
    assert classifier.config.dropout == 0.8
    assert classifier.clip_spec == FINE_TUNING_CLIPS
    assert classifier.clip_spec.num_frames == 16
    with torch.inference_mode():
        expected = pre_trained.video_features(clips)
        assert torch.equal(classifier.eval().video_features(clips), expected)
    weight = classifier.classifier.weight
    assert weight.shape == (9, 32)
    assert 0.8 / math.sqrt(32) < weight.abs().max() <= 1 / math.sqrt(32)
    again = classifier_from_pre_trained(
        pre_trained, num_classes=9, generator=torch.Generator().manual_seed(1)
    )
    other = classifier_from_pre_trained(
        pre_trained, num_classes=9, generator=torch.Generator().manual_seed(1)
    )
    assert torch.equal(again.classifier.weight, other.classifier.weight)


def test_fine_tuning_leaves_the_pre_trained_model_alone(clips, generator):
    pre_trained = small_cpd()
    before = pre_trained.weights_hash
    classifier = classifier_from_pre_trained(
        pre_trained, num_classes=3, generator=generator, dropout=0.0, clip_spec=pre_trained.clip_spec
    )
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.05)
    labels, losses = torch.tensor([0, 2]), []
    for _ in range(4):
        loss = torch.nn.functional.cross_entropy(classifier.class_logits(clips), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert pre_trained.weights_hash == before
    assert all(parameter.grad is not None for parameter in classifier.parameters())


def test_dropout_works_in_training_only(generator):
    model = small_classifier()
    features = torch.rand((1, 32), generator=generator).expand(6, 32)
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert model.classify_features(features).unique(dim=0).shape[0] == 1
        assert model.train().classify_features(features).unique(dim=0).shape[0] == 6


@pytest.mark.parametrize(
    ("make_config", "message"),
    [
        (lambda: CPDClassifierConfig(0), "num_classes"),
        (lambda: CPDClassifierConfig(2, dropout=1.0), "dropout"),
        (lambda: ResNeXtExtractorConfig(num_classes=0), "num_classes"),
        (lambda: ResNeXtExtractorConfig(dropout=-0.1), "dropout"),
    ],
)
def test_wrong_settings_are_refused(make_config, message):
    with pytest.raises(ValueError, match=message):
        make_config()
