"""A ResNet of bottlenecks written from its published description, on a state dict with torchvision's keys."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

Tensors = dict[str, torch.Tensor]
Shapes = Iterator[tuple[str, tuple[int, ...]]]


def norm_shapes(name: str, channels: int) -> Shapes:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)
    yield f"{name}.num_batches_tracked", ()


def resnet_shapes(
    num_blocks: tuple[int, ...], layer_dims: tuple[int, ...], *, stem_dim: int, num_classes: int
) -> Shapes:
    """Key and shape of every tensor in the order of the file."""
    yield "conv1.weight", (stem_dim, 3, 7, 7)
    yield from norm_shapes("bn1", stem_dim)
    before = stem_dim
    for layer, (count, after) in enumerate(zip(num_blocks, layer_dims, strict=True), start=1):
        inside = after // 4
        for block in range(count):
            name = f"layer{layer}.{block}"
            kernels = [(inside, before, 1, 1), (inside, inside, 3, 3), (after, inside, 1, 1)]
            for part, kernel in enumerate(kernels, start=1):
                yield f"{name}.conv{part}.weight", kernel
                yield from norm_shapes(f"{name}.bn{part}", kernel[0])
            if block == 0 and (layer > 1 or before != after):
                yield f"{name}.downsample.0.weight", (after, before, 1, 1)
                yield from norm_shapes(f"{name}.downsample.1", after)
            before = after
    yield "fc.weight", (num_classes, before)
    yield "fc.bias", (num_classes,)


def random_tensors(shapes: Shapes, *, seed: int = 4) -> Tensors:
    """Weights whose every part matters: no scale of 1, no shift of 0, residuals that do not explode."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, shape in shapes:
        if key.endswith("num_batches_tracked"):
            tensors[key] = torch.tensor(7)
        elif len(shape) > 1:
            fan_in = torch.Size(shape[1:]).numel()
            tensors[key] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        elif key.endswith("running_var"):
            tensors[key] = 0.5 + torch.rand(shape, generator=generator)
        elif key.endswith("weight"):
            last = 0.3 if ".bn3." in key else 1.0
            tensors[key] = last * (1 + 0.1 * torch.randn(shape, generator=generator))
        else:
            tensors[key] = 0.1 * torch.randn(shape, generator=generator)
    return tensors


def convolve(tensors: Tensors, x: torch.Tensor, names: tuple[str, str], stride: int = 1) -> torch.Tensor:
    """Convolution without bias, padded to keep the size, then batch normalisation with given statistics."""
    conv, bn = names
    weight = tensors[f"{conv}.weight"]
    y = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
    mean, var = tensors[f"{bn}.running_mean"], tensors[f"{bn}.running_var"]
    y = (y - mean[:, None, None]) / torch.sqrt(var + 1e-5)[:, None, None]
    return y * tensors[f"{bn}.weight"][:, None, None] + tensors[f"{bn}.bias"][:, None, None]


def plain_features(tensors: Tensors, frames: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) normalised frames to (N, F)."""
    x = F.relu(convolve(tensors, frames, ("conv1", "bn1"), stride=2))
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for layer in range(1, 5):
        block = 0
        while f"layer{layer}.{block}.conv1.weight" in tensors:
            name = f"layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            y = F.relu(convolve(tensors, x, (f"{name}.conv1", f"{name}.bn1")))
            y = F.relu(convolve(tensors, y, (f"{name}.conv2", f"{name}.bn2"), stride=stride))
            y = convolve(tensors, y, (f"{name}.conv3", f"{name}.bn3"))
            if f"{name}.downsample.0.weight" in tensors:
                x = convolve(tensors, x, (f"{name}.downsample.0", f"{name}.downsample.1"), stride=stride)
            x = F.relu(x + y)
            block += 1
    return x.mean(dim=(2, 3))
