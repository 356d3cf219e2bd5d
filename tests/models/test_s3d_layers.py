"""Single layers of S3D against their 3-D counterparts in PyTorch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from models.conv3d_s3d import same_pool
from models.small_models import shake_statistics
from narravid.models.s3d_layers import SelfGating, SeparableConv, fold_norm, max_pool_space, max_pool_time


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(1, -1).contiguous()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (3, 1)])
def test_pools_pad_as_published_for_every_size(size, kernel, stride, generator):
    x = torch.rand((2, 3, size, size + 1, size + 2), generator=generator)
    space = same_pool(x, (1, kernel, kernel), (1, stride, stride))
    assert torch.equal(max_pool_space(channels_last(x), kernel, stride), channels_last(space))
    time = same_pool(x, (kernel, 1, 1), (stride, 1, 1))
    assert torch.equal(max_pool_time(channels_last(x), kernel, stride), channels_last(time))
    assert space.shape[3] == -(-(size + 1) // stride)


def test_folded_weights_equal_convolution_and_norm(generator):
    norm = torch.nn.BatchNorm2d(5).double().eval()
    shake_statistics(norm)
    weight = torch.randn((5, 3, 3, 3), generator=generator, dtype=torch.float64)
    x = torch.randn((2, 3, 6, 6), generator=generator, dtype=torch.float64)
    torch.testing.assert_close(F.conv2d(x, *fold_norm(weight, norm)), norm(F.conv2d(x, weight)))


def test_norm_without_statistics_cannot_be_folded():
    norm = torch.nn.BatchNorm2d(5, track_running_stats=False).eval()
    with pytest.raises(ValueError, match="running statistics"):
        fold_norm(torch.zeros(5, 3, 1, 1), norm)


@pytest.mark.parametrize("shape", [(1, 2, 3, 1, 1), (2, 1, 1, 4, 5), (2, 3, 4, 1, 6)])
def test_separable_convolution_at_the_smallest_sizes(shape, generator):
    """Sizes of one make memory layouts ambiguous; the views must not take one for the other."""
    batch, channels, *sizes = shape
    layer = SeparableConv(channels, 8).double().eval()
    shake_statistics(layer)
    x = torch.rand((batch, channels, *sizes), generator=generator, dtype=torch.float64)
    with torch.inference_mode():
        expected = F.relu(layer.bn1(layer.conv1(x).flatten(2, 3)))
        expected = layer.conv2(expected.unflatten(2, (sizes[0], sizes[1])))
        expected = F.relu(layer.bn2(expected.flatten(2, 3))).unflatten(2, (sizes[0], sizes[1]))
        torch.testing.assert_close(layer(channels_last(x)), channels_last(expected))


def test_gates_are_per_clip_and_channel(generator):
    gating = SelfGating(4)
    x = torch.rand((3, 2, 5, 5, 4), generator=generator)
    with torch.inference_mode():
        ratio = gating(x) / x
    expected = torch.sigmoid(x.mean(dim=(1, 2, 3)) @ gating.fc.weight.T + gating.fc.bias)
    torch.testing.assert_close(ratio, expected[:, None, None, None, :].expand_as(x))
    assert ((ratio > 0) & (ratio < 1)).all()
