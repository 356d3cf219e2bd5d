"""Batch normalisation folded into the layer before it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from narravid.models.folding import fold_batch_norms, folded_weights


def shaken(norm: nn.Module) -> nn.Module:
    torch.manual_seed(4)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.3, 3)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm.eval()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_layers_of_all_kinds_equal_themselves_and_their_norm(affine: bool, bias: bool):
    for layer, norm, shape in (
        (nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, affine=affine), (2, 3, 5, 6)),
        (nn.Conv3d(4, 6, (1, 3, 2), groups=2, bias=bias), nn.BatchNorm3d(6, affine=affine), (2, 4, 3, 5, 6)),
        (nn.Linear(5, 4, bias=bias), nn.BatchNorm1d(4, affine=affine), (3, 5)),
    ):
        network = nn.Sequential(nn.Sequential(layer, shaken(norm)), nn.ReLU())
        inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        expected = network(inputs)
        assert fold_batch_norms(network) == 1
        assert isinstance(network[0][1], nn.Identity)
        torch.testing.assert_close(network(inputs), expected)


def test_by_hand():
    norm = nn.BatchNorm1d(1, eps=0.0)
    norm.running_mean.fill_(3.0)
    norm.running_var.fill_(4.0)
    nn.init.constant_(norm.weight, 10.0)
    nn.init.constant_(norm.bias, 7.0)
    weight, bias = folded_weights(torch.tensor([[2.0]]), torch.tensor([1.0]), norm)
    assert weight.item() == 10.0  # (2 x + 1 - 3) / 2 · 10 + 7 = 10 x - 3
    assert bias.item() == -3.0


def test_a_norm_behind_something_else_stays():
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.BatchNorm1d(2)).eval()
    assert fold_batch_norms(network) == 0
    with pytest.raises(ValueError, match="only a batch normalisation with running statistics can be folded"):
        folded_weights(torch.ones(2, 2), None, nn.BatchNorm1d(2, track_running_stats=False))
