"""3-D convolutions as 2-D ones on views."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from narravid.models.view_convolutions import ViewConvolution, use_view_convolutions

CONVOLUTIONS = {
    "pointwise": nn.Conv3d(4, 6, 1),
    "pointwise, strided": nn.Conv3d(4, 6, 1, stride=(2, 2, 2), bias=False),
    "pointwise, grouped": nn.Conv3d(4, 6, 1, groups=2),
    "frames": nn.Conv3d(4, 6, (1, 3, 3), padding=(0, 1, 1)),
    "frames, strided, grouped": nn.Conv3d(4, 6, (1, 3, 5), stride=(2, 2, 3), padding=(0, 1, 2), groups=2),
    "time": nn.Conv3d(4, 6, (3, 1, 1), padding=(1, 0, 0), bias=False),
    "time, strided": nn.Conv3d(4, 6, (5, 1, 1), stride=(3, 1, 1), padding=(2, 0, 0)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_it_equals_the_convolution(name: str):
    inputs = torch.randn(2, 4, 5, 6, 7, generator=torch.Generator().manual_seed(1))
    for clips in (inputs, inputs.contiguous(memory_format=torch.channels_last_3d), inputs[:1, :, :1]):
        given = ViewConvolution(CONVOLUTIONS[name])(clips)
        torch.testing.assert_close(given, CONVOLUTIONS[name](clips))
        assert given.is_contiguous(memory_format=torch.channels_last_3d)


def test_others_are_left_alone():
    for wide in (
        nn.Conv3d(3, 4, 3, padding=1),
        nn.Conv3d(3, 4, (3, 1, 1)),
        nn.Conv3d(3, 4, (3, 1, 1), stride=2, padding=(1, 0, 0)),
        nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 2, 2), dilation=(1, 2, 2)),
    ):
        network = nn.Sequential(wide)
        assert use_view_convolutions(network) == 0
        assert network[0] is wide
        with pytest.raises(ValueError, match="no 2-D kernel does the work of Conv3d"):
            ViewConvolution(wide)
    assert use_view_convolutions(nn.Sequential(nn.Sequential(nn.Conv3d(3, 4, 1)), nn.Conv3d(4, 4, 1))) == 2
