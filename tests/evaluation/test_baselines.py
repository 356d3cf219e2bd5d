"""Baselines: thumbnails by hand, networks whose weights follow from the seed alone."""

from __future__ import annotations

import pytest
import torch

from inference_doubles import LinearDualEncoder
from narravid.errors import CheckpointError
from narravid.evaluation.baselines import PixelThumbnails, untrained
from narravid.inference.clip_encoder import ClipEncoder
from narravid.types import ClipSpec
from tiny_corpus import make_tiny_s3d

SPEC = ClipSpec(num_frames=4, fps=4.0, size_pixels=8)


def test_thumbnails_are_means_over_stretches_and_squares():
    clips = torch.randint(0, 256, (2, 3, 4, 8, 8), dtype=torch.uint8)
    model = PixelThumbnails(SPEC, num_frames=2, size_pixels=4)
    features = model.video_features(clips).view(2, 3, 2, 4, 4)
    expected = clips[1, 2, 2:, 4:6, 2:4].float().mean() / 255
    assert features[1, 2, 1, 2, 1] == pytest.approx(float(expected), abs=1e-6)
    assert model.feature_dim == 2 * 3 * 4 * 4


def test_thumbnails_take_the_place_of_a_network():
    encoder = ClipEncoder(PixelThumbnails(SPEC), output="feature")
    clips = torch.full((1, 3, 1, 8, 8), 51, dtype=torch.uint8)
    assert torch.allclose(encoder.encode(clips), torch.full((1, encoder.dim), 0.2))


def test_untrained_networks_follow_from_the_seed():
    trained = make_tiny_s3d(seed=5)
    random_state = torch.random.get_rng_state()
    first, again, other = (untrained(trained, "s3d", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert not first.training
    assert first.config == trained.config
    assert first.weights_hash == again.weights_hash
    assert len({first.weights_hash, other.weights_hash, trained.weights_hash}) == 3


def test_a_model_that_cannot_be_built_anew_is_refused():
    with pytest.raises(CheckpointError, match=r"mine: there is no untrained network like it.*LinearDual"):
        untrained(LinearDualEncoder(), "mine", seed=0)
