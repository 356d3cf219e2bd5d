"""The same convolution and the same gradients as PyTorch's, with another way to those of the weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from narravid.models import convolutions
from narravid.models.convolutions import convolve_2d
from narravid.models.s3d_layers import SeparableConv

CASES = {
    "along time": ((3, 5, 4, 6), (7, 5, 3, 1), 1, (1, 0)),
    "along time, a single frame": ((2, 3, 1, 6), (4, 3, 3, 1), 1, (1, 0)),
    "along time, five taps on two frames": ((2, 3, 2, 4), (4, 3, 5, 1), 1, (2, 0)),
    "along time, unpadded": ((2, 3, 5, 4), (4, 3, 2, 1), 1, (0, 0)),
    "space": ((3, 5, 6, 7), (64, 5, 3, 3), 1, (1, 1)),
    "space, one pixel": ((2, 3, 1, 1), (64, 3, 3, 3), 1, (1, 1)),
    "space, unpadded": ((2, 4, 7, 6), (65, 4, 4, 4), 1, (0, 0)),
    "stride": ((2, 3, 9, 8), (64, 3, 5, 5), 2, (2, 2)),
    "stride along time": ((2, 3, 7, 2), (64, 3, 3, 1), 2, (1, 0)),
    "few channels": ((2, 3, 4, 4), (6, 3, 3, 3), 1, (1, 1)),
    "pointwise": ((2, 3, 4, 4), (64, 3, 1, 1), 1, (0, 0)),
}


def tensors(case, generator, dtype=torch.float64):
    shape, weight_shape, _, _ = CASES[case]
    x = torch.randn(shape, generator=generator, dtype=dtype)
    weight = torch.randn(weight_shape, generator=generator, dtype=dtype)
    bias = torch.randn(weight_shape[0], generator=generator, dtype=dtype)
    return [tensor.requires_grad_() for tensor in (x, weight, bias)]


@pytest.mark.parametrize("window_numbers", [1, 2**19])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_are_those_of_pytorch(
    case, with_bias, channels_last, window_numbers, generator, monkeypatch
):
    monkeypatch.setattr(convolutions, "WINDOW_NUMBERS", window_numbers)
    monkeypatch.setattr(convolutions, "PRODUCT_NUMBERS", window_numbers)
    _, _, stride, padding = CASES[case]
    x, weight, bias = tensors(case, generator)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    inputs = (x.contiguous(memory_format=layout), weight, bias if with_bias else None)
    expected = F.conv2d(*inputs, stride=stride, padding=padding)
    result = convolve_2d(*inputs, stride=stride, padding=padding)
    assert torch.equal(result, expected)
    change = torch.randn(expected.shape, generator=generator, dtype=x.dtype)
    leaves = [x, weight, bias] if with_bias else [x, weight]
    for got, wanted in zip(
        torch.autograd.grad(result, leaves, change),
        torch.autograd.grad(expected, leaves, change),
        strict=True,
    ):
        assert got.shape == wanted.shape
        assert torch.allclose(got, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", ["along time, a single frame", "stride along time"])
def test_second_derivatives(case, generator):
    _, _, stride, padding = CASES[case]
    x, weight, bias = tensors(case, generator)
    weight = weight[:3].detach().requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda *inputs: convolve_2d(*inputs, stride=stride, padding=padding),
        (x, weight, bias[:3]),
        fast_mode=True,
    )


@pytest.mark.parametrize("frozen", ["input", "weight"])
def test_what_is_not_trained_gets_no_gradient(frozen, generator):
    x, weight, _ = tensors("space", generator)
    (x if frozen == "input" else weight).requires_grad_(False)
    convolve_2d(x, weight, padding=(1, 1)).sum().backward()
    assert (x.grad is None) == (frozen == "input")
    assert (weight.grad is None) == (frozen == "weight")


def test_autocast_goes_on_in_bfloat16(generator):
    x, weight, _ = tensors("along time", generator, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = convolve_2d(x, weight, padding=(1, 0))
    assert result.dtype == torch.bfloat16
    result.float().sum().backward()
    assert weight.grad.dtype == torch.float32


@pytest.mark.slow
def test_a_compiled_layer_gives_the_same_and_is_one_graph(generator):
    layer = SeparableConv(8, 64)
    video = torch.rand(2, 4, 5, 6, 8, generator=generator)
    results = []
    for forward in (layer, torch.compile(layer, fullgraph=True, backend="aot_eager")):
        layer.zero_grad(set_to_none=True)
        maps = forward(video)
        maps.square().sum().backward()
        results.append([maps.detach(), *(parameter.grad for parameter in layer.parameters())])
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(*results, strict=True))
