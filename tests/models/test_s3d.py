"""S3D on 2-D kernels equals S3D on 3-D ones, keeps its gradients, and refuses what it cannot take."""

from __future__ import annotations

import copy

import pytest
import torch

from models.conv3d_s3d import conv3d_s3d
from models.small_models import shake_statistics
from narravid.models.s3d import INCEPTION_BLOCKS, S3D, S3DConfig, scaled_width

STEMS_AND_SIZES = [
    ("space_to_depth", (2, 3, 8, 32, 32)),
    ("space_to_depth", (1, 3, 2, 18, 26)),
    ("plain", (2, 3, 8, 32, 32)),
    ("plain", (2, 3, 11, 35, 43)),  # every pool sees an odd size somewhere
    ("plain", (1, 3, 1, 1, 3)),
    ("plain", (1, 3, 5, 33, 64)),
]


def network(*, seed: int = 1, **settings) -> S3D:
    settings = {"width_multiplier": 0.125, "embed_dim": 12, **settings}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = S3D(S3DConfig(**settings))
        shake_statistics(model)
    return model


@pytest.mark.parametrize(("stem", "shape"), STEMS_AND_SIZES)
@pytest.mark.parametrize(("num_blocks", "gating"), [(1, True), (5, False), (9, True)])
def test_equals_three_dimensional_convolutions(stem, shape, num_blocks, gating, generator):
    model = network(stem=stem, num_inception_blocks=num_blocks, gating=gating).double().eval()
    clips = torch.rand(shape, generator=generator, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(model(clips), conv3d_s3d(model, clips), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("stem", ["space_to_depth", "plain"])
def test_float32_differs_by_rounding_only(stem, generator):
    model = network(stem=stem).eval()
    clips = torch.rand((2, 3, 8, 32, 32), generator=generator)
    with torch.inference_mode():
        expected = conv3d_s3d(copy.deepcopy(model).double(), clips.double())
        # Thirty layers of float32 rounding, relative to the size of the embedding.
        error = (model(clips) - expected).norm() / expected.norm()
    assert error < 2e-6


@pytest.mark.parametrize(
    ("stem", "shape"), [("space_to_depth", (3, 3, 4, 32, 32)), ("plain", (3, 3, 5, 33, 31))]
)
@pytest.mark.parametrize("frozen", [False, True])
def test_training_step_equals_three_dimensional_convolutions(stem, shape, frozen, generator):
    """Outputs, gradients and running statistics; `frozen` differentiates through the folded normalisation."""
    fast = network(stem=stem, num_inception_blocks=4).double().train(not frozen)
    slow = copy.deepcopy(fast)
    clips = torch.rand(shape, generator=generator, dtype=torch.float64)
    embeddings, expected = fast(clips), conv3d_s3d(slow, clips)
    torch.testing.assert_close(embeddings, expected, rtol=1e-9, atol=1e-12)
    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    (embeddings * weights).sum().backward()
    (expected * weights).sum().backward()
    for (name, parameter), reference in zip(fast.named_parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(
            parameter.grad,
            reference.grad,
            rtol=1e-6,
            atol=1e-9,
            msg=lambda text, name=name: f"{name}: {text}",
        )
    for (name, buffer), reference in zip(fast.named_buffers(), slow.named_buffers(), strict=True):
        if "num_batches" not in name:
            torch.testing.assert_close(buffer, reference[1])


def test_a_clip_does_not_see_its_batch(generator):
    model = network(stem="plain").eval()
    clips = torch.rand((3, 3, 4, 20, 20), generator=generator)
    with torch.inference_mode():
        together = model(clips)
        alone = torch.cat([model(clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_memory_layout_of_the_input_makes_no_difference(generator):
    model = network(stem="space_to_depth").eval()
    frames = torch.rand((2, 4, 16, 16, 3), generator=generator)
    clips = frames.movedim(-1, 1)
    with torch.inference_mode():
        assert torch.equal(model(clips), model(clips.contiguous()))


def test_features_come_before_the_last_layer(generator):
    model = network(num_inception_blocks=3).eval()
    clips = torch.rand((2, 3, 4, 16, 16), generator=generator)
    with torch.inference_mode():
        features = model.features(clips)
        assert features.shape == (2, model.feature_dim)
        assert torch.equal(model.fc(features), model(clips))


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        ((1, 3, 5, 16, 16), "frames = 5"),
        ((1, 3, 4, 15, 16), "height = 15"),
        ((1, 3, 4, 16, 17), "width = 17"),
        ((1, 3, 3, 16, 17), "frames = 3, width = 17"),
    ],
)
def test_space_to_depth_names_odd_sizes(shape, named):
    with pytest.raises(ValueError, match=named):
        network()(torch.rand(shape))


@pytest.mark.parametrize(
    "clips",
    [
        torch.zeros(3, 4, 16, 16),
        torch.zeros(1, 4, 4, 16, 16),
        torch.zeros((1, 3, 4, 16, 16), dtype=torch.uint8),
        torch.zeros(1, 3, 0, 16, 16),
        torch.zeros(0, 3, 4, 16, 16),
    ],
)
def test_wrong_clips_are_refused(clips):
    with pytest.raises(ValueError, match="got"):
        network().eval()(clips)


def test_multiplier_one_gives_the_published_widths():
    for _, widths in INCEPTION_BLOCKS:
        assert tuple(scaled_width(width, 1.0) for width in widths) == widths
    assert S3D(S3DConfig()).feature_dim == 1024


@pytest.mark.parametrize("multiplier", [0.01, 0.25, 0.3, 0.5, 0.75, 2.0])
def test_scaled_widths_are_multiples_of_eight_near_the_wish(multiplier):
    for _, widths in INCEPTION_BLOCKS:
        for width in widths:
            scaled = scaled_width(width, multiplier)
            assert scaled % 8 == 0
            assert scaled == 8 or abs(scaled - width * multiplier) <= 4


def test_gating_can_be_left_out():
    assert not [name for name, _ in network(gating=False).named_parameters() if "gating" in name]
    assert len([name for name, _ in network().named_parameters() if "gating" in name]) == 74


@pytest.mark.parametrize(
    "wrong",
    [
        {"stem": "other"},
        {"width_multiplier": 0.0},
        {"width_multiplier": float("nan")},
        {"num_inception_blocks": 0},
        {"num_inception_blocks": 10},
        {"embed_dim": 0},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        S3DConfig(**wrong)


def test_bfloat16_training_gives_finite_gradients(generator):
    """Narrow temporal convolutions in bfloat16 gave infinite gradients as 3-D convolutions."""
    model = network(stem="plain", num_inception_blocks=5).train()
    clips = torch.rand((4, 3, 4, 24, 24), generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = model(clips)
    embeddings.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
