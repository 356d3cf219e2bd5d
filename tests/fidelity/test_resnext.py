"""HowTo100M's 3-D ResNeXt-101 and its preprocessing give the published numbers.

Tolerances are those stated with the golden arrays: ten times the float32 error of a float64 run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fidelity.fill import filled_input, golden_arrays, published_entries, published_state_dict
from narravid.models.checkpoints import load_published
from narravid.models.checkpoints_resnet3d import published_classifier_state_dict
from narravid.models.resnext3d import ResNeXt3DConfig
from narravid.models.video_classifier import MOTION_CLIPS, ResNeXtExtractor, ResNeXtExtractorConfig
from narravid.video.chunks import center_offsets, frames_to_chunks, normalise_levels
from narravid.video.resize import short_side_size

FAMILY = "videocnn_resnext101"


def decoded_frames(case: str, num_frames: int) -> torch.Tensor:
    """(T, H, W, 3) uint8, as the decoder gives them."""
    frames = filled_input(f"{FAMILY}/{case}/frames", (num_frames, 3, 112, 112), "uint8")
    return torch.from_numpy(frames).permute(0, 2, 3, 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ResNeXtExtractor:
    """The full network, opened from a file written as the published one is."""
    path: Path = tmp_path_factory.mktemp(FAMILY) / "resnext101.pth"
    torch.save(published_state_dict(FAMILY), path)
    opened = load_published(path)
    path.unlink()
    return opened


@pytest.mark.parametrize("as_float", [False, True])
def test_features(model, as_float):
    clips = frames_to_chunks(decoded_frames("frames", 16), num_frames=16)
    if as_float:
        clips = clips.double().div(255).float()
    with torch.inference_mode():
        features = model.video_features(clips)
    expected = golden_arrays(FAMILY, "frames")
    np.testing.assert_allclose(features.numpy(), expected["features"], rtol=1e-4, atol=5e-4)
    normalised = F.normalize(features, dim=-1)
    np.testing.assert_allclose(normalised.numpy(), expected["normalized"], rtol=1e-4, atol=3e-7)


def test_settings(model):
    assert model.config == ResNeXtExtractorConfig()
    assert model.config.video == ResNeXt3DConfig()
    assert (model.clip_spec.num_frames, model.clip_spec.fps, model.clip_spec.size_pixels) == (16, 24.0, 112)
    assert not model.training


def test_key_names_shapes_and_order(model):
    ours = [
        (key, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for key, tensor in published_classifier_state_dict(model).items()
    ]
    assert ours == published_entries(FAMILY)


def test_chunks_filled_before_normalisation():
    expected = golden_arrays(FAMILY, "preprocess")
    chunks = frames_to_chunks(decoded_frames("preprocess", 18), num_frames=16)
    np.testing.assert_array_equal(chunks.shape, expected["clips_shape"])
    clips = normalise_levels(chunks, MOTION_CLIPS.mean, MOTION_CLIPS.std)
    np.testing.assert_allclose(
        clips[:, :, ::5, ::28, ::28].numpy(), expected["clips_slice"], rtol=1e-6, atol=0
    )


def test_resize_rule():
    rows = golden_arrays(FAMILY, "resize")["rows"]
    for height, width, *expected in rows.tolist():
        scaled = short_side_size(height, width, size_pixels=112)
        top, left = center_offsets(*scaled, size_pixels=112)
        assert [*scaled, left, top] == expected
