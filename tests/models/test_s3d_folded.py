"""S3D in the two forms that only compute: on channels-last views, and as 3-D convolutions."""

from __future__ import annotations

import pytest
import torch

from models.conv3d_s3d import conv3d_s3d, same_pool
from models.small_models import shake_statistics
from narravid.models.s3d import S3D, S3DConfig
from narravid.models.s3d_folded import FoldedS3D, max_pool
from narravid.models.s3d_volumes import VolumeS3D

SHAPES = {
    "space_to_depth": [(1, 3, 4, 16, 16), (2, 3, 2, 10, 14), (1, 3, 32, 34, 36)],
    "plain": [(1, 3, 1, 1, 1), (2, 3, 5, 17, 31), (1, 3, 16, 32, 33)],
}


@pytest.mark.parametrize("gating", [True, False])
@pytest.mark.parametrize("form", [FoldedS3D, VolumeS3D])
@pytest.mark.parametrize("stem", SHAPES)
def test_the_numbers_are_those_of_3d_convolutions(stem: str, form: type, gating: bool):
    torch.manual_seed(1)
    network = S3D(S3DConfig(stem=stem, width_multiplier=0.125, embed_dim=8, gating=gating)).eval()
    shake_statistics(network)
    with torch.inference_mode():
        for shape in SHAPES[stem]:
            clips = torch.rand(shape)
            expected = conv3d_s3d(network, clips)
            given = form(network)(clips)
            assert (given - expected).abs().max() <= 1e-5 * expected.abs().max(), shape


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize(
    ("kernel", "stride"), [((1, 3, 3), 2), ((3, 3, 3), 1), ((3, 3, 3), 2), ((2, 2, 2), 2)]
)
def test_pools_are_those_of_tensorflow(kernel: tuple[int, int, int], stride: int, size: int):
    x = torch.rand(2, size, size + 1, 5, 3, generator=torch.Generator().manual_seed(size))
    strides = tuple(stride if wide > 1 else 1 for wide in kernel)
    expected = same_pool(x.permute(0, 4, 1, 2, 3), kernel, strides).permute(0, 2, 3, 4, 1)
    kept = x.clone()
    assert torch.equal(max_pool(x, kernel, stride), expected)
    assert torch.equal(x, kept)


def test_clips_of_another_shape_are_refused():
    network = FoldedS3D(S3D(S3DConfig(width_multiplier=0.125)).eval())
    for clips in (torch.rand(3, 4, 16, 16), torch.zeros(1, 3, 4, 16, 16, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="clips must be float"):
            network.features(clips)
    with pytest.raises(ValueError, match="needs even sizes, got odd frames = 3"):
        network.features(torch.rand(1, 3, 3, 16, 16))


def test_large_batches_go_through_in_parts(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(1)
    network = FoldedS3D(S3D(S3DConfig(width_multiplier=0.125, num_inception_blocks=2)).eval())
    clips = torch.rand(5, 3, 4, 16, 16)
    with torch.inference_mode():
        expected = network(clips)
        for clips_at_once in (1, 2, 4):
            monkeypatch.setattr("narravid.models.s3d_folded.PIXELS_AT_ONCE", clips_at_once * 4 * 16 * 16 + 1)
            torch.testing.assert_close(network(clips), expected)
