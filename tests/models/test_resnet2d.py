"""ResNet-152 on frames, against a forward pass written from its description; torchvision's files."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

import narravid
from models.plain_resnet2d import Tensors, plain_features, random_tensors, resnet_shapes
from narravid.errors import CheckpointError, MissingExtraError
from narravid.models.checkpoints import load_published
from narravid.models.checkpoints_resnet2d import published_resnet2d_state_dict
from narravid.models.hub import save_model
from narravid.models.resnet2d import ResNet2DConfig, ResNet2DExtractor
from narravid.protocols import FeatureExtractor, Model, PixelDualEncoder
from narravid.types import ClipSpec

SMALL = ResNet2DConfig(num_blocks=(2, 1, 3, 2), layer_dims=(24, 32, 48, 64), stem_dim=16, num_classes=5)
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def tensors_of(config: ResNet2DConfig, *, seed: int = 4) -> Tensors:
    shapes = resnet_shapes(
        config.num_blocks, config.layer_dims, stem_dim=config.stem_dim, num_classes=config.num_classes
    )
    return random_tensors(shapes, seed=seed)


def opened(folder: Path, tensors: Tensors) -> ResNet2DExtractor:
    torch.save(tensors, folder / "resnet.pth")
    model = load_published(folder / "resnet.pth")
    assert isinstance(model, ResNet2DExtractor)
    return model


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> ResNet2DExtractor:
    return opened(tmp_path_factory.mktemp("resnet"), tensors_of(SMALL))


def pixels(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def test_keeps_its_protocols(small):
    assert isinstance(small, FeatureExtractor)
    assert isinstance(small, Model)
    assert not isinstance(small, PixelDualEncoder)
    assert (small.feature_dim, small.device, small.training) == (64, torch.device("cpu"), False)
    assert (small.clip_spec.num_frames, small.clip_spec.fps, small.clip_spec.size_pixels) == (1, 1.0, 224)


@pytest.mark.parametrize("size", [(64, 64), (33, 71), (57, 40), (1, 1)])
def test_the_forward_pass_is_that_of_its_description(small, generator, size):
    frames = pixels(generator, 2, 3, *size)
    with torch.inference_mode():
        features = small.frame_features(frames)
        expected = plain_features(tensors_of(SMALL), (frames.float() / 255 - MEAN) / STD)
    assert features.shape == (2, 64)
    assert features.dtype == torch.float32
    # Two orders of float32 arithmetic over some thirty layers.
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(features[0], features[1], rtol=1e-2)


@pytest.mark.parametrize("num_blocks", [(1, 1, 1, 1), (1, 2, 1, 4)])
def test_other_depths_and_a_first_layer_without_shortcut(tmp_path, generator, num_blocks):
    config = dataclasses.replace(SMALL, num_blocks=num_blocks, stem_dim=24)
    tensors = tensors_of(config)
    assert "layer1.0.downsample.0.weight" not in tensors
    model = opened(tmp_path, tensors)
    assert model.config == config
    frames = pixels(generator, 1, 3, 50, 66)
    with torch.inference_mode():
        expected = plain_features(tensors, (frames.float() / 255 - MEAN) / STD)
        torch.testing.assert_close(model.frame_features(frames), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_resnet_152(tmp_path, generator):
    tensors = tensors_of(ResNet2DConfig())
    counted = [key for key in tensors if not key.endswith("num_batches_tracked")]
    assert sum(tensors[key].numel() for key in counted if "running" not in key) == 60_192_808  # as published
    old = {key: tensors[key] for key in counted}  # its first file is older than the counts of batches
    model = opened(tmp_path, old)
    assert model.config == ResNet2DConfig()
    assert model.feature_dim == 2048
    frames = pixels(generator, 1, 3, 64, 96)
    with torch.inference_mode():
        expected = plain_features(tensors, (frames.float() / 255 - MEAN) / STD)
        torch.testing.assert_close(model.frame_features(frames), expected, rtol=1e-4, atol=1e-4)


def test_clips_of_one_frame_bytes_or_unit_floats(small, generator):
    clips = pixels(generator, 2, 3, 1, 40, 48)
    with torch.inference_mode():
        features = small.video_features(clips)
        assert torch.equal(features, small.video_features(clips.float() / 255))
        assert torch.equal(features, small.frame_features(clips[:, :, 0]))
        logits = small.class_logits(clips)
        torch.testing.assert_close(logits, features @ small.classifier.weight.T + small.classifier.bias)


@pytest.mark.parametrize("shape", [(2, 3, 4, 32, 32), (2, 1, 1, 32, 32), (2, 3, 32, 32), (2, 3, 1, 0, 32)])
def test_clips_of_another_shape_are_refused(small, shape):
    with pytest.raises(ValueError, match=r"clips must be \(B, 3, 1, H, W\)"):
        small.video_features(torch.zeros(shape))


def test_frames_of_another_shape_are_refused(small):
    with pytest.raises(ValueError, match=r"frames must be \(N, 3, H, W\)"):
        small.frame_features(torch.zeros(3, 32, 32))


def test_integers_other_than_bytes_are_refused(small):
    with pytest.raises(ValueError, match="int64"):
        small.frame_features(torch.zeros((1, 3, 32, 32), dtype=torch.int64))


def test_a_model_in_double_precision_still_gives_float32(tmp_path, small, generator):
    frames = pixels(generator, 2, 3, 32, 32)
    model = opened(tmp_path, tensors_of(SMALL)).double()
    with torch.inference_mode():
        features = model.frame_features(frames)
        torch.testing.assert_close(features, small.frame_features(frames), rtol=1e-4, atol=1e-5)


def test_a_model_folder(tmp_path, small, generator):
    save_model(small, tmp_path / "model")
    model = narravid.load(tmp_path / "model")
    assert model.config == small.config
    assert model.weights_hash == small.weights_hash
    frames = pixels(generator, 2, 3, 32, 40)
    with torch.inference_mode():
        assert torch.equal(model.frame_features(frames), small.frame_features(frames))


def test_hash_names_weights_and_settings(tmp_path, small):
    other = opened(tmp_path, tensors_of(SMALL, seed=5))
    spec = dataclasses.replace(SMALL.clip_spec, fps=2.0)
    setting = ResNet2DExtractor(dataclasses.replace(SMALL, clip_spec=spec))
    setting.load_state_dict(small.state_dict())
    assert len({small.weights_hash, other.weights_hash, setting.weights_hash}) == 3


def test_key_names_order_and_content_come_back(tmp_path, small):
    tensors = tensors_of(SMALL)
    written = published_resnet2d_state_dict(small)
    assert list(written) == list(tensors)
    assert all(torch.equal(written[key], tensors[key]) for key in tensors)


def test_files_that_do_not_fit_are_refused(tmp_path):
    tensors = tensors_of(SMALL)
    cases: list[tuple[Tensors, str]] = [
        ({"layer2.0.conv2.weight": torch.zeros(8, 2, 3, 3)}, r"layer2.0.conv2.weight is \(8, 2, 3, 3\)"),
        ({"layer5.0.conv1.weight": torch.zeros(1)}, r"unexpected keys \(1\): layer5.0.conv1.weight"),
        ({"layer4.0.conv3.weight": torch.zeros(63, 16, 1, 1)}, "multiples of 4"),
        ({"fc.weight": torch.tensor(1.0)}, "num_classes must be at least 1"),
    ]
    for change, message in cases:
        with pytest.raises(CheckpointError, match=message):
            opened(tmp_path, {**tensors, **change})
    for key in ("fc.weight", "layer3.2.bn2.running_mean", "bn1.num_batches_tracked", "layer4.0.conv3.weight"):
        with pytest.raises(CheckpointError, match=r"missing keys \(\d+\): .*" + key):
            opened(tmp_path, {name: tensor for name, tensor in tensors.items() if name != key})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_blocks": (1, 1, 0, 1)}, "num_blocks"),
        ({"layer_dims": (4, 8, 10, 16)}, "layer_dims"),
        ({"stem_dim": 0}, "stem_dim"),
        ({"num_classes": 0}, "num_classes"),
        ({"clip_spec": ClipSpec(num_frames=2, fps=1.0, size_pixels=8)}, "one frame, got 2"),
    ],
)
def test_wrong_settings_are_refused(change, named):
    with pytest.raises(ValueError, match=named):
        dataclasses.replace(SMALL, **change)


def test_without_its_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"ResNet-152 on frames.*transformers"):
        ResNet2DExtractor(SMALL)
