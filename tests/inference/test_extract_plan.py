"""Windows of whole videos: as published for each kind of model, and cut from a stream."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inference_doubles import LinearDualEncoder
from models.small_models import small_model
from narravid.errors import ConfigError
from narravid.inference.extract_plan import ExtractionPlan, as_published, windows_of
from narravid.models.resnet2d import ResNet2DConfig, ResNet2DExtractor
from narravid.models.resnet3d import ResNet3DConfig
from narravid.models.resnext3d import ResNeXt3DConfig
from narravid.models.s3d import S3DConfig
from narravid.models.s3d_classifier import S3DClassifier, S3DClassifierConfig
from narravid.models.video_classifier import (
    CPDClassifier,
    CPDClassifierConfig,
    ResNeXtExtractor,
    ResNeXtExtractorConfig,
)
from narravid.types import ClipSpec
from narravid.video.chunks import frames_to_chunks, normalise_levels
from narravid.video.transforms import to_channels_first

RESNEXT = ResNeXtExtractorConfig(video=ResNeXt3DConfig((1, 1, 1, 1), num_groups=2, stem_channels=2))


def test_resnet_152_sees_whole_frames_once_a_second():
    plan = as_published(ResNet2DExtractor(ResNet2DConfig((1, 1, 1, 1), (4, 4, 4, 4), stem_dim=4)))
    assert plan == ExtractionPlan(1, 1.0, 1, 224, "whole", is_normalised=True)
    assert plan.features_per_second == 1.0
    assert plan.chunk_shape.num_frames == 16


def test_resnext_101_sees_16_frames_at_24_a_second():
    plan = as_published(ResNeXtExtractor(RESNEXT))
    assert plan == ExtractionPlan(16, 24.0, 16, 112, "scaled_square", is_normalised=True)
    assert plan.features_per_second == 1.5
    assert plan.chunk_shape.num_frames == 16


@pytest.mark.parametrize("kind", ["dual encoder", "classifier"])
def test_s3d_sees_16_frames_at_16_a_second(kind):
    model = small_model()
    if kind == "classifier":
        video = S3DConfig(width_multiplier=0.125, num_inception_blocks=3)
        model = S3DClassifier(S3DClassifierConfig(3, video, clip_spec=ClipSpec(4, 5.0, 16)))
    plan = as_published(model)
    assert plan == ExtractionPlan(16, 16.0, 16, 16)
    assert plan.features_per_second == 1.0


def test_other_models_see_what_they_were_made_for():
    encoder = LinearDualEncoder(clip_spec=ClipSpec(8, 2.5, 20, frame_rule="shown_at"))
    assert as_published(encoder) == ExtractionPlan(8, 2.5, 8, 20, frame_rule="shown_at", layer="embedding")
    assert as_published(encoder, layer="feature").layer == "feature"
    config = CPDClassifierConfig(3, ResNet3DConfig(depth=10, stem_channels=2), clip_spec=ClipSpec(8, 7.5, 32))
    assert as_published(CPDClassifier(config)) == ExtractionPlan(8, 7.5, 8, 32)


def test_windows_may_be_others():
    plan = as_published(small_model(), num_frames=32, fps=10.0, stride_seconds=0.7, layer="embedding")
    assert plan == ExtractionPlan(32, 10.0, 7, 16, layer="embedding")
    assert plan.stride_seconds == pytest.approx(0.7)
    assert plan.start_seconds(3) == pytest.approx(2.1)
    assert as_published(small_model(), num_frames=32).stride_frames == 32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stride_seconds": 0.1}, r"0.1 s is no whole number of them, 0.125 s would be"),
        ({"stride_seconds": 0.0}, "positive number of seconds"),
        ({"stride_seconds": float("nan")}, "positive number of seconds"),
    ],
)
def test_windows_start_with_a_frame(settings, message):
    with pytest.raises(ConfigError, match=message):
        as_published(small_model(), **settings)


def test_resnet_152_takes_no_more_than_a_frame():
    model = ResNet2DExtractor(ResNet2DConfig((1, 1, 1, 1), (4, 4, 4, 4), stem_dim=4))
    with pytest.raises(ConfigError, match="one frame at a time, not 2"):
        as_published(model, num_frames=2)
    assert as_published(model, num_frames=1, fps=2.0, stride_seconds=1.0).stride_frames == 2


@pytest.mark.parametrize(
    ("settings", "key", "message"),
    [
        ({"num_frames": 0}, "num_frames", "at least 1, got 0"),
        ({"fps": 0.0}, "fps", "positive number of frames per second, got 0.0"),
        ({"fps": float("inf")}, "fps", "positive number"),
        ({"num_frames": 15}, "num_frames", "must be even, got 15"),
    ],
)
def test_windows_that_the_network_cannot_take_are_refused_at_once(settings, key, message):
    with pytest.raises(ConfigError, match=message) as caught:
        as_published(small_model(), **settings)
    assert caught.value.key == key


@pytest.mark.parametrize("stride_frames", [1, 16, 10_000])
def test_memory_does_not_grow_with_the_stride(stride_frames):
    plan = ExtractionPlan(4, 8.0, stride_frames, 1)
    assert plan.chunk_shape.num_frames == 16


@pytest.mark.parametrize("settings", [{"num_frames": 0}, {"stride_frames": 0}, {"fps": 0.0}])
def test_plans_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match="must be"):
        ExtractionPlan(**{"num_frames": 4, "fps": 5.0, "stride_frames": 4, "size_pixels": 8, **settings})


# ---------------------------------------------------------------- cutting


@given(
    num_video_frames=st.integers(1, 60),
    num_frames=st.integers(1, 20),
    stride_frames=st.integers(1, 25),
    size=st.integers(1, 20),
)
def test_windows_are_those_of_a_naive_loop(num_video_frames, num_frames, stride_frames, size):
    plan = ExtractionPlan(num_frames, 8.0, stride_frames, 1)
    video = torch.arange(1, num_video_frames + 1, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 1, 3)
    windows = [window[:, 0, 0, 0].tolist() for window in windows_of(video.split(size), plan)]
    expected = []
    for start in range(0, num_video_frames, stride_frames):
        frames = range(start, start + num_frames)
        expected.append([frame + 1 if frame < num_video_frames else 0 for frame in frames])
    assert windows == expected


def test_the_last_chunk_is_filled_before_it_is_normalised(generator):
    """18 frames of the published extractor: two clips, 14 frames of the second minus the mean."""
    frames = torch.randint(0, 256, (18, 112, 112, 3), generator=generator, dtype=torch.uint8)
    model = ResNeXtExtractor(RESNEXT)
    plan = as_published(model)
    windows = list(windows_of(frames.split(plan.chunk_shape.num_frames), plan))
    clips = to_channels_first(torch.stack(windows))
    assert clips.shape == (2, 3, 16, 112, 112)
    assert torch.equal(clips, frames_to_chunks(frames, num_frames=16))
    normal = normalise_levels(clips, model.clip_spec.mean, model.clip_spec.std)
    padding = normal[1, :, 2:].flatten(1)
    mean = torch.tensor([110.6, 103.2, 96.3]).view(3, 1)
    assert torch.allclose(padding, -mean.expand_as(padding), atol=1e-4)


@pytest.mark.parametrize(("num_frames", "stride_frames"), [(4, 1000), (20, 3), (40, 7)])
def test_no_more_is_held_than_a_window_and_a_chunk(num_frames, stride_frames):
    plan = ExtractionPlan(num_frames, 8.0, stride_frames, 1)
    chunks, most_alive = [], 0

    def stream():
        nonlocal most_alive
        for _ in range(200):
            pixels = np.zeros((plan.chunk_shape.num_frames, 1, 1, 3), np.uint8)
            chunks.append(weakref.ref(pixels))  # kept by every tensor that shows some of it
            most_alive = max(most_alive, sum(chunk() is not None for chunk in chunks))
            yield torch.from_numpy(pixels)

    assert sum(1 for _ in windows_of(stream(), plan)) == -(-3200 // stride_frames)
    assert 1 <= most_alive <= 3 + num_frames // 16
